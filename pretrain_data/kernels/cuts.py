"""Spans cut out of texts so that what stays reads on: breaks, blanks and punctuation close up where they were.

Where something went, the strongest break remains of those before, in and behind it: a blank line, a line break, a
blank, nothing; at an edge of the text none. Closing punctuation right behind it goes too where nothing stands before
it that it could close. Two words never become one.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pretrain_data.kernels.normalize import LIMIT, RUN, tables
from pretrain_data.kernels.substrings import _point
from pretrain_data.kernels.textscan import text_buffers

I64 = npt.NDArray[np.int64]

#: What closes a clause: of several in a row, left by a cut, the first is enough.
CLOSING = np.array(sorted(map(ord, ".,;:!?…。，、；：！？．｡､")), np.int64)
NOTHING, BLANK, LINE, PARAGRAPH = 0, 1, 2, 3  # breaks, by strength
NEWLINE = 10


def apart(text: pa.Array, row: I64, start: I64, end: I64, whole: npt.NDArray[np.bool_]) -> tuple[I64, I64, I64]:
    """Spans (bytes) that don't overlap, in order, of spans that do: which of those given, its start and its end.

    A span within another goes. Where two overlap, one that is `whole` (a line, a paragraph) is left as it is and the
    other one has the rest, without white space at its edges. The texts are those that the spans are of.
    """
    order = np.lexsort((-end, start, row))
    data, offsets = text_buffers(text)
    which, start, end = _apart(data, offsets, row[order], start[order], end[order], whole[order])
    return order[which], start, end


def without(text: pa.Array, row: I64, start: I64, end: I64) -> pa.Array:
    """The texts (large_string) without spans (bytes, from `apart`); a text that nothing goes from is left as it is."""
    data, offsets = text_buffers(text)
    new, ends = _without(data, offsets, row, start, end, CLOSING, tables())
    return pa.Array.from_buffers(pa.large_string(), len(text), [None, pa.py_buffer(ends), pa.py_buffer(new)])


@nb.njit(cache=True, nogil=True)
def _white(data, i, high):  # type: ignore[no-untyped-def]
    """The length in bytes of the white space that data[i:high] begins with, line breaks included."""
    begin = i
    while i < high:
        byte = data[i]
        if byte == 32 or byte == 9 or byte == 13 or byte == NEWLINE:
            i += 1
        elif byte == 0xC2 and i + 1 < high and data[i + 1] == 0xA0:
            i += 2
        elif byte == 0xE3 and i + 2 < high and data[i + 1] == 0x80 and data[i + 2] == 0x80:
            i += 3
        else:
            break
    return i - begin


@nb.njit(cache=True, nogil=True)
def _white_before(data, low, i):  # type: ignore[no-untyped-def]
    """The length in bytes of the white space that data[low:i] ends with."""
    end = i
    while i > low:
        byte = data[i - 1]
        if byte == 32 or byte == 9 or byte == 13 or byte == NEWLINE:
            i -= 1
        elif byte == 0xA0 and i - 2 >= low and data[i - 2] == 0xC2:
            i -= 2
        elif byte == 0x80 and i - 3 >= low and data[i - 2] == 0x80 and data[i - 3] == 0xE3:
            i -= 3
        else:
            break
    return end - i


@nb.njit(cache=True, nogil=True)
def _apart(data, offsets, row, start, end, whole):  # type: ignore[no-untyped-def]
    which = np.empty(len(row), np.int64)
    first, last = np.empty(len(row), np.int64), np.empty(len(row), np.int64)
    at = 0
    for i in range(len(row)):
        base = offsets[row[i]]
        low, high = start[i], end[i]
        if at and row[which[at - 1]] == row[i] and low < last[at - 1]:
            if high <= last[at - 1]:
                continue
            if whole[i]:  # two whole ones don't overlap
                last[at - 1] = low - _white_before(data, base + first[at - 1], base + low)
                if last[at - 1] <= first[at - 1]:
                    at -= 1
            else:
                low = last[at - 1]
                low += _white(data, base + low, base + high)
        if low < high:
            which[at], first[at], last[at] = i, low, high
            at += 1
    return which[:at].copy(), first[:at].copy(), last[:at].copy()


@nb.njit(cache=True, nogil=True)
def _break(data, low, high):  # type: ignore[no-untyped-def]
    """The strongest break in data[low:high]; blanks count only where it is nothing else."""
    strongest = NOTHING
    i = low
    while i < high:
        size = _white(data, i, high)
        lines = 0
        for j in range(i, i + size):
            lines += data[j] == NEWLINE
        if lines:
            strongest = max(strongest, PARAGRAPH if lines > 1 else LINE)
        elif size == high - low:
            strongest = BLANK
        i += size + 1  # the later bytes of a character are none that white space begins with
    return strongest


@nb.njit(cache=True, nogil=True)
def _among(point, values):  # type: ignore[no-untyped-def]
    return (values == point).any()


@nb.njit(cache=True, nogil=True)
def _last_point(data, low, high):  # type: ignore[no-untyped-def]
    """The code point that data[low:high] ends with; -1 where there is none."""
    i = high - 1
    while i > low and data[i] & 0xC0 == 0x80:
        i -= 1
    return _point(data, i)[0] if i >= low else np.int64(-1)


@nb.njit(cache=True, nogil=True)
def _letter(point, fold):  # type: ignore[no-untyped-def]
    return 0 <= point < LIMIT and fold.kind[point] == RUN


@nb.njit(cache=True, nogil=True)
def _without(data, offsets, row, start, end, closing, fold):  # type: ignore[no-untyped-def]
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    ends = np.zeros(len(offsets), np.int64)
    at = np.int64(0)
    span = 0
    for d in range(len(offsets) - 1):
        base, until = offsets[d], offsets[d + 1]
        begin, low = at, base
        broken = np.int64(-1)  # the strongest break at a cut that nothing has been written behind yet
        while low < until:
            cut = span < len(row) and row[span] == d
            high = base + start[span] if cut else until
            if broken >= 0:
                # What closed the run closes nothing where a line or a clause begins.
                if broken >= LINE or at == begin or _among(_last_point(out, begin, at), closing):
                    while low < high:
                        point, size = _point(data, low)
                        if not _among(point, closing):
                            break
                        low += size
                white = _white(data, low, high)
                broken = max(broken, _break(data, low, low + white))
                behind = low + white
                if behind < high:
                    point = _point(data, behind)[0]
                    if at == begin or (broken == BLANK and white == 0 and _among(point, closing)):
                        broken = np.int64(NOTHING)
                    elif broken == NOTHING and _letter(_last_point(out, begin, at), fold) and _letter(point, fold):
                        broken = np.int64(BLANK)
                    if broken == BLANK:
                        out[at] = 32
                        at += 1
                    for _ in range(broken - BLANK):
                        out[at] = NEWLINE
                        at += 1
                    if broken != BLANK and broken != NOTHING:  # a line's indent stays
                        line = behind
                        while line > low and data[line - 1] != NEWLINE:
                            line -= 1
                        if line > low:
                            behind = line
                    broken = np.int64(-1)
                low = behind
            out[at : at + high - low] = data[low:high]
            at += high - low
            low = high
            if cut:
                white = _white_before(out, begin, at)
                broken = max(broken, _break(out, at - white, at))
                at -= white
                inner = _break(data, low, base + end[span])
                if inner > BLANK:
                    broken = max(broken, inner)
                low = base + end[span]
                span += 1
        ends[d + 1] = at
    return out[:at].copy(), ends
