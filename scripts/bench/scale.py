"""Time, shuffle and memory of each stage over corpora of growing size, with exponents; and whether the small runs
foretell the largest.

    python scripts/bench/scale.py CORPUS... [--work DIR] [--out FILE] [--cores N]

Each CORPUS is a folder of Parquet with id, text and lang, of the same kind and of several sizes. The chain without
models runs over each: rules, pii, dedup, mix, export. Exponents are slopes of log CPU seconds over log characters
between the smallest and the largest. `plan cost`'s laws are fitted to all but the largest and asked for the largest.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import harness

from pretrain_data.costs.law import fit
from pretrain_data.costs.points import Point, read

STAGES = ["rules", "pii", "dedup", "mix", "export"]
CONFIG = """\
workspace: {workspace}
spark: {{master: "local[{cores}]", driver_memory: 4g}}
stages:
  rules: {{input: {corpus}}}
  pii: {{}}
  dedup: {{threshold: 0.8, verify: signature, spacing_threshold: 0.6}}
  mix:
    phases:
      - name: main
        budget: {budget}
        max_epochs: 4
        mixture:
          - {{name: zh, weight: 0.5, where: {{lang: zh}}}}
          - {{name: en, weight: 0.5, where: {{lang: en}}}}
  export: {{block_tokens: 1M}}
"""
#: Tokens wanted for a document that comes in: under what a document has, so that there is something to choose.
BUDGET = 300


def run(corpus: Path, work: Path, cores: int) -> list[Point]:
    """The points of the chain over one corpus."""
    import pyarrow.dataset as ds

    documents = ds.dataset(corpus).count_rows()
    workspace = work / corpus.name
    config = work / f"{corpus.name}.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(
        CONFIG.format(workspace=workspace, corpus=corpus.resolve(), cores=cores, budget=documents * BUDGET)
    )
    used = harness.measure([sys.executable, "-m", "pretrain_data.cli", "run", config], cwd=harness.ROOT)
    print(f"{documents:,} documents: {used.seconds:,.0f} s, {used.cpu_seconds:,.0f} CPU s", file=sys.stderr)
    return read(workspace, STAGES)


def rows(runs: list[list[Point]]) -> list[dict[str, Any]]:
    """A row a stage and size, the smallest first."""
    made = []
    for i, stage in enumerate(STAGES):
        points = [points[i] for points in runs]
        exponent = fit([p.chars for p in points], [p.cpu_seconds for p in points]).exponent
        for p in points:
            made.append(
                {
                    "stage": stage,
                    "documents": p.documents,
                    "cpu_seconds": round(p.cpu_seconds, 1),
                    "us_per_document": round(1e6 * p.cpu_seconds / p.documents, 1),
                    "mchars_per_cpu_second": round(p.chars / p.cpu_seconds / 1e6, 2),
                    "driver_seconds": round(p.driver_seconds, 1),
                    "shuffle_mb": round(p.shuffle_bytes / 1e6, 1),
                    "worker_gb": round(p.worker_peak_bytes / 1e9, 2),
                    "jvm_gb": round(p.jvm_peak_bytes / 1e9, 2),
                    "exponent": round(exponent, 2) if p is points[-1] else "",
                }
            )
    return made


def foretold(runs: list[list[Point]]) -> dict[str, str]:
    """CPU seconds of the largest run: what the laws of the smaller ones say, against what it took."""
    said, total, truth = {}, 0.0, 0.0
    for i, stage in enumerate(STAGES):
        small, large = [points[i] for points in runs[:-1]], runs[-1][i]
        guess = fit([p.chars for p in small], [p.cpu_seconds for p in small]).at(large.chars)
        said[stage] = f"{guess:,.1f} for {large.cpu_seconds:,.1f} CPU s ({guess / large.cpu_seconds - 1:+.0%})"
        total, truth = total + guess, truth + large.cpu_seconds
    return said | {"all": f"{total:,.1f} for {truth:,.1f} CPU s ({total / truth - 1:+.0%})"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, default=Path("work/scale"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    runs = [run(corpus, args.work, args.cores) for corpus in args.corpora]
    runs.sort(key=lambda points: points[0].chars)
    more = foretold(runs) if len(runs) > 2 else {}
    harness.show("Growth", rows(runs), args.out, **{f"foretold {k}": v for k, v in more.items()})


if __name__ == "__main__":
    main()
