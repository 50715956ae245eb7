"""The whole chain without models, from WARC files to tokens, beside datatrove doing the steps that it has.

    python scripts/bench/chain.py FOLDER_WITH_WARCS [--work DIR] [--times 3] [--their-files N] [--out FILE]

Both use two processes. datatrove may be given the first N files only; its cost is scaled by bytes, and what was
scaled is said. What starting costs us (a Spark session) is shown apart, and not taken off.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import harness

from pretrain_data.costs.points import read

PACKAGES = (
    "datatrove[io]==0.10.1",
    "trafilatura==2.3.0",
    "lxml_html_clean",
    "python-magic",
    "warcio",
    "spacy>=3.8",
    "nltk",
    "regex",
    "tokenizers",
    "xxhash<4",  # 4 wants bytes and is given text
    "faust-cchardet",
    "orjson",
)
STAGES = ["ingest", "rules", "pii", "dedup", "mix", "export"]
CONFIG = """\
workspace: {workspace}
spark: {{master: "local[2]", driver_memory: 2g}}
stages:
  ingest: {{input: {input}, shard_bytes: 8000000}}
  rules: {{}}
  pii: {{}}
  dedup: {{threshold: 0.75, verify: signature, spacing_threshold: 0.6}}
  mix:
    phases:
      - name: main
        budget: {budget}
        max_epochs: 4
        mixture: [{{name: all, weight: 1}}]
  export: {{block_tokens: 1M, megatron: true}}
"""


def ours(folder: Path, work: Path, budget: int) -> harness.Used:
    """Our chain, from nothing."""
    workspace = work / "ours"
    shutil.rmtree(workspace, ignore_errors=True)
    config = work / "chain.yaml"
    config.write_text(CONFIG.format(workspace=workspace, input=folder.resolve(), budget=budget))
    return harness.measure([sys.executable, "-m", "pretrain_data.cli", "run", config], cwd=harness.ROOT)


def theirs(folder: Path, work: Path, tokenizer: Path) -> harness.Used:
    """datatrove's chain, from nothing."""
    python = harness.environment_of("datatrove", PACKAGES, work)
    shutil.rmtree(work / "theirs", ignore_errors=True)
    program = Path(__file__).parent / "peers" / "datatrove_chain.py"
    return harness.measure([python, program, folder, work / "theirs", tokenizer])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("warcs", type=Path)
    parser.add_argument("--work", type=Path, default=Path("work/chain"))
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--their-files", type=int)
    parser.add_argument("--budget", type=int, default=1_000_000, help="tokens of our mixture")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from pretrain_data.tokenizers import load_tokenizer

    args.work.mkdir(parents=True, exist_ok=True)
    tokenizer = args.work / "tokenizer.json"
    load_tokenizer("default").engine.library.save(str(tokenizer))
    files = sorted(args.warcs.glob("*.warc.gz"))
    few = files[: args.their_files]
    folder = args.work / "few"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in few:
        (folder / path.name).symlink_to(path.resolve())
    megabytes, part = sum(f.stat().st_size for f in files) / 1e6, sum(f.stat().st_size for f in few) / 1e6
    found = harness.in_turns(
        {
            "start": harness.spark_start(),
            "ours": lambda: ours(args.warcs, args.work, args.budget),
            "datatrove": lambda: theirs(folder, args.work, tokenizer),
        },
        args.times,
    )
    table = harness.rows({k: found[k] for k in ("start", "ours")}, megabytes)
    table += harness.rows({"datatrove": found["datatrove"]}, part)
    ratio = (harness.cpu(found["datatrove"]) / part) / (harness.cpu(found["ours"]) / megabytes)
    more: dict[str, Any] = {"ratio of CPU seconds a compressed MB": round(ratio, 2)}
    if len(few) < len(files):
        more["datatrove read"] = f"{len(few)} of {len(files)} files ({part:,.1f} of {megabytes:,.1f} MB compressed)"
    for point in read(args.work / "ours", STAGES):
        more[f"our {point.stage}"] = f"{point.cpu_seconds:,.1f} CPU s, {point.documents:,} documents in"
    harness.show("From WARC files to tokens", table, args.out, **more)


if __name__ == "__main__":
    main()
