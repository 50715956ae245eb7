"""Passes over the whole input that a stage makes on executors before its shards are written (`Stage.prepare`).

No document can be taken out there, since documents are numbered by then. But a worker that hangs is ended as it is
when shards are written, and a marker tells which shards were at work when one died.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from pretrain_data import isolate
from pretrain_data.stage import Shard, ShardFunction

T = TypeVar("T")

FOLDER = "at-work"


def watched_each(
    function: Callable[[Iterator[pa.RecordBatch], Shard], T], scratch: Path, stall_seconds: float
) -> Callable[[Iterator[pa.RecordBatch], Shard], T]:
    """`function`, in a worker that is ended when no batch goes in for `stall_seconds`."""

    def watched(batches: Iterator[pa.RecordBatch], shard: Shard) -> T:
        with _at_work(scratch, shard, stall_seconds) as alive:
            return function(_heard(batches, alive), shard)

    return watched


def watched_scan(function: ShardFunction, scratch: Path, stall_seconds: float) -> ShardFunction:
    """The same of a function that yields batches."""

    def watched(batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
        with _at_work(scratch, shard, stall_seconds) as alive:
            for made in function(_heard(batches, alive), shard):
                alive()
                yield made

    return watched


def at_work(scratch: Path) -> list[str]:
    """Names of the shards that a worker had begun and not ended when the pass broke off."""
    folder = scratch / FOLDER
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@contextmanager
def _at_work(scratch: Path, shard: Shard, stall_seconds: float) -> Iterator[Callable[[], None]]:
    marker = scratch / FOLDER / shard.name
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    with isolate.watched(stall_seconds) as alive:
        yield alive
    marker.unlink(missing_ok=True)  # not where an error ended it


def _heard(batches: Iterator[pa.RecordBatch], alive: Callable[[], None]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        alive()
        yield batch
