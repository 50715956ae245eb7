"""Reads a proposed run as training sequences, as `open_blocks` reads an export.

for sequence in open_run("experiments", "m003-shuffled", sequence_length=1024):
    sequence.tokens, sequence.channels, sequence.starts
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pretrain_data.errors import InputError
from pretrain_data.experiments.propose import MANIFEST
from pretrain_data.reader import BlockReader, Sequence, open_blocks


def read_proposals(folder: Path | str) -> dict[str, Any]:
    """The manifest of a folder that `experiment propose` wrote."""
    try:
        found: dict[str, Any] = json.loads((Path(folder) / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder}: no {MANIFEST} here; run `pretrain-data experiment propose`") from None
    return found


class RunReader:
    """An iterator over the sequences of one run; an unfilled last one is not given.

    Tokens come from the export's token files, or from its text, a block at a time.
    """

    def __init__(self, export: Path, index: Path, sequence_length: int) -> None:
        with np.load(index) as uses:
            self.block, self.row = uses["block"], uses["row"]
        self.sequence_length = sequence_length
        #: Blocks are looked up by number, whatever their phase, and stay open: token files are memory maps.
        self.blocks: BlockReader = open_blocks(export, sequence_length=sequence_length, keep_blocks=1 << 20)

    def __iter__(self) -> Iterator[Sequence]:
        tokens: list[np.ndarray] = []
        starts: list[int] = []
        ids: list[str] = []
        channels: list[str | None] = []
        filled = number = 0
        for block, row in zip(self.block.tolist(), self.row.tolist(), strict=True):
            document, doc_id, channel = self.blocks.document(block, row)
            at = 0
            while at < len(document):
                part = document[at : at + self.sequence_length - filled]
                tokens.append(part)
                starts.append(filled)
                ids.append(doc_id)
                channels.append(channel)
                filled += len(part)
                at += len(part)
                if filled == self.sequence_length:
                    yield Sequence(number, np.concatenate(tokens), filled, np.array(starts), ids, channels)
                    number += 1
                    tokens, starts, ids, channels, filled = [], [], [], [], 0


def open_run(folder: Path | str, run: str, sequence_length: int) -> RunReader:
    """The sequences of a proposed run, or of `validation`.

    Raises:
        InputError: no such folder or run.
    """
    about = read_proposals(folder)
    names = {r["run"]: r["index"] for r in about["runs"]} | {"validation": about["validation"]["index"]}
    if run not in names:
        raise InputError(f"{folder}: no run {run!r}; there are {', '.join(list(names)[:10])}, …")
    return RunReader(Path(about["export"]), Path(folder) / names[run], sequence_length)
