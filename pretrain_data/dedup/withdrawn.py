"""Documents that are withdrawn by id: they go with a rule of their own, and stand for nobody any more."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data.errors import InputError
from pretrain_data.stage import Shard, StageRun

RULE = "withdrawn"
#: The list that an output was made with, beside its manifest.
FILE = "withdrawn.txt"


def read(path: Path | None) -> frozenset[str]:
    """The ids of a file, one a line; blank lines and those that begin with # are passed over."""
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: the list of withdrawn documents can't be read ({error.strerror})") from None
    return frozenset(line for line in map(str.strip, lines) if line and not line.startswith("#"))


def among(batch: pa.RecordBatch, ids: frozenset[str]) -> npt.NDArray[np.bool_]:
    """Which rows have their doc_id or source_id in `ids`."""
    mask = np.zeros(batch.num_rows, np.bool_)
    if not ids:
        return mask
    wanted = _array(ids)
    for name in ("doc_id", "source_id"):
        if name in batch.schema.names:
            found = pc.is_in(batch.column(name).cast(pa.string()), wanted)
            mask |= pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return mask


@lru_cache(maxsize=2)
def _array(ids: frozenset[str]) -> pa.Array:
    return pa.array(sorted(ids), pa.string())


def touched(run: StageRun, stage: str, shards: tuple[Shard, ...], ids: frozenset[str]) -> frozenset[str]:
    """The unchanged shards that hold a document which the last output's list and `ids` don't agree on."""
    path = run.workspace / stage / FILE
    changed = ids ^ (read(path) if path.is_file() else frozenset())
    some = tuple(shard for shard in shards if shard.name in run.unchanged)
    if not changed or not some:
        return frozenset()

    def look(batches: Iterator[pa.RecordBatch], shard: Shard) -> bool:
        return any(among(batch, changed).any() for batch in batches)

    found = run.each(["doc_id", "source_id"], look, some)
    return frozenset(shard.name for shard, hit in zip(some, found, strict=True) if hit)
