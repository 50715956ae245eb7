"""Reads the blocks that `export` wrote as training sequences.

    from pretrain_data import open_blocks
    with_rank = open_blocks("work/export", sequence_length=4096, rank=0, world_size=8)
    for sequence in with_rank:
        ...                                  # sequence.tokens, sequence.channels, sequence.starts
    saved = with_rank.state_dict()           # later: open_blocks(..., position=saved["position"])

Blocks are opened one at a time, and `blocks.json` is read again when the known ones are through, so
that blocks added meanwhile are taken up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq

from pretrain_data.errors import InputError
from pretrain_data.formats.megatron import MegatronReader
from pretrain_data.kernels.packing import Pieces, best_fit
from pretrain_data.kernels.tokens import encode_column
from pretrain_data.tokenizers import load_saved

Packing = Literal["concatenate", "best-fit"]


@dataclass(frozen=True)
class Sequence:
    """One training sequence: `tokens` has `sequence_length` entries, the first `used` of them real.

    Piece i stands at `starts[i]` up to the next start (or `used`), comes from the document
    `doc_ids[i]` and counts for the loss of `channels[i]`. What follows `used` is padding with the
    end-of-document token.
    """

    number: int  # in its phase, over all ranks
    tokens: np.ndarray
    used: int
    starts: np.ndarray
    doc_ids: list[str]
    channels: list[str | None]

    def channel_tokens(self) -> dict[str | None, int]:
        """Tokens of each channel, end-of-document tokens included."""
        lengths = np.diff(np.append(self.starts, self.used))
        found: dict[str | None, int] = {}
        for channel, length in zip(self.channels, lengths.tolist(), strict=True):
            found[channel] = found.get(channel, 0) + length
        return found


@dataclass(frozen=True)
class _Loaded:
    """A block in memory: ids and channels of its documents, their tokens with the end token each."""

    doc_ids: list[str]
    channels: list[str | None]
    tokens: np.ndarray
    offsets: np.ndarray  # n + 1, into `tokens`


class BlockReader:
    """An iterator over one rank's sequences of one phase; see `open_blocks`."""

    def __init__(
        self,
        path: Path,
        phase: str,
        sequence_length: int,
        packing: Packing,
        rank: int,
        world_size: int,
        position: int,
        keep_blocks: int = 2,
    ) -> None:
        self.path, self.phase, self.packing = path, phase, packing
        self.sequence_length, self.rank, self.world_size = sequence_length, rank, world_size
        #: Sequences of the phase that are behind all ranks; a resumed run may have another world size.
        self.position = position
        self._load = lru_cache(maxsize=keep_blocks)(self._load_block)
        self._pack = lru_cache(maxsize=2)(self._pack_block)
        self.refresh()

    def refresh(self) -> None:
        """Read which blocks there are; called by itself when the known ones are through."""
        about = read_manifest(self.path)
        self.end_of_document = int(about["end_of_document"])
        self.blocks: list[dict[str, Any]] = [b for b in about["blocks"] if b["phase"] == self.phase]
        self._counts: list[int] = []
        self._phases: dict[int, str] = {b["block"]: b["phase"] for b in about["blocks"]}

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = int(state["position"])

    def __iter__(self) -> Iterator[Sequence]:
        while True:
            sequence = self.sequence(self.position + self.rank)
            if sequence is None:
                self.refresh()
                sequence = self.sequence(self.position + self.rank)
                if sequence is None:
                    return
            self.position += self.world_size
            yield sequence

    def sequence(self, number: int) -> Sequence | None:
        """Sequence `number` of the phase; None where the blocks do not reach so far.

        When tokens are concatenated, an unfilled last sequence is not given: the next block fills it.
        """
        if self.packing == "concatenate":
            return self._concatenated(number)
        return self._packed(number)

    def document(self, block: int, row: int) -> tuple[np.ndarray, str, str | None]:
        """(tokens with the end token, doc_id, channel) of a document of any block of the export."""
        loaded = self._load(block)
        begin, end = loaded.offsets[row], loaded.offsets[row + 1]
        return loaded.tokens[begin:end], loaded.doc_ids[row], loaded.channels[row]

    def _concatenated(self, number: int) -> Sequence | None:
        first, last = number * self.sequence_length, (number + 1) * self.sequence_length
        if not self.blocks or last > self._end_of(self.blocks[-1]):
            return None
        starts = np.array([block["offset"] for block in self.blocks])
        tokens: list[np.ndarray] = []
        places: list[int] = []
        doc_ids: list[str] = []
        channels: list[str | None] = []
        at, filled = int(np.searchsorted(starts, first, side="right")) - 1, 0
        while filled < self.sequence_length:
            block = self._load(self.blocks[at]["block"])
            begin = first + filled - int(starts[at])
            end = min(last - int(starts[at]), len(block.tokens))
            one, past = np.searchsorted(block.offsets, [begin, end - 1], side="right") - 1
            for row in range(int(one), int(past) + 1):
                places.append(filled + max(int(block.offsets[row]) - begin, 0))
                doc_ids.append(block.doc_ids[row])
                channels.append(block.channels[row])
            tokens.append(block.tokens[begin:end])
            filled += end - begin
            at += 1
        return Sequence(number, np.concatenate(tokens), filled, np.array(places), doc_ids, channels)

    def _packed(self, number: int) -> Sequence | None:
        before = 0
        for i, block in enumerate(self.blocks):
            if i == len(self._counts):
                self._counts.append(self._pack(block["block"]).sequences)
            if number < before + self._counts[i]:
                return self._of_pieces(block["block"], number, number - before)
            before += self._counts[i]
        return None

    def _of_pieces(self, block_number: int, number: int, local: int) -> Sequence:
        pieces, block = self._pack(block_number), self._load(block_number)
        one, past = np.searchsorted(pieces.sequence, [local, local + 1])
        tokens = np.full(self.sequence_length, self.end_of_document, block.tokens.dtype)
        rows = pieces.document[one:past].tolist()
        for i, row in zip(range(int(one), int(past)), rows, strict=True):
            begin, length, place = int(block.offsets[row] + pieces.first[i]), pieces.length[i], pieces.place[i]
            tokens[place : place + length] = block.tokens[begin : begin + length]
        used = int(pieces.length[one:past].sum())
        ids, channels = [block.doc_ids[row] for row in rows], [block.channels[row] for row in rows]
        return Sequence(number, tokens, used, pieces.place[one:past], ids, channels)

    def _end_of(self, block: dict[str, Any]) -> int:
        return int(block["offset"] + block["tokens"] + block["documents"])

    def _pack_block(self, number: int) -> Pieces:
        [lengths] = pq.read_table(document_file(self.path, number), columns=["tokens"]).columns
        return best_fit(lengths.to_numpy().astype(np.int64) + 1, self.sequence_length)

    def _load_block(self, number: int) -> _Loaded:
        """Tokens from the Megatron files where there are any, else from the text, block by block."""
        prefix = self.path / "megatron" / self._phases[number] / f"part-{number:05d}"
        has_tokens = prefix.with_name(prefix.name + ".idx").exists()
        file = document_file(self.path, number)
        names = pq.read_schema(file).names
        wanted = ["doc_id", *(["channel"] if "channel" in names else []), *([] if has_tokens else ["text"])]
        table = pq.read_table(file, columns=wanted)
        channels = table["channel"].to_pylist() if "channel" in names else [None] * table.num_rows
        if has_tokens:
            reader = MegatronReader(prefix)
            tokens, offsets = reader.tokens, np.concatenate(([0], np.cumsum(reader.lengths, dtype=np.int64)))
        else:
            tokens, offsets = self._encode(table["text"].combine_chunks())
        return _Loaded(table["doc_id"].to_pylist(), channels, tokens, offsets)

    def _encode(self, text: Any) -> tuple[np.ndarray, np.ndarray]:
        encoder = load_saved(str(self.path / "tokenizer" / "encoder.json"))
        ids, offsets = encode_column(text, encoder)
        with_end = offsets + np.arange(len(offsets))
        tokens = np.full(int(with_end[-1]), self.end_of_document, encoder.dtype)
        inside = np.ones(len(tokens), bool)
        inside[with_end[1:] - 1] = False
        tokens[inside] = ids
        return tokens, with_end


