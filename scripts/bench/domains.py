"""What classify makes of sources that its model has not seen: the format decides first, the model the rest.

    python scripts/bench/domains.py TRAIN.yaml DOCS.parquet [--model FOLDER|default]

TRAIN.yaml is the config that the model was trained with; of DOCS (columns text, domain, lang, source) the sources that
it holds out are taken, and those whose domain no model is ever trained on (code, Markdown). One thread.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pretrain_data.config import load_part
from pretrain_data.kernels import format as formats
from pretrain_data.models import loading, taxonomy
from pretrain_data.models.training import metrics
from pretrain_data.models.training.config import TrainConfig


def main() -> None:
    """Print recall by source, F1 by domain, and the speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("documents", type=Path)
    parser.add_argument("--model", default=loading.DEFAULT)
    args = parser.parse_args()
    config, known = load_part(args.config, TrainConfig), taxonomy.load(taxonomy.FILE)
    rows = [
        row
        for row in pq.read_table(args.documents, columns=["text", "domain", "lang", "source"]).to_pylist()
        if row["domain"] in ("code", "markdown") or any(fnmatchcase(row["source"], held) for held in config.held_out)
    ]
    scorer = loading.load(args.model, "domain")
    names = [known.domain(label, args.model) for label in scorer.labels]
    truth = [known.domain(row["domain"], "DOCS") for row in rows]
    found = [known.formats.get(formats.detect(row["text"])) for row in rows]
    asked = [i for i, domain in enumerate(found) if domain is None]
    texts = [rows[i]["text"] for i in asked]
    scorer.score(scorer.read(texts[:20], config.max_tokens, config.reading))  # what loads on first use is no cost
    cpu = time.process_time()
    best = scorer.score(scorer.read(texts, config.max_tokens, config.reading)).argmax(1)
    cpu = time.process_time() - cpu
    for i, k in zip(asked, best.tolist(), strict=True):
        found[i] = names[k]
    domains = sorted({*truth, *(str(d) for d in found)})
    confusion = np.zeros((len(domains), len(domains)), int)
    for true, said in zip(truth, found, strict=True):
        confusion[domains.index(true), domains.index(str(said))] += 1
    scores = dict(zip(domains, metrics.f1(confusion).tolist(), strict=True))
    for source, lang in sorted({(row["source"], row["lang"]) for row in rows}):
        mine = [i for i, row in enumerate(rows) if (row["source"], row["lang"]) == (source, lang)]
        right = sum(truth[i] == found[i] for i in mine) / len(mine)
        said = ", ".join(f"{d} {n}" for d, n in Counter(str(found[i]) for i in mine).most_common(4))
        print(f"{source:30}{lang:4}{len(mine):6} right {right:.3f}  {said}")
    for domain in sorted(set(truth)):
        print(f"F1 {domain:14} {scores[domain]:.3f}")
    prose = {truth[i] for i in asked} - {"code", "markdown", "mathematics"}
    print(f"macro-F1 {np.mean([scores[d] for d in sorted(set(truth))]):.3f}; of prose: ", end="")
    print(f"{np.mean([scores[d] for d in sorted(prose)]):.3f} ({', '.join(sorted(prose))})")
    print(f"{len(asked):,} of {len(rows):,} asked of the model, {len(asked) / cpu:,.0f} a CPU second")


if __name__ == "__main__":
    main()
