"""datatrove's MinHash deduplication, Parquet to Parquet, in an environment of its own; run by scripts/bench/dedup.py.

    python datatrove_dedup.py FOLDER_OF_PARQUET OUT [--workers 2] [--language en]

Its own defaults (14 bands of 8, word 5-grams), as FineWeb used them. OUT/kept and OUT/dropped hold the documents,
OUT/kept.txt the ids of what it keeps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow.parquet as pq
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--language", default="en")
    args = parser.parse_args()
    tasks = len(list(args.documents.glob("*.parquet")))
    out, config = args.out, MinhashConfig(num_buckets=14, hashes_per_bucket=8)

    def step(name: str, pipeline: list[object], tasks: int) -> None:
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=args.workers, logging_dir=f"{out}/logs/{name}").run()

    def read() -> ParquetReader:
        return ParquetReader(str(args.documents), glob_pattern="*.parquet")

    signature = MinhashDedupSignature(f"{out}/signatures", config, language=args.language)
    step("signatures", [read(), signature], tasks)
    step("buckets", [MinhashDedupBuckets(f"{out}/signatures", f"{out}/buckets", config=config)], 14)
    step("clusters", [MinhashDedupCluster(f"{out}/buckets", f"{out}/remove", config=config)], 1)
    dropped = ParquetWriter(f"{out}/dropped")
    step("filter", [read(), MinhashDedupFilter(f"{out}/remove", dropped), ParquetWriter(f"{out}/kept")], tasks)
    kept = [i for path in sorted((out / "kept").glob("*.parquet")) for i in pq.read_table(path)["id"].to_pylist()]
    (out / "kept.txt").write_text("".join(f"{i}\n" for i in kept))


if __name__ == "__main__":
    main()
