"""Signatures and shingle sets of all documents, on disk, found by document number.

Documents are numbered densely in the order of shards and rows. Each task writes its own part of a file that was
laid out beforehand, so that a task that runs twice writes the same bytes to the same place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretrain_data.dataset import on_each, read_shard
from pretrain_data.formats import foreign
from pretrain_data.kernels import minhash, similarity
from pretrain_data.stage import Shard, StageRun

Similarity = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.float32]]
Sets = tuple[minhash.U64, npt.NDArray[np.int64], npt.NDArray[np.int64]]
CONTENT = np.dtype([("low", np.uint64), ("high", np.uint64)])


@dataclass(frozen=True)
class Store:
    """Where the arrays of one run lie. `documents` is their number."""

    folder: Path
    documents: int
    permutations: int

    def create(self) -> None:
        """Lay out the files of known size."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, width in (("signatures", 4 * self.permutations), ("contents", 16), ("skipped", 1)):
            with (self.folder / name).open("wb") as file:
                file.truncate(max(1, self.documents * width))

    def signatures(self, mode: str = "r") -> npt.NDArray[np.uint32]:
        """Documents × permutations."""
        if not self.permutations:
            return np.zeros((self.documents, 0), np.uint32)
        shape = (self.documents, self.permutations)
        return np.memmap(self.folder / "signatures", np.uint32, mode, shape=shape)  # type: ignore[call-overload,no-any-return]

    def contents(self, mode: str = "r") -> npt.NDArray[np.void]:
        """Hashes of the documents' tokens in order."""
        return np.memmap(self.folder / "contents", CONTENT, mode, shape=(self.documents,))  # type: ignore[call-overload,no-any-return]

    def skipped(self, mode: str = "r") -> npt.NDArray[np.bool_]:
        """Documents that take part in nothing."""
        return np.memmap(self.folder / "skipped", np.bool_, mode, shape=(self.documents,))  # type: ignore[call-overload,no-any-return]

    # --- shingle sets of the documents that are in a candidate pair -------------------------------

    def write_sets(
        self,
        shard: Shard,
        numbers: npt.NDArray[np.int64],
        values: minhash.U64,
        offsets: npt.NDArray[np.int64],
    ) -> None:
        """Keep the sets of one shard: values[offsets[i]:offsets[i + 1]] is that of document numbers[i]."""
        name = shard.name.replace("/", "--")
        for part, array in (("numbers", numbers), ("offsets", offsets), ("values", values)):
            temporary = self.folder / f".{name}.{part}.npy"
            np.save(temporary, array)
            temporary.rename(self.folder / f"{name}.{part}.npy")

    def join_sets(self, shards: tuple[Shard, ...]) -> None:
        """Lay the shards' sets end to end in one file, with start and end for every document."""
        bounds = np.memmap(self.folder / "bounds", np.int64, "w+", shape=(2, max(1, self.documents)))
        at = 0
        with (self.folder / "sets").open("wb") as out:
            for shard in shards:
                base = self.folder / shard.name.replace("/", "--")
                paths = {part: base.with_name(f"{base.name}.{part}.npy") for part in ("numbers", "offsets", "values")}
                if not paths["numbers"].exists():
                    continue
                numbers, offsets = np.load(paths["numbers"]), np.load(paths["offsets"])
                bounds[0, numbers] = at + offsets[:-1]
                bounds[1, numbers] = at + offsets[1:]
                np.load(paths["values"], mmap_mode="r").tofile(out)
                at += int(offsets[-1])
                for path in paths.values():
                    path.unlink()
            if not at:
                np.zeros(1, np.uint64).tofile(out)
        bounds.flush()

    def comparison(self, exact: bool) -> Similarity:
        """A function (first, second) -> Jaccard similarity of pairs of documents, 1 for pairs of equal content."""
        contents = np.asarray(self.contents())
        sets = self._sets() if exact else None
        signatures = np.asarray(self.signatures())

        def similar(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
            if sets is not None:
                found = similarity.exact(*sets, first, second)
            elif not self.permutations:
                found = np.zeros(len(first), np.float32)
            else:
                found = similarity.estimated(signatures, first, second)
            return np.where(contents[first] == contents[second], np.float32(1), found)

        return similar

    def sets(self, documents: npt.NDArray[np.int64], exact: bool) -> Sets:
        """The shingle sets of these documents: set i is the sorted values[start[i]:end[i]]; none without `exact`."""
        if not exact:
            values, none = np.zeros(0, np.uint64), np.zeros(0, np.int64)
            values.flags.writeable = False  # as mapped files are: one machine code for both
            return values, none, none
        values, start, end = self._sets()
        return values, start[documents], end[documents]

    def containments(self, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """The share of the first's shingles that the second has, for pairs whose sets were kept."""
        found: npt.NDArray[np.float32] = similarity.containment(*self._sets(), first, second)
        return found

    def _sets(self) -> Sets:
        bounds = np.memmap(self.folder / "bounds", np.int64, "r", shape=(2, self.documents))
        # Views without memmap's own bookkeeping, which costs more than a small look-up does.
        return np.asarray(np.memmap(self.folder / "sets", np.uint64, "r")), np.asarray(bounds[0]), np.asarray(bounds[1])


def flush(*arrays: npt.NDArray[Any]) -> None:
    """Bring what was written to mapped files to where other machines see it."""
    for array in arrays:
        if isinstance(array, np.memmap):
            array.flush()


def numbered(run: StageRun) -> tuple[Shard, ...]:
    """The input's shards with their rows and first document number; foreign files are counted first."""
    shards = run.source.shards
    if any(shard.rows is None for shard in shards):

        def count(shard: Shard) -> int:
            told = [foreign.rows(unit) for unit in shard.units]
            known = [rows for rows in told if rows is not None]
            read = len(known) < len(told)
            return sum(batch.num_rows for batch in read_shard(shard, ["text"])) if read else sum(known)

        counted = on_each(run.spark, shards, count, run.tasks)
        shards = tuple(replace(shard, rows=rows) for shard, rows in zip(shards, counted, strict=True))
    first = 0
    out = []
    for shard in shards:
        out.append(replace(shard, first_row=first))
        first += shard.rows or 0
    return tuple(out)
