"""Lines and documents thick with words of unsafe topics (adult, gambling, fraud), counted line by line."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data.kernels.keywords import Matcher, count
from pretrain_data.kernels.textscan import text_buffers


def split_lines(text: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The lines of all texts (large_string, not copied), each line's document, and borders of the lines.

    Borders are `lines + 1` places in the texts' bytes; the line break belongs to the line that it ends. An empty
    document has no line.
    """
    data, offsets = text_buffers(text)
    starts = np.zeros(offsets[-1] - offsets[0] + 1, bool)
    starts[1:] = data[offsets[0] : offsets[-1]] == 10
    starts[offsets - offsets[0]] = True
    borders = np.flatnonzero(starts) + offsets[0]
    rows = np.searchsorted(offsets, borders[:-1], "right") - 1
    buffers = [None, pa.py_buffer(borders), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(borders) - 1, buffers), rows, borders


def line_hits(
    text: pa.Array, matcher: Matcher
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Matches of each category in each line (categories, lines), and lines as `split_lines` has them."""
    lines, rows, borders = split_lines(text)
    hits, _ = count(lines, matcher)
    return hits, rows, borders


def line_chars(text: pa.Array, borders: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Characters of each line, with its line break."""
    data, _ = text_buffers(text)
    lines = pa.Array.from_buffers(
        pa.large_string(), len(borders) - 1, [None, pa.py_buffer(borders), pa.py_buffer(data)]
    )
    return np.asarray(pc.utf8_length(lines).to_numpy(zero_copy_only=False), np.int64)


def per_document(hits: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], documents: int) -> npt.NDArray[np.int64]:
    """Matches of each category in each document (categories, documents)."""
    out = np.zeros((hits.shape[0], documents), np.int64)
    for category in range(hits.shape[0]):
        np.add.at(out[category], rows, hits[category])
    return out


def without_lines(
    text: pa.Array, drop: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64], borders: npt.NDArray[np.int64]
) -> pa.Array:
    """`text` (large_string, no nulls) without the lines that `drop` is true for."""
    if not drop.any():
        return text
    data, _ = text_buffers(text)
    keep = np.flatnonzero(~drop)
    pieces = [data[a:b] for a, b in zip(borders[keep].tolist(), borders[keep + 1].tolist(), strict=True)]
    out = np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)
    sizes = np.bincount(rows[keep], weights=(borders[keep + 1] - borders[keep]), minlength=len(text)).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return pa.Array.from_buffers(pa.large_string(), len(text), [None, pa.py_buffer(offsets), pa.py_buffer(out)])
