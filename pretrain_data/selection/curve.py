"""What each cut would keep: for each group of documents, how many are kept up to which cut.

Cuts are looked at in steps of a ten-thousandth, as scores are kept. Of each document the highest cut is
found at which `keep_if` still holds, by bisection over the steps, so that the curve is exact for any expression that
keeps no more when `cut` rises. One file a shard, whose sums are whole numbers and so don't depend on the partitioning;
`conclude` adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.errors import ConfigError

STEPS = 10_000
ALWAYS, NEVER = STEPS + 1, -1  # kept whatever the cut; dropped whatever the cut
FOLDER = "curve"  # a file a shard
WHOLE = "curve.parquet"  # their sum
GROUP = ("source", "lang", "format", "domain", "channel")
COUNTS = ("documents", "chars", "counted_chars", "counted_tokens")
SCHEMA = pa.schema([*((g, pa.string()) for g in GROUP), ("last", pa.int32()), *((c, pa.int64()) for c in COUNTS)])

Keep = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.bool_]]


def at(step: npt.NDArray[np.int64] | int) -> npt.NDArray[np.float32]:
    """The cut of a step, as it is compared with scores."""
    return np.asarray(np.asarray(step) / STEPS, np.float32)


def last_kept(keep: Keep, rows: int) -> npt.NDArray[np.int32]:
    """For each of `rows` documents the last step at which `keep` holds, ALWAYS or NEVER.

    Raises ConfigError where a higher cut keeps what a lower one drops.
    """
    low, high = np.zeros(rows, np.int64), np.full(rows, ALWAYS)
    never = ~keep(at(low))
    always = keep(at(high))
    while (high - low > 1).any():
        middle = (low + high) // 2
        holds = keep(at(middle))
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    last = np.where(never, NEVER, np.where(always, ALWAYS, low)).astype(np.int32)
    for step in (1, STEPS // 4, STEPS // 2, 3 * STEPS // 4, STEPS):
        if (keep(at(np.full(rows, step))) != (last >= step)).any():
            raise ConfigError("keep_if: must keep no more documents when cut rises; write it as score >= cut")
    return last


class CurveWriter:
    """Counts one shard and writes its file; nothing appears before `close`."""

    def __init__(self, output: Path, shard: str) -> None:
        self.path = output / FOLDER / f"{shard}.parquet"
        self.temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.sums = SCHEMA.empty_table()

    def add(self, rows: pa.Table) -> None:
        """Take in a batch: a row a document, columns as in SCHEMA."""
        self.sums = summed(pa.concat_tables([self.sums, rows.cast(SCHEMA)]))

    def close(self) -> None:
        """Put the file in its place."""
        pq.write_table(self.sums, self.temporary, compression="zstd")
        os.replace(self.temporary, self.path)

    def abandon(self) -> None:
        """Remove what was begun; without effect after `close`."""
        self.temporary.unlink(missing_ok=True)


def summed(rows: pa.Table) -> pa.Table:
    """Counts by group and step, in order."""
    keys = [*GROUP, "last"]
    found = rows.group_by(keys, use_threads=False).aggregate([(c, "sum") for c in COUNTS])
    return found.rename_columns([*keys, *COUNTS]).cast(SCHEMA).sort_by([(k, "ascending") for k in keys])
