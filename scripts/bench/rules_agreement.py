"""Do our rule files decide as datatrove's own filters do? English documents, published thresholds.

    python scripts/bench/rules_agreement.py DOCS.parquet... [--warc DIR] [--sample N] [--out FILE]

DOCS.parquet have `text` and `lang`; pages of --warc are extracted with resiliparse and taken where their
<html lang> says English. datatrove is installed apart, in an environment under --work, because it pins what we
don't want; it runs in a process of its own, on the same texts, and says for each filter which documents it
drops and why. Documents are taken as English prose by both. Printed: agreement for each filter, and for each
pair of reasons how often the two differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections import Counter
from pathlib import Path

import harness
import pyarrow as pa
import pyarrow.parquet as pq
from rules import PACKAGES

FILTERS = ("gopher_quality", "gopher_repetition", "c4", "fineweb")


def english_pages(folder: Path) -> list[str]:
    """Main text of the pages under `folder` whose <html lang> is English."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding
    from resiliparse.parse.html import HTMLTree

    texts = []
    for path in sorted(folder.glob("*.warc.gz")):
        for record in ArchiveIterator(path.open("rb"), record_types=WarcRecordType.response):
            body = record.reader.read()
            tree = HTMLTree.parse(bytes_to_str(body, detect_encoding(body)))
            root = tree.document.query_selector("html") if tree.document else None
            if root is None or not (root.getattr("lang") or "").lower().startswith("en"):
                continue
            text = extract_plain_text(tree, main_content=True)
            if text.strip():
                texts.append(text)
    return texts


def theirs(texts: list[str], work: Path) -> dict:
    """Reasons and CPU seconds of datatrove's filters."""
    python = harness.environment_of("datatrove-filters", PACKAGES, work)
    pq.write_table(pa.table({"text": texts}), work / "texts.parquet")
    program = Path(__file__).parent / "peers" / "datatrove_filters.py"
    subprocess.run([str(python), str(program), str(work / "texts.parquet"), str(work / "theirs.json")], check=True)
    return json.loads((work / "theirs.json").read_text())


def ours(texts: list[str]) -> dict:
    """Reasons of our rule files, and CPU seconds of signals and all four files."""
    from pretrain_data.stage import Shard
    from pretrain_data.stages.rules import Rules, RulesConfig

    columns = {"text": pa.array(texts, pa.large_string())}
    columns |= {name: pa.array([value] * len(texts)) for name, value in (("lang", "en"), ("format", "prose"))}
    batches = pa.table(columns).to_batches(max_chunksize=2000)
    result: dict = {"seconds": 0.0, "reasons": {}}
    for name in FILTERS:
        stage = Rules(RulesConfig(files=[Path(name)]))
        list(stage.process(iter(batches[:1]), Shard("warm", ())))
        started = time.process_time()
        reasons = [r for p in stage.process(iter(batches), Shard("x", ())) for r in p.rule.to_pylist()]
        result["seconds"] = time.process_time() - started  # signals are the whole of it: one run is enough
        result["reasons"][name] = reasons
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=Path)
    parser.add_argument("--warc", type=Path)
    parser.add_argument("--work", type=Path, default=Path("work/rules-agreement"))
    parser.add_argument("--sample", type=int, default=1, help="take every Nth document")
    parser.add_argument("--reuse", action="store_true", help="take datatrove's answers of the last run")
    arguments = parser.parse_args()
    texts: list[str] = []
    for path in arguments.documents:
        table = pq.read_table(path, columns=["text", "lang"]).to_pylist()
        texts += [row["text"] for row in table if row["lang"] == "en"]
    if arguments.warc:
        texts += english_pages(arguments.warc)
    texts = texts[:: arguments.sample]
    arguments.work.mkdir(parents=True, exist_ok=True)
    size = sum(len(t.encode()) for t in texts) / 1e6
    print(f"{len(texts)} documents, {size:.1f} MB")
    if arguments.reuse:
        their = json.loads((arguments.work / "theirs.json").read_text())
    else:
        their = theirs(texts, arguments.work)
    our = ours(texts)
    seconds = sum(their["seconds"].values())
    print(f"datatrove {size / seconds:.2f} MB/s, ours {size / our['seconds']:.1f} MB/s of CPU time: "
          f"{seconds / our['seconds']:.0f}x")  # fmt: skip
    for name in FILTERS:
        pairs = Counter(zip(their["reasons"][name], our["reasons"][name], strict=True))
        agree = sum(n for (a, b), n in pairs.items() if (a is None) == (b is None))
        dropped = sum(a is not None for a in their["reasons"][name])
        print(f"{name}: agreement {agree / len(texts):.4f}; datatrove drops {dropped}")
        for (a, b), n in pairs.most_common():
            if (a is None) != (b is None):
                print(f"    {n:5d}  datatrove {a or 'keeps'}, ours {b or 'keeps'}")
    differing = [
        {"filter": name, "theirs": a, "ours": b, "index": i}
        for name in FILTERS
        for i, (a, b) in enumerate(zip(their["reasons"][name], our["reasons"][name], strict=True))
        if (a is None) != (b is None)
    ]
    (arguments.work / "differing.json").write_text(json.dumps(differing, indent=1))


if __name__ == "__main__":
    main()
