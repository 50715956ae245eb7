"""The index of what earlier days kept: signatures and band keys, one pair of files a shard, by day.

    index/survivors/[dt=…/]part-*.arrow   row in its shard, doc_id, source_id, similar_group, signature, content
    index/keys/[dt=…/]part-*.arrow        band keys in order, and for each the place among the survivors

Arrow files that are mapped, not read: a look-up walks the keys of the new documents and those of a shard side by
side in leaps, and touches the signatures of the documents that it meets alone. Documents that were dropped are not
in it, since the document they were dropped for is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.dedup.store import CONTENT, Store, flush
from pretrain_data.kernels import lsh
from pretrain_data.mapped import load, save
from pretrain_data.stage import Shard

FOLDER = "index"
#: Keys that are sorted on the driver at a time.
SORTED_AT_ONCE = 32_000_000

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Index:
    """The index below one output folder."""

    root: Path

    def write(self, shard: Shard, kept: pa.Table, store: Store, bands: lsh.Bands) -> None:
        """Keep the documents of one shard: `kept` has row (ascending), doc_id, source_id and similar_group."""
        rows = kept["row"].to_numpy()
        numbers = rows + (shard.first_row or 0)
        signatures, contents = np.array(store.signatures()[numbers]), np.array(store.contents()[numbers])
        keys, places = band_keys(signatures, contents, bands)
        order = np.argsort(keys, kind="stable")
        binary = {"signature": (signatures, 4 * store.permutations), "content": (contents, CONTENT.itemsize)}
        for name, (values, width) in binary.items():
            raw = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(values)])
            kept = kept.append_column(name, raw)
        save(self._path("survivors", shard), kept)
        save(self._path("keys", shard), pa.table({"key": keys[order], "place": places[order]}))

    def survivors(self, shard: Shard) -> pa.Table:
        """What `write` kept of a shard, mapped."""
        return load(self._path("survivors", shard))

    def look_up(self, shard: Shard, wanted: Path, store: Store, most: int) -> tuple[I64, I64]:
        """Keys and numbers of a shard's documents that have a key of `wanted` (a sorted .npy file), by key.

        At most `most` a key, the first. Their signatures and contents are put into the store.
        """
        table = load(self._path("keys", shard))
        keys = table["key"].to_numpy()
        met = lsh.meeting(keys, np.load(wanted, mmap_mode="r"), most)
        if not len(met):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        places = table["place"].to_numpy()[met]
        kept = self.survivors(shard)
        numbers = kept["row"].to_numpy() + (shard.first_row or 0)
        once = np.unique(places)
        signatures, contents = store.signatures("r+"), store.contents("r+")
        signatures[numbers[once]] = _values(kept["signature"], np.dtype(np.uint32), store.permutations)[once]
        contents[numbers[once]] = _values(kept["content"], CONTENT, 1)[once, 0]
        flush(signatures, contents)
        return keys[met], numbers[places]

    def members(self, shard: Shard, rows: I64) -> pa.Table:
        """doc_id, source_id and similar_group of kept documents, by their rows in the shard."""
        kept = self.survivors(shard).select(["row", "doc_id", "source_id", "similar_group"])
        return kept.take(pa.array(np.searchsorted(kept["row"].to_numpy(), rows))).drop_columns(["row"])

    def _path(self, kind: str, shard: Shard) -> Path:
        return self.root / FOLDER / kind / f"{shard.name}.arrow"


def band_keys(signatures: Any, contents: Any, bands: lsh.Bands) -> tuple[I64, I64]:
    """Keys of documents, and for each key the place of its document.

    A text without tokens has no signature; it can only equal another by its content.
    """
    empty = (signatures == np.uint32(0xFFFFFFFF)).all(axis=1)
    some, none = np.flatnonzero(~empty), np.flatnonzero(empty)
    keys = lsh.band_keys(signatures[some], bands.number, bands.rows).reshape(-1)
    whole = np.ascontiguousarray(contents["low"][none]).view(np.int64)
    return np.concatenate([keys, whole]), np.concatenate([np.repeat(some, bands.number), none])


def sorted_keys(arrays: list[I64], out: Path) -> None:
    """The distinct keys of sorted (mapped) arrays, in order, as one .npy: range by range, so that memory is bounded."""
    total = sum(len(array) for array in arrays)
    ranges = total // SORTED_AT_ONCE + 1
    bounds = [-(2**63) + (2**64 * i) // ranges for i in range(1, ranges)]
    cuts = [np.r_[0, np.searchsorted(array, np.array(bounds, np.int64)), len(array)] for array in arrays]
    temporary, found = out.with_suffix(".raw"), 0
    with temporary.open("wb") as file:
        for i in range(ranges):
            some = [array[cut[i] : cut[i + 1]] for array, cut in zip(arrays, cuts, strict=True)]
            distinct = np.unique(np.concatenate(some)) if some else np.zeros(0, np.int64)
            distinct.tofile(file)
            found += len(distinct)
    array = np.lib.format.open_memmap(out, "w+", np.int64, (found,))
    if found:
        array[:] = np.memmap(temporary, np.int64, "r")
    array.flush()
    temporary.unlink()


def kept_of(shard: Shard, meta: Path, decisions: Path) -> pa.Table:
    """The documents of a shard that stay, as `Index.write` takes them."""
    ids = pq.read_table(meta, columns=["doc_id", "source_id", "withdrawn"])
    decided = pq.read_table(decisions)
    group = np.full(ids.num_rows, -1, np.int64)
    group[decided["row"].to_numpy()] = np.arange(decided.num_rows)
    gone = ids["withdrawn"].to_numpy().copy()
    gone[decided["row"].to_numpy()] = decided["gone"].to_numpy(zero_copy_only=False)
    groups = decided["similar_group"].combine_chunks().take(pa.array(group, mask=group < 0))
    table = ids.drop_columns(["withdrawn"]).add_column(0, "row", pa.array(np.arange(ids.num_rows)))
    table = table.append_column("similar_group", pc.coalesce(groups, ids["doc_id"].combine_chunks()))
    return table.filter(pa.array(~gone))


def _values(column: pa.ChunkedArray, kind: np.dtype[Any], width: int) -> Any:
    """A view of a fixed-size binary column as rows of `width` values."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return np.frombuffer(array.buffers()[1], kind, len(array) * width).reshape(len(array), width)
