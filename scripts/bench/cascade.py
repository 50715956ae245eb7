"""What a cascade costs and loses: fastText decides the clear cases, the encoder the rest, at several thresholds.

    python scripts/bench/cascade.py TRAIN.yaml --fast FOLDER [--model FOLDER|default] [--task quality|domain]

TRAIN.yaml is the config that both models were trained with, so that the documents are those of sources which neither
has seen. One thread; CPU seconds; every threshold in one run. A row at 0.5 (or below) asks the encoder about nothing,
the last about everything.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from pretrain_data.config import load_part
from pretrain_data.models import loading
from pretrain_data.models.cascade import Cascade
from pretrain_data.models.training import labels, metrics
from pretrain_data.models.training.config import TrainConfig

SURE = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.01)


def main() -> None:
    """Print a table; with --json also write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--fast", type=Path, required=True)
    parser.add_argument("--model", default=loading.DEFAULT)
    parser.add_argument("--task", default="quality")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    config = load_part(args.config, TrainConfig)
    test = labels.split(config, labels.gather(config)).test
    examples = sorted(test, key=lambda e: e.key)[: args.documents]
    first, second = loading.load(str(args.fast), args.task), loading.load(args.model, args.task)
    rows = [measure(Cascade.of(first, second, sure), sure, examples, config.max_tokens) for sure in SURE]
    whole = rows[-1]["cpu_seconds"]
    print(f"{len(examples):,} documents of {', '.join(sorted({e.source for e in examples}))}")
    print(f"{'sure':>6}{'asked':>8}{'cost':>8}{'macro-F1':>10}  AUC by language")
    for row in rows:
        areas = ", ".join(f"{lang} {area:.4f}" for lang, area in row["auc"].items() if area is not None)
        cost = row["cpu_seconds"] / whole
        print(f"{row['sure']:6.2f}{row['asked']:8.1%}{cost:8.1%}{row['macro_f1']:10.4f}  {areas}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def measure(cascade: Cascade, sure: float, examples: list[labels.Example], most: int) -> dict[str, Any]:
    """CPU seconds, the share that the encoder was asked about, and how right the answers are."""
    texts = [e.text for e in examples]
    cascade.score(cascade.read(texts[:50], most))  # what loads on first use is no part of the cost
    cpu = time.process_time()
    read = cascade.read(texts, most)
    found = cascade.score(read)
    taken = time.process_time() - cpu
    report = metrics.report(examples, np.asarray(found), cascade.labels)
    areas = {lang: part.get("auc") for lang, part in report["by_lang"].items()}
    asked = len(read.unclear) / len(texts)
    return {"sure": sure, "asked": asked, "cpu_seconds": taken, "macro_f1": report["macro_f1"], "auc": areas}


if __name__ == "__main__":
    main()
