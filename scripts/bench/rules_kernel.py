"""MB of text a second that one core makes into signals, by language and for documents of extreme shape.

    python scripts/bench/rules_kernel.py docs.parquet [--megabytes 12]

`docs.parquet` holds text and lang. Best of three, in CPU seconds, compilation apart.
"""

from __future__ import annotations

import argparse
import time

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.kernels import signals
from pretrain_data.stages.rules import Rules, RulesConfig


def rate(text: pa.Array, options: signals.SignalOptions, times: int = 3) -> float:
    """MB a CPU second over batches of up to 4,096 documents."""
    size = pc.sum(pc.binary_length(text)).as_py()
    best = float("inf")
    for _ in range(times):
        start = time.process_time()
        for first in range(0, len(text), 4096):
            signals.compute(text.slice(first, 4096), options)
        best = min(best, time.process_time() - start)
    return size / best / 1e6


def main() -> None:
    """Print one line a language and shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parquet")
    parser.add_argument("--megabytes", type=float, default=12)
    args = parser.parse_args()
    options = Rules(RulesConfig()).options
    signals.compute(pa.array(["warm up 预热"], pa.large_string()), options)
    table = pq.read_table(args.parquet, columns=["text", "lang"])
    for lang in ("en", "zh"):
        text = table.filter(pc.equal(table["lang"], lang))["text"].combine_chunks().cast(pa.large_string())
        running = pc.cumulative_sum(pc.binary_length(text))
        text = text.filter(pc.less(running, int(args.megabytes * 1e6)))
        print(f"{lang}: {rate(text, options):.1f} MB/s/core over {len(text)} documents")
    words = " ".join(f"word{i % 5000}" for i in range(1_100_000))[:10_000_000]
    for name, one in {"10 MB in one line": words, "10 MB of one letter": "a" * 10_000_000}.items():
        print(f"{name}: {rate(pa.array([one], pa.large_string()), options, 1):.1f} MB/s/core")


if __name__ == "__main__":
    main()