def open_blocks(
    path: str | Path,
    *,
    phase: str | None = None,
    sequence_length: int | None = None,
    packing: Packing = "concatenate",
    rank: int = 0,
    world_size: int = 1,
    position: int = 0,
    keep_blocks: int = 2,
) -> BlockReader:
    """The sequences of an export, for one rank of a training run.

    Args:
        path: the folder that `export` wrote (it holds `blocks.json`).
        phase: its name; default: the first one.
        sequence_length: tokens; default: what `mix` was given for the phase.
        packing: `concatenate` cuts the phase's stream every `sequence_length` tokens, over the ends
            of blocks; `best-fit` packs whole documents within a block (Ding et al. 2024).
        rank, world_size: rank r gets the sequences r, r + world_size, … after `position`.
        position: sequences that are behind all ranks, from `state_dict()`.
        keep_blocks: blocks held open; more than two serve who jumps between blocks.

    Raises:
        InputError: no export there, or no such phase, rank or length.
    """
    folder = Path(path)
    about = read_manifest(folder)
    lengths: dict[str, int | None] = about["sequence_length"]
    phase = phase or next(iter(lengths))
    if phase not in lengths and phase not in {block["phase"] for block in about["blocks"]}:
        raise InputError(f"{folder}: no phase {phase!r}; there are {', '.join(lengths)}")
    length = sequence_length or lengths.get(phase)
    if not length or length < 1:
        raise InputError(f"{folder}: phase {phase!r} has no sequence length of its own: give sequence_length")
    if packing not in ("concatenate", "best-fit"):
        raise InputError(f"packing {packing!r}: choose concatenate or best-fit")
    if not 0 <= rank < world_size or position < 0:
        raise InputError(f"rank {rank} of {world_size} at position {position} can't be")
    return BlockReader(folder, phase, length, packing, rank, world_size, position, keep_blocks)


def read_manifest(folder: Path) -> dict[str, Any]:
    """`blocks.json` of an export."""
    try:
        found: dict[str, Any] = json.loads((folder / "blocks.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no blocks.json here; give the folder that export wrote") from error
    except ValueError as error:
        raise InputError(f"{folder / 'blocks.json'}: broken ({error}); export again with --force") from error
    return found


def document_file(folder: Path, block: int) -> Path:
    return folder / "documents" / f"part-{block:05d}.parquet"
