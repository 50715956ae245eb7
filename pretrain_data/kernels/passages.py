"""Lines and paragraphs of texts by the hash of what they say, and texts without some of them.

A line ends at a line break; a paragraph is the lines between two blank ones. Each is folded and cut into tokens as
documents are (`kernels.minhash`, a run of letters or a Chinese character), so that case, width, punctuation and where
a paragraph breaks its lines make no difference: a paragraph of one line has the hash of that line.
"""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pretrain_data.kernels.minhash import BASE, _mix, _tokens
from pretrain_data.kernels.normalize import TOKENS_A_BYTE, tables
from pretrain_data.kernels.textscan import text_buffers

LINE, PARAGRAPH = 0, 1
NEWLINE = 10

I64 = npt.NDArray[np.int64]


class Passages(NamedTuple):
    """Passages of n texts in the order of rows. `start` and `end` are bytes from the beginning of the text, a line's
    break not included; `hash` is 64 bits; a paragraph comes behind its lines."""

    row: I64
    start: I64
    end: I64
    hash: I64
    kind: npt.NDArray[np.uint8]

    def where(self, these: npt.NDArray[np.bool_] | I64) -> Passages:
        """Those that a mask is true for, or that indices name."""
        return Passages(*(array[these] for array in self))  # type: ignore[arg-type]


def find(text: pa.Array, lines: bool, paragraphs: bool, min_tokens: int, simplified: bool = False) -> Passages:
    """The lines and paragraphs that have at least `min_tokens` tokens.

    Where lines are looked for, a paragraph of one line is that line and no passage of its own.
    """
    data, offsets = text_buffers(text)
    return Passages(*_find(data, offsets, lines, paragraphs, min_tokens, tables(simplified)))


def keys(ids: pa.Array) -> I64:
    """A 63-bit number for each id (string), by hash: who comes first doesn't hang on the order of arrival."""
    return np.asarray(_keys(*text_buffers(ids)), np.int64)


def outermost(found: Passages) -> I64:
    """Indices, in the order of texts, of those that lie in no other: a paragraph goes as a whole."""
    order = np.lexsort((-found.end, found.start, found.row))
    return np.asarray(order[_outermost(*(array[order] for array in found[:3]))], np.int64)


def without(text: pa.Array, gone: Passages) -> pa.Array:
    """The texts (large_string) without the passages `gone` (whole lines, none within another, in order).

    Blank lines that stood around what is gone are one where they lay between two lines that stay, and none at an edge.
    A text that nothing goes from is left as it is.
    """
    data, offsets = text_buffers(text)
    new, ends = _without(data, offsets, gone.row, gone.start, gone.end)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(new)]
    return pa.Array.from_buffers(pa.large_string(), len(text), buffers)


def places(text: pa.Array, found: Passages) -> tuple[I64, I64]:
    """Start and end of passages in code points of their texts. `found` is in order, none within another."""
    data, offsets = text_buffers(text)
    start, end = _places(data, offsets, found.row, found.start, found.end)
    return start, end


@nb.njit(cache=True, nogil=True)
def _blank(data, low, high):  # type: ignore[no-untyped-def]
    """Whether data[low:high] is white space: blanks, tabs, returns, U+00A0 and U+3000."""
    i = low
    while i < high:
        if data[i] == 32 or data[i] == 9 or data[i] == 13:
            i += 1
        elif data[i] == 0xC2 and data[i + 1] == 0xA0:
            i += 2
        elif data[i] == 0xE3 and data[i + 1] == 0x80 and data[i + 2] == 0x80:
            i += 3
        else:
            return False
    return True


