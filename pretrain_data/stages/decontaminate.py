"""decontaminate: documents that hold items of a benchmark are dropped, and the item is named.

Two looks, both over words (Chinese by characters; case, white space and punctuation do not count):
any n-gram of an item (13 by default, as in Brown et al. 2020), and for edited copies a share of an
item's shorter n-grams (8 by default).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from pretrain_data.errors import InputError
from pretrain_data.kernels.ngrams import Benchmarks
from pretrain_data.stage import Processed, Shard, Stage, StageConfig


class DecontaminateConfig(StageConfig):
    """Config of the stage `decontaminate`."""

    benchmarks: list[Path] = Field(
        min_length=1,
        description="JSON arrays or JSON lines of items with `text` and, where known, `benchmark`.",
    )
    n: Annotated[int, Field(ge=2, le=100)] = Field(default=13, description="Words of an n-gram; one match drops.")
    near_n: Annotated[int, Field(ge=2, le=100)] = Field(
        default=8, description="Words of the shorter n-gram, for edited copies."
    )
    telling_words: Annotated[int, Field(ge=0, le=100)] = Field(
        default=3,
        description="Words of two letters or beyond ASCII that an n-gram of an item must hold to count.",
    )
    near_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.2, description="Share of an item's distinct shorter n-grams that drops a document; 1: only all."
    )


class DecontaminateStage(Stage[DecontaminateConfig]):
    """Drops documents that hold benchmark items; the ledger names the item and the share of it found."""

    name: ClassVar[str] = "decontaminate"
    config_class: ClassVar[type[StageConfig]] = DecontaminateConfig
    shardwise: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("doc_id", "text")

    def resources(self) -> list[Path]:
        return self.config.benchmarks

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        config = self.config
        paths = tuple(map(str, config.benchmarks))
        names, exact, near = _load(paths, config.n, config.near_n, config.telling_words)
        for batch in batches:
            yield self._judge(batch, names, exact, near)

    def _judge(self, batch: pa.RecordBatch, names: list[str], exact: Benchmarks, near: Benchmarks) -> Processed:
        text = batch.column("text")
        share, item = exact.match(text)
        near_share, near_item = near.match(text)
        by_exact = share > 0
        by_near = ~by_exact & (near_share >= self.config.near_share)
        rule = np.full(batch.num_rows, None, object)
        rule[by_exact], rule[by_near] = f"benchmark_{self.config.n}gram", f"benchmark_near_{self.config.near_n}gram"
        found = np.where(by_exact, item, near_item)
        detail = [names[i] if r is not None else None for i, r in zip(found.tolist(), rule, strict=True)]
        metrics: dict[str, float] = {}
        for name in detail:
            if name is not None:
                key = "matches_" + name.rpartition("#")[0]
                metrics[key] = metrics.get(key, 0.0) + 1.0
        return Processed(
            batch,
            rule=pa.array(rule, pa.string()),
            value=pa.array(np.where(by_exact, share, near_share)),
            threshold=pa.array(np.where(by_exact, 0.0, self.config.near_share)),
            detail=pa.array(detail, pa.string()),
            metrics=metrics,
        )


@lru_cache(maxsize=1)
def _load(paths: tuple[str, ...], n: int, near_n: int, telling: int) -> tuple[list[str], Benchmarks, Benchmarks]:
    """Names of all items as BENCHMARK#NUMBER, and their n-grams of both lengths."""
    names: list[str] = []
    texts: list[str] = []
    for path in map(Path, paths):
        for number, item in enumerate(_items(path)):
            if not isinstance(item, dict) or not isinstance(item.get("text"), str):
                raise InputError(f"{path}: item {number} has no `text`")
            names.append(f"{item.get('benchmark', path.stem)}#{number}")
            texts.append(item["text"])
    column = pa.array(texts, pa.large_string())
    return names, Benchmarks(column, n, telling), Benchmarks(column, near_n, telling)


def _items(path: Path) -> list[object]:
    try:
        whole = path.read_text(encoding="utf-8")
        if whole.lstrip().startswith("["):
            found: list[object] = json.loads(whole)
            return found
        return [json.loads(line) for line in whole.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read as benchmark items (JSON array or JSON lines): {error}") from error
