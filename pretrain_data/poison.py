"""Documents that no worker survives: which they are in a shard, and how they leave it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pyarrow as pa

from pretrain_data.formats.storage import size_of
from pretrain_data.hashing import digest
from pretrain_data.stage import Processed, Shard, Unit

RULE = "poison"

Write = Callable[[Processed], None]


@dataclass
class Poison:
    """What is known of one shard: numbers of its rows, or pieces of its input, with what came of each."""

    rows: dict[int, str] = field(default_factory=dict)
    pieces: dict[Unit, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows) + len(self.pieces)

    def strained(self, batch: pa.RecordBatch, first: int, write: Write) -> pa.RecordBatch:
        """The batch, whose first row has the number `first`, without its poison, which goes to the ledger."""
        end = first + batch.num_rows
        found = {row - first: fate for row, fate in self.rows.items() if first <= row < end}
        if not found:
            return batch
        fates = pa.array([found.get(i) for i in range(batch.num_rows)], pa.string())
        bad = fates.is_valid()
        write(_dropped(batch.filter(bad), fates.filter(bad)))
        return batch.filter(fates.is_null())

    def without(self, shard: Shard, write: Write) -> Shard:
        """The shard of input pieces around the poisonous ones, which go to the ledger as a row each."""
        units: list[Unit] = []
        for unit in shard.units:
            at = unit.start
            bad = [p for p in self.pieces if p.path == unit.path and unit.start <= p.start and _within(p, unit)]
            for piece in sorted(bad, key=lambda p: p.start):
                if piece.start > at:
                    units.append(replace(unit, start=at, end=piece.start))
                at = piece.end if piece.end is not None else -1
                write(_row(piece, self.pieces[piece]))
            if not bad:
                units.append(unit)
            elif at >= 0 and (unit.end is None or at < unit.end) and at < size_of(unit.path):
                units.append(replace(unit, start=at))
        return replace(shard, units=tuple(units))


def _within(piece: Unit, unit: Unit) -> bool:
    return unit.end is None or (piece.end is not None and piece.end <= unit.end)


def _row(piece: Unit, fate: str) -> Processed:
    """A row that stands for an input record which can't be read."""
    name = piece.label or piece.path
    place = f"{name}#{piece.start}" if piece.end is not None else name
    batch = pa.RecordBatch.from_pydict(
        {
            "doc_id": pa.array([digest([place])[:32]], pa.string()),
            "source_id": pa.array([place], pa.string()),
            "text": pa.array([""], pa.large_string()),
        }
    )
    return _dropped(batch, pa.array([fate], pa.string()))


def _dropped(batch: pa.RecordBatch, fates: pa.Array) -> Processed:
    return Processed(batch, rule=pa.array([RULE] * batch.num_rows, pa.string()), detail=fates)
