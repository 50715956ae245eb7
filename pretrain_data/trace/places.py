"""Which documents stand at a training position, and where a document stands.

A query reads `blocks.json`, binary-searches the memory-mapped index of the blocks concerned and
reads only the Parquet row groups of the documents found. Steps are those of concatenated packing
(`open_blocks(..., packing="concatenate")`): step s of global batch G and sequence length L covers the
tokens [s·G·L, (s + 1)·G·L) of the phase's stream.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.errors import InputError
from pretrain_data.formats.blocks import SUMMARY_SCALE, watched
from pretrain_data.kernels.mixture import hash_strings
from pretrain_data.reader import document_file, read_manifest
from pretrain_data.schema import BY_NAME

#: Standard deviations from its block's mean at which a value is called out of the ordinary.
UNUSUAL = 4.0
#: Blocks on either side that a block is compared with.
NEIGHBOURS = 5


class Trace:
    """Queries on one export. Answers are JSON values; a document is a dict (see `describe`)."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.about = read_manifest(self.path)
        self.blocks: list[dict[str, Any]] = self.about["blocks"]

    def step(
        self, step: int, global_batch: int, sequence_length: int, phase: str | None = None
    ) -> list[dict[str, Any]]:
        """Documents of one training step, in order."""
        if step < 0 or global_batch < 1 or sequence_length < 1:
            raise InputError("step must be 0 or more, global batch and sequence length 1 or more")
        size = global_batch * sequence_length
        return self.span(phase or self._first_phase(), step * size, (step + 1) * size)

    def at(self, block: int, offset: int) -> list[dict[str, Any]]:
        """The document that holds token `offset` of a block, counted from the block's beginning."""
        if not 0 <= block < len(self.blocks):
            raise InputError(f"{self.path}: no block {block}; there are {len(self.blocks)}")
        found = self.blocks[block]
        if not 0 <= offset < _size(found):
            raise InputError(f"block {block} has {_size(found)} tokens; {offset} is outside")
        start = found["offset"] + offset
        return self.span(found["phase"], start, start + 1)

    def span(self, phase: str, first: int, last: int) -> list[dict[str, Any]]:
        """Documents of tokens [first, last) of a phase's stream; its documents' end tokens count."""
        found: list[dict[str, Any]] = []
        for block in self.blocks:
            start = block["offset"]
            if block["phase"] != phase or start >= last or start + _size(block) <= first or not block["documents"]:
                continue
            offsets = self._index(block)["offset"]
            one = max(int(np.searchsorted(offsets, first, side="right")) - 1, 0)
            past = int(np.searchsorted(offsets, last, side="left"))
            found.extend(self._describe(block, range(one, past)))
        if not found:
            raise InputError(f"{self.path}: phase {phase!r} has no token {first}")
        groups = Counter(d["similar_group"] for d in found if d.get("similar_group") is not None)
        for document in found:
            document["similar_here"] = groups.get(document.get("similar_group"), 1) - 1
        return found

    def document(self, doc_id: str) -> list[dict[str, Any]]:
        """Every place of a document, in training order."""
        wanted = hash_strings(pa.array([doc_id]))[0]
        found = []
        for block in self.blocks:
            index = self._index(block)
            one, past = (int(np.searchsorted(index["hash"], wanted, side=side)) for side in ("left", "right"))
            rows = sorted(index["row"][one:past].tolist())
            found += [d for d in self._describe(block, rows) if d["doc_id"] == doc_id]
        return found

    def suspicious(self) -> list[dict[str, Any]]:
        """Blocks, the most unlike their neighbours first.

        `unlike` is the largest distance, over channel shares and mean signals, from the median of the
        neighbouring blocks of the phase, in units of the spread over all its blocks (1.4826 · MAD, at
        least 1 % of a share).
        """
        ranked = []
        for phase in dict.fromkeys(block["phase"] for block in self.blocks):
            blocks = [block for block in self.blocks if block["phase"] == phase and block["documents"]]
            traits = [_traits(block) for block in blocks]
            names = sorted(set().union(*traits)) if traits else []
            table = np.array([[trait.get(name, 0.0) for name in names] for trait in traits])
            for i, block in enumerate(blocks):
                near = [j for j in range(max(0, i - NEIGHBOURS), min(len(blocks), i + NEIGHBOURS + 1)) if j != i]
                if not near:
                    continue
                spread = np.maximum(1.4826 * np.median(abs(table - np.median(table, axis=0)), axis=0), 0.01)
                middle = np.median(table[near], axis=0)
                distance = abs(table[i] - middle) / spread
                worst = int(distance.argmax())
                ranked.append(
                    {
                        "block": block["block"],
                        "phase": phase,
                        "unlike": round(float(distance[worst]), 3),
                        "by": names[worst],
                        "value": round(float(table[i, worst]), 6),
                        "neighbours": round(float(middle[worst]), 6),
                    }
                )
        return sorted(ranked, key=lambda row: (-row["unlike"], row["block"]))

    def _first_phase(self) -> str:
        if not self.blocks:
            raise InputError(f"{self.path}: no blocks")
        return str(self.blocks[0]["phase"])

    def _index(self, block: dict[str, Any]) -> np.ndarray:
        path = self.path / "index" / f"part-{block['block']:05d}.npy"
        try:
            found: np.ndarray = np.load(path, mmap_mode="r")
        except FileNotFoundError as error:
            raise InputError(f"{path} is missing: export again to write the index") from error
        except (ValueError, EOFError) as error:
            raise InputError(f"{path} is broken ({error}): export again with --force") from error
        return found

    def _describe(self, block: dict[str, Any], rows: range | list[int]) -> Iterator[dict[str, Any]]:
        if not len(rows):
            return
        path = document_file(self.path, block["block"])
        alike = _Alike.of(path, self._index(block)["offset"])
        for batch in read_rows(path, list(rows)):
            values = watched(batch)
            for i, row in enumerate(batch.to_pylist()):
                found = describe(row, {k: float(v[i]) for k, v in values.items()}, block)
                yield found | alike.nearby(row["index"])


