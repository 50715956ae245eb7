"""New texts with spans replaced, assembled over Arrow buffers: what no span touches is copied, never decoded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from pretrain_data.kernels.pii.spans import Spans
from pretrain_data.kernels.textscan import text_buffers


def replace(text: pa.Array, spans: Spans, choice: npt.NDArray[np.integer], values: Sequence[str]) -> pa.Array:
    """`text` as large_string with span i replaced by `values[choice[i]]`; a null becomes the empty text.

    `spans` are sorted and without overlaps, as `find` gives them.
    """
    data, offsets = text_buffers(text)
    starts, ends = byte_places(data, offsets, spans)
    encoded = [value.encode() for value in values]
    pool = np.frombuffer(b"".join(encoded), np.uint8)
    borders = np.cumsum([0, *map(len, encoded)])
    lengths = np.diff(borders)[choice] if len(spans) else np.zeros(0, np.int64)
    size = int(offsets[-1] - offsets[0]) + int((lengths - (ends - starts)).sum())
    out, new = np.empty(size, np.uint8), np.empty(len(offsets), np.int64)
    _assemble(data, offsets, spans.rows, starts, ends, choice.astype(np.int64), pool, borders, out, new)
    buffers = [None, pa.py_buffer(new), pa.py_buffer(out)]
    return pa.Array.from_buffers(pa.large_string(), len(text), buffers)


def placeholders(text: pa.Array, spans: Spans) -> pa.Array:
    """`text` with each span replaced by its type: `<|email|>`, `<|phone|>` …"""
    return replace(text, spans, spans.types, [f"<|{name.lower()}|>" for name in spans.names])


def byte_places(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], spans: Spans
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Start and end of each span in `data`."""
    starts, ends = np.empty(len(spans), np.int64), np.empty(len(spans), np.int64)
    _byte_places(data, offsets, spans.rows, spans.starts, spans.ends, starts, ends)
    return starts, ends


def values(text: pa.Array, spans: Spans) -> list[str]:
    """The text of each span."""
    data, offsets = text_buffers(text)
    starts, ends = byte_places(data, offsets, spans)
    return [data[a:b].tobytes().decode() for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]


@njit(cache=True, nogil=True)
def _byte_places(
    data: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    byte_starts: np.ndarray,
    byte_ends: np.ndarray,
) -> None:
    row, at, point = -1, 0, 0
    for i in range(rows.size):
        if rows[i] != row:
            row, at, point = rows[i], offsets[rows[i]], 0
        while point < starts[i]:
            at += 1
            while at < data.size and data[at] & 0xC0 == 0x80:
                at += 1
            point += 1
        byte_starts[i] = at
        while point < ends[i]:
            at += 1
            while at < data.size and data[at] & 0xC0 == 0x80:
                at += 1
            point += 1
        byte_ends[i] = at


@njit(cache=True, nogil=True)
def _assemble(
    data: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    choice: np.ndarray,
    pool: np.ndarray,
    borders: np.ndarray,
    out: np.ndarray,
    new: np.ndarray,
) -> None:
    n = 0
    i = 0
    new[0] = 0
    for row in range(offsets.size - 1):
        at = offsets[row]
        while i < rows.size and rows[i] == row:
            size = starts[i] - at
            out[n : n + size] = data[at : starts[i]]
            n += size
            low, high = borders[choice[i]], borders[choice[i] + 1]
            out[n : n + high - low] = pool[low:high]
            n += high - low
            at = ends[i]
            i += 1
        size = offsets[row + 1] - at
        out[n : n + size] = data[at : offsets[row + 1]]
        n += size
        new[row + 1] = n
