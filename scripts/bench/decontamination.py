"""How many clean documents `decontaminate` flags, and at what speed.

    python scripts/bench/decontamination.py BENCHMARKS.json DOCUMENTS.parquet…

For each file: documents flagged, with the items named, and MB of text a CPU second (one core, the first batch, which
compiles, left out).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from pretrain_data.dataset import Dataset, read_shard
from pretrain_data.stages.decontaminate import DecontaminateConfig, DecontaminateStage


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("benchmarks", type=Path)
    arguments.add_argument("documents", type=Path, nargs="+")
    a = arguments.parse_args()
    stage = DecontaminateStage(DecontaminateConfig(benchmarks=[a.benchmarks]))
    for path in a.documents:
        flagged: Counter[str] = Counter()
        documents = size = 0
        seconds = 0.0
        for shard in Dataset.open_input(str(path), Path()).shards:
            for batch in read_shard(shard, ["doc_id", "text"]):
                begin = time.process_time()
                [processed] = stage.process(iter([batch]), shard)
                if documents:
                    seconds += time.process_time() - begin
                    size += batch.column("text").nbytes
                documents += batch.num_rows
                assert processed.rule is not None
                assert processed.detail is not None
                rules, details = processed.rule.to_pylist(), processed.detail.to_pylist()
                flagged.update(f"{d} by {r}" for r, d in zip(rules, details, strict=True) if r is not None)
        share = flagged.total() / max(documents, 1)
        speed = size / 1e6 / seconds if seconds else float("nan")
        print(f"{path}: {flagged.total()} of {documents:,} flagged ({share:.3%}), {speed:.1f} MB/s", flush=True)
        for name, count in flagged.most_common(10):
            print(f"  {count} {name}")


if __name__ == "__main__":
    main()