@nb.njit(cache=True, nogil=True)
def _find(data, offsets, lines, paragraphs, min_tokens, fold):  # type: ignore[no-untyped-def]
    documents = len(offsets) - 1
    most, longest = documents, np.int64(0)
    for d in range(documents):
        length = np.int64(0)
        for i in range(offsets[d], offsets[d + 1]):
            length += 1
            if data[i] == NEWLINE:
                most += 1
                longest = max(longest, length)
                length = np.int64(0)
        longest = max(longest, length)
    most *= 2
    row, start, end = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    hashes, kind = np.empty(most, np.int64), np.empty(most, np.uint8)
    tokens = np.empty(TOKENS_A_BYTE * longest + 1, np.uint64)
    at = 0
    for d in range(documents):
        first, until = offsets[d], offsets[d + 1]
        low = first
        begun, ended, within, long = np.int64(-1), np.int64(0), 0, np.int64(0)
        whole = np.uint64(0)
        while low <= until:
            high = low
            while high < until and data[high] != NEWLINE:
                high += 1
            blank = _blank(data, low, high)
            if not blank:
                count = _tokens(data, low, high, False, fold, tokens)
                h = np.uint64(0)
                if begun < 0:
                    begun, within, long, whole = low, 0, np.int64(0), np.uint64(0)
                for i in range(count):
                    h = _mix((h ^ tokens[i]) * BASE)
                    whole = _mix((whole ^ tokens[i]) * BASE)
                ended = high
                within += 1
                long += count
                if lines and count >= min_tokens:
                    row[at], start[at], end[at], hashes[at] = d, low - first, high - first, np.int64(h)
                    kind[at] = LINE
                    at += 1
            if (blank or high >= until) and begun >= 0:
                if paragraphs and long >= min_tokens and (within > 1 or not lines):
                    row[at], start[at], end[at], hashes[at] = d, begun - first, ended - first, np.int64(whole)
                    kind[at] = PARAGRAPH
                    at += 1
                begun = np.int64(-1)
            low = high + 1
    return row[:at].copy(), start[:at].copy(), end[:at].copy(), hashes[:at].copy(), kind[:at].copy()


@nb.njit(cache=True, nogil=True)
def _keys(data, offsets):  # type: ignore[no-untyped-def]
    out = np.empty(len(offsets) - 1, np.int64)
    for d in range(len(out)):
        h = np.uint64(0)
        for i in range(offsets[d], offsets[d + 1]):
            h = _mix((h ^ np.uint64(data[i])) * BASE)
        out[d] = np.int64(h >> np.uint64(1))
    return out


@nb.njit(cache=True, nogil=True)
def _outermost(row, start, end):  # type: ignore[no-untyped-def]
    keep = np.ones(len(row), np.bool_)
    last, until = np.int64(-1), np.int64(0)
    for i in range(len(row)):
        if row[i] == last and end[i] <= until:
            keep[i] = False
        else:
            last, until = row[i], end[i]
    return keep


@nb.njit(cache=True, nogil=True)
def _without(data, offsets, row, start, end):  # type: ignore[no-untyped-def]
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    ends = np.zeros(len(offsets), np.int64)
    at = np.int64(0)
    next_one = 0
    for d in range(len(offsets) - 1):
        first, until = offsets[d], offsets[d + 1]
        low, begin = first, at
        filled = begin  # where the last line that isn't blank ends in `out`
        cut = False  # something went since then
        lines = 0
        if next_one == len(row) or row[next_one] != d:
            out[at : at + until - first] = data[first:until]
            at += until - first
            low = until + 1
            filled = at
        while low <= until:
            high = low
            while high < until and data[high] != NEWLINE:
                high += 1
            blank = _blank(data, low, high)
            while next_one < len(row) and row[next_one] == d and end[next_one] <= low - first:
                next_one += 1
            gone = next_one < len(row) and row[next_one] == d and start[next_one] <= low - first
            if gone and not blank:
                cut = True
            # Behind a cut one blank line may stay, where none stands before it and something does.
            elif not gone and not (blank and cut and (at > filled or filled == begin)):
                if lines:
                    out[at] = NEWLINE
                    at += 1
                out[at : at + high - low] = data[low:high]
                at += high - low
                lines += 1
                if not blank:
                    filled, cut = at, False
            low = high + 1
        while next_one < len(row) and row[next_one] == d:
            next_one += 1
        if cut:
            at = filled
        ends[d + 1] = at
    return out[:at].copy(), ends


@nb.njit(cache=True, nogil=True)
def _places(data, offsets, row, start, end):  # type: ignore[no-untyped-def]
    first, last = np.empty(len(row), np.int64), np.empty(len(row), np.int64)
    document, at, points = np.int64(-1), np.int64(0), np.int64(0)
    for i in range(len(row)):
        if row[i] != document:
            document, at, points = row[i], np.int64(0), np.int64(0)
        base = offsets[document]
        for side in range(2):
            to = end[i] if side else start[i]
            while at < to:
                points += (data[base + at] & 0xC0) != 0x80
                at += 1
            if side:
                last[i] = points
            else:
                first[i] = points
    return first, last