class _Alike:
    """How near the next document of the same similar group stands, within one block."""

    def __init__(self, groups: np.ndarray, offsets: np.ndarray) -> None:
        self.groups, self.offsets = groups, offsets
        # Rows sorted by group and then by place: a row's neighbours among its like stand beside it.
        self.order = np.argsort(groups, kind="stable")
        self.at = np.empty(len(groups), np.int64)
        self.at[self.order] = np.arange(len(groups))
        self.sizes = np.bincount(groups)

    @classmethod
    def of(cls, path: Path, offsets: np.ndarray) -> _Alike:
        rows = np.arange(len(offsets))
        if "similar_group" not in pq.read_schema(path).names:
            return cls(rows, offsets)
        column = pq.read_table(path, columns=["similar_group"])["similar_group"].combine_chunks()
        codes = column.dictionary_encode().indices
        # A document without a group is a group of its own.
        return cls(np.where(codes.is_null(), len(rows) + rows, codes.fill_null(0)), offsets)

    def nearby(self, row: int) -> dict[str, int | None]:
        """Others of the row's group in the block, and tokens from its beginning to the nearest of theirs."""
        mine, at = self.groups[row], int(self.at[row])
        beside = [int(self.order[i]) for i in (at - 1, at + 1) if 0 <= i < len(self.order)]
        gaps = [abs(int(self.offsets[o]) - int(self.offsets[row])) for o in beside if self.groups[o] == mine]
        return {"similar_in_block": int(self.sizes[mine]) - 1, "nearest_similar": min(gaps, default=None)}


def describe(row: dict[str, Any], values: dict[str, float], block: dict[str, Any]) -> dict[str, Any]:
    """A row of a block as an answer: place, channel, scores, what is unusual, source, and by stage.

    `stages` holds what each stage found for the document, by the columns it adds; `input` is the
    shard and row that export read it from.
    """
    unusual = {}
    for name, value in values.items():
        mean, deviation = _mean_and_deviation(block["summary"].get(name, [0, 0, 0]))
        if math.isfinite(value) and deviation > 0 and abs(value - mean) > UNUSUAL * deviation:
            unusual[name] = {"value": value, "block_mean": mean}
    stages: dict[str, dict[str, Any]] = {}
    for name, value in row.items():
        if name in BY_NAME and name not in ("doc_id", "text", "signals"):
            stages.setdefault(BY_NAME[name].stage, {})[name] = value
    for name, value in values.items():
        if name != "quality_score":
            stages.setdefault("rules", {})[name] = value
    plain = ("block", "index", "offset", "phase", "doc_id", "use", "tokens", "channel", "similar_group", "origin")
    return {
        **{name: row.get(name) for name in plain},
        "unusual": unusual,
        "stages": stages,
        "input": {"shard": row["shard"], "row": row["row"]},
    }


def read_rows(path: Path, rows: list[int]) -> Iterator[pa.RecordBatch]:
    """Rows of a Parquet file by number (rising), all columns but the text; only their row groups are read."""
    file = pq.ParquetFile(path)
    columns = [name for name in file.schema_arrow.names if name != "text"]
    ends = np.cumsum([file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)])
    wanted = np.array(rows, np.int64)
    group = np.searchsorted(ends, wanted, side="right")
    for number in np.unique(group).tolist():
        before = int(ends[number - 1]) if number else 0
        table = file.read_row_group(number, columns=columns).take(wanted[group == number] - before)
        yield from table.combine_chunks().to_batches()


def _size(block: dict[str, Any]) -> int:
    return int(block["tokens"] + block["documents"])


def _mean_and_deviation(sums: list[int]) -> tuple[float, float]:
    count, total, squares = sums
    if not count:
        return 0.0, 0.0
    # In whole numbers as long as possible: the difference of two large sums is small.
    variance = max(count * squares - total * total, 0) / (count * count)
    return total / count / SUMMARY_SCALE, math.sqrt(variance) / SUMMARY_SCALE


def _traits(block: dict[str, Any]) -> dict[str, float]:
    """Channel shares of tokens, and means of what is watched."""
    whole = max(block["tokens"], 1)
    shares = {f"channel {name or '-'}": tokens / whole for name, (_, tokens) in block["channels"].items()}
    return {**shares, **{name: _mean_and_deviation(sums)[0] for name, sums in block["summary"].items()}}
