"""Tokens per CPU second: the counting pass of `mix` beside the tokenizer library's own batch call, on one core.

    python scripts/bench/tokens.py DOCUMENTS.parquet [TOKENIZER]…

DOCUMENTS has `id` and `text`. Timed in turn, three times, the best of each: the library on a list of strings that lies
in memory already, and the whole pass that mix makes over a shard (read Parquet, count, hash ids, find the part).
"""

from __future__ import annotations

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pretrain_data.dataset import Dataset, read_shard
from pretrain_data.mixing import plan
from pretrain_data.mixing.mixture import Leaf
from pretrain_data.tokenizers import load_saved, load_tokenizer
from pretrain_data.tokenizers.engines import RankTable


def library(name: str, end: str | None) -> Callable[[list[str]], int]:
    """The fastest batch call that the library itself offers, on one thread."""
    engine = load_tokenizer(name, end).engine
    if isinstance(engine, RankTable):
        return lambda texts: sum(map(len, engine._fast.encode_ordinary_batch(texts, num_threads=1)))
    own = engine.library
    return lambda texts: sum(len(e.ids) for e in own.encode_batch_fast(texts, add_special_tokens=False))


def counting(name: str, end: str | None, documents: Path, scratch: Path) -> Callable[[], int]:
    """The pass of `mix` over all shards of `documents`."""
    saved = scratch / "tokenizer.json"
    load_tokenizer(name, end).save(saved)
    load_saved(str(saved))
    everything = plan.PhaseLeaves("main", (Leaf(path="all", conditions=(), max_epochs=4),), 0, 0.0)
    measure = plan.Measure((everything,), str(saved), scratch, scratch, frozenset(), 1, 0.05, 0.5)
    source = Dataset.open_input(str(documents), Path())
    columns = ["doc_id", "text", "similar_group", "cluster_id", "quality_score"]

    def run() -> int:
        tokens = 0
        for shard in source.shards:
            for batch in measure(read_shard(shard, columns), shard):
                tokens += int(np.sum(batch.column("tokens").to_numpy()))
        return tokens

    return run


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("documents", type=Path)
    arguments.add_argument("tokenizers", nargs="*", default=["default"])
    arguments.add_argument("--end-of-document", help="where the tokenizer doesn't say")
    a = arguments.parse_args()
    texts = [t for t in pq.read_table(a.documents, columns=["text"])["text"].to_pylist() if t]
    for name in a.tokenizers:
        with tempfile.TemporaryDirectory() as scratch:
            ours, theirs = (
                counting(name, a.end_of_document, a.documents, Path(scratch)),
                library(name, a.end_of_document),
            )
            ways: dict[str, Callable[[], int]] = {"library": lambda call=theirs: call(texts), "mix": ours}
            best: dict[str, float] = {}
            for _ in range(3):
                for way, call in ways.items():
                    begin = time.process_time()
                    tokens = call()
                    best[way] = max(best.get(way, 0.0), tokens / (time.process_time() - begin))
        figures = ", ".join(f"{way} {speed / 1e6:.2f} M tokens/s" for way, speed in best.items())
        print(f"{name}: {figures}, ratio {best['mix'] / best['library']:.2f}", flush=True)


if __name__ == "__main__":
    main()
