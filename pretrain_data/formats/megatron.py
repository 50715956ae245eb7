"""Megatron's indexed dataset: token ids in `.bin`, lengths and byte offsets in `.idx`.

The layout of `.idx`, little-endian: the nine bytes `MMIDIDX\\0\\0`, version 1 (uint64), a type code
(uint8), the numbers of sequences n and of document marks n + 1 (uint64 each), then n lengths in
tokens (int32), n byte offsets into `.bin` (int64) and n + 1 document marks (int64). Here every
sequence is one document, its last token the end-of-document token.
"""

from __future__ import annotations

import struct
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

_MAGIC = b"MMIDIDX\x00\x00"
_CODES = {np.dtype(np.int32): 4, np.dtype(np.uint16): 8}
_TYPES = {code: dtype for dtype, code in _CODES.items()}


class MegatronWriter:
    """Writes `PREFIX.bin` and `PREFIX.idx`; a context manager. Both are whole after `__exit__`."""

    def __init__(self, prefix: Path, dtype: np.dtype, end_of_document: int) -> None:
        self.prefix, self.dtype, self.end = prefix, np.dtype(dtype), end_of_document
        self.lengths: list[np.ndarray] = []
        prefix.parent.mkdir(parents=True, exist_ok=True)
        self._bin = prefix.with_name(prefix.name + ".bin").open("wb")

    def add(self, ids: np.ndarray, offsets: np.ndarray) -> None:
        """Documents as one array of ids and n + 1 offsets; the end token is added to each."""
        n = len(offsets) - 1
        with_end = np.full(len(ids) + n, self.end, self.dtype)
        inside = np.ones(len(with_end), bool)
        inside[offsets[1:] + np.arange(n)] = False
        with_end[inside] = ids
        self._bin.write(with_end.tobytes())
        self.lengths.append(np.diff(offsets) + 1)

    def __enter__(self) -> MegatronWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bin.close()
        if kind is not None:
            return
        lengths = np.concatenate(self.lengths) if self.lengths else np.empty(0, np.int64)
        pointers = (np.cumsum(lengths) - lengths) * self.dtype.itemsize
        with open(self.prefix.with_name(self.prefix.name + ".idx"), "wb") as index:
            index.write(_MAGIC + struct.pack("<QB", 1, _CODES[self.dtype]))
            index.write(struct.pack("<QQ", len(lengths), len(lengths) + 1))
            index.write(lengths.astype("<i4").tobytes())
            index.write(pointers.astype("<i8").tobytes())
            index.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())


class MegatronReader:
    """Reads what `MegatronWriter` wrote, from a memory map: `reader[i]` are a document's tokens."""

    def __init__(self, prefix: Path) -> None:
        index = prefix.with_name(prefix.name + ".idx").read_bytes()
        if index[:9] != _MAGIC:
            raise ValueError(f"{prefix}.idx: not a Megatron index")
        version, code, count, marks = struct.unpack_from("<QBQQ", index, 9)
        if version != 1 or code not in _TYPES:
            raise ValueError(f"{prefix}.idx: version {version}, type code {code} can't be read")
        self.lengths = np.frombuffer(index, "<i4", count, 34)
        self.pointers = np.frombuffer(index, "<i8", count, 34 + 4 * count)
        self.marks = np.frombuffer(index, "<i8", marks, 34 + 12 * count)
        path = prefix.with_name(prefix.name + ".bin")
        dtype: Any = _TYPES[code]
        # An empty file can't be mapped.
        self.tokens: np.ndarray = np.empty(0, dtype)
        if path.stat().st_size:
            self.tokens = np.memmap(path, dtype=dtype, mode="r")

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> np.ndarray:
        start = int(self.pointers[i]) // self.tokens.dtype.itemsize
        return self.tokens[start : start + int(self.lengths[i])]
