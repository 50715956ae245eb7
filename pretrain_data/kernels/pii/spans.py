"""Spans of many documents as arrays: rows, places in code points, types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class Span(NamedTuple):
    """[start, end) in code points, and the type."""

    start: int
    end: int
    type: str


@dataclass(frozen=True)
class Spans:
    """The spans of a batch, sorted by row and start, without overlaps."""

    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    types: npt.NDArray[np.int16]  # places in `names`
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def build(cls, found: Iterable[tuple[int, int, int, int]], names: Sequence[str]) -> Spans:
        """From (row, start, end, place in names), in any order."""
        table = np.array(sorted(found), np.int64).reshape(-1, 4)
        rows, starts, ends, types = table.T
        return cls(rows, starts.astype(np.int32), ends.astype(np.int32), types.astype(np.int16), tuple(names))

    def where(self, keep: npt.NDArray[np.bool_]) -> Spans:
        """The spans that `keep` (one entry a span) is true for."""
        return Spans(self.rows[keep], self.starts[keep], self.ends[keep], self.types[keep], self.names)

    def of(self, names: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Which spans are of one of these types."""
        wanted = set(names)
        return np.array([name in wanted for name in self.names], bool)[self.types] if len(self) else np.zeros(0, bool)

    def per_row(self, rows: int) -> npt.NDArray[np.int64]:
        """How many spans each of `rows` documents has."""
        return np.bincount(self.rows, minlength=rows)

    def over(self, other: Spans) -> Spans:
        """These, and those of `other` that touch none of these in the same document."""
        names = tuple(dict.fromkeys([*self.names, *other.names]))
        mine = list(zip(self.rows.tolist(), self.starts.tolist(), self.ends.tolist(), self.types.tolist(), strict=True))
        taken: dict[int, list[tuple[int, int]]] = {}
        for row, start, end, _ in mine:
            taken.setdefault(row, []).append((start, end))
        place = [names.index(name) for name in other.names]
        for row, start, end, kind in zip(
            other.rows.tolist(), other.starts.tolist(), other.ends.tolist(), other.types.tolist(), strict=True
        ):
            if all(end <= low or high <= start for low, high in taken.get(row, ())):
                mine.append((row, start, end, place[kind]))
        return Spans.build(mine, names)

    def lists(self, rows: int) -> list[list[Span]]:
        """For each of `rows` documents its spans."""
        out: list[list[Span]] = [[] for _ in range(rows)]
        for row, start, end, kind in zip(
            self.rows.tolist(), self.starts.tolist(), self.ends.tolist(), self.types.tolist(), strict=True
        ):
            out[row].append(Span(start, end, self.names[kind]))
        return out

    def to_arrow(self, rows: int, kind: pa.DataType) -> pa.Array:
        """A list<struct<start, end, type>> array of `rows` entries, of the Arrow type `kind`."""
        names = pa.DictionaryArray.from_arrays(pa.array(self.types, pa.int16()), pa.array(self.names, pa.string()))
        values = pa.StructArray.from_arrays(
            [pa.array(self.starts, pa.int32()), pa.array(self.ends, pa.int32()), names.cast(pa.string())],
            ["start", "end", "type"],
        )
        offsets = np.zeros(rows + 1, np.int32)
        np.cumsum(self.per_row(rows), out=offsets[1:])
        return pa.ListArray.from_arrays(pa.array(offsets), values).cast(kind)
