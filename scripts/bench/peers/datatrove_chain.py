"""datatrove from WARC files to tokens, in an environment of its own; run by scripts/bench/chain.py.

    python datatrove_chain.py FOLDER_WITH_WARCS OUT TOKENIZER_JSON [--workers 2]

The order and settings are those of its FineWeb example, without the language filter (its model is fetched from the
network), so that it has less to do than we have.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers.jsonl import JsonlWriter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("warcs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("tokenizer")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    tasks = len(list(args.warcs.glob("*.warc.gz")))
    out, config = args.out, MinhashConfig(num_buckets=14, hashes_per_bucket=8)
    clean, dedup = f"{out}/clean", f"{out}/minhash"

    def step(name: str, pipeline: list[object], tasks: int) -> None:
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=args.workers, logging_dir=f"{out}/logs/{name}").run()

    step(
        "clean",
        [
            WarcReader(str(args.warcs), glob_pattern="*.warc.gz"),
            Trafilatura(favour_precision=True, timeout=10),
            GopherRepetitionFilter(),
            GopherQualityFilter(),
            C4QualityFilter(filter_no_terminal_punct=False),
            FineWebQualityFilter(),
            JsonlWriter(clean),
        ],
        tasks,
    )
    step("signatures", [JsonlReader(clean), MinhashDedupSignature(f"{dedup}/signatures", config)], tasks)
    step("buckets", [MinhashDedupBuckets(f"{dedup}/signatures", f"{dedup}/buckets", config=config)], 14)
    step("clusters", [MinhashDedupCluster(f"{dedup}/buckets", f"{dedup}/remove", config=config)], 1)
    step(
        "tokens",
        [
            JsonlReader(clean),
            MinhashDedupFilter(f"{dedup}/remove"),
            DocumentTokenizer(f"{out}/tokens", args.tokenizer, eos_token="<|endoftext|>", seed=1),
        ],
        tasks,
    )


if __name__ == "__main__":
    main()
