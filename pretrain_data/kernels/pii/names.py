"""Names of persons, by an engine: the tagger that comes with the package, or any callable of the same form."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit
from safetensors.numpy import load

from pretrain_data.kernels.pii import tagger
from pretrain_data.kernels.pii.replace import replace, values
from pretrain_data.kernels.pii.spans import Spans
from pretrain_data.kernels.textscan import decode, text_buffers

#: From texts to the spans of names in them, of type PERSON.
Engine = Callable[[pa.Array], Spans]


@cache
def _model() -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Weights (table, tags), and weights of moves between tags (tags, tags)."""
    raw = load((resources.files("pretrain_data.models.default") / "names.safetensors").read_bytes())
    return raw["weights"], raw["moves"]


def default_engine(text: pa.Array, caution: float = 0.0) -> Spans:
    """The package's tagger. `caution` is added to the score of "no name": higher finds fewer and surer ones."""
    data, offsets = text_buffers(text)
    weights, moves = _model()
    longest = int(np.diff(offsets).max()) if len(text) else 0
    size = longest + 8
    starts, ends, tags = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.uint8)
    found = _find(data, offsets, tagger.tables(), weights, moves, caution, starts, ends, tags, tagger.scratch(size))
    rows, low, high = found
    return Spans(rows, low.astype(np.int32), high.astype(np.int32), np.zeros(len(rows), np.int16), ("PERSON",))


@njit(cache=True, nogil=True)
def _find(
    data: np.ndarray,
    offsets: np.ndarray,
    tables: tuple,
    weights: np.ndarray,
    moves: np.ndarray,
    caution: float,
    starts: np.ndarray,
    ends: np.ndarray,
    tags: np.ndarray,
    scratch: tuple,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes = np.empty(starts.size, np.uint32)
    rows, low, high = [np.int64(0)], [np.int64(0)], [np.int64(0)]
    for row in range(offsets.size - 1):
        n = decode(data, offsets[row], offsets[row + 1], codes)
        m = tagger.tag(codes, n, tables, weights, moves, caution, starts, ends, tags, scratch)
        begin = 0
        for i in range(m):
            if tags[i] == tagger.B or tags[i] == tagger.S:
                begin = starts[i]
            if tags[i] == tagger.E or tags[i] == tagger.S:
                rows.append(np.int64(row))
                low.append(np.int64(begin))
                high.append(ends[i])
    return np.array(rows)[1:], np.array(low)[1:], np.array(high)[1:]


def without(spans: Spans, text: pa.Array, kept: frozenset[str]) -> Spans:
    """`spans` without the names on a list (of public figures), compared without white space and case."""
    if not kept or not len(spans):
        return spans
    said = ["".join(value.split()).casefold() for value in values(text, spans)]
    return spans.where(np.array([value not in kept for value in said], bool))


def hidden(text: pa.Array, spans: Spans) -> pa.Array:
    """The texts with a sign that no pattern holds in the place of each character of a span, so that offsets stay."""
    sizes, choice = np.unique(spans.ends - spans.starts, return_inverse=True)
    return replace(text, spans, choice, ["|" * size for size in sizes.tolist()])


def within(engine: Engine, text: pa.Array, rows: npt.NDArray[np.integer]) -> Spans:
    """The engine's spans, asked about these rows only (ascending)."""
    found = engine(text.take(pa.array(rows, pa.int64())))
    return Spans(rows.astype(np.int64)[found.rows], found.starts, found.ends, found.types, found.names)
