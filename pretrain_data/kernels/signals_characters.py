"""One walk over a document's bytes: code points, classes, the histogram, runs, garbling, line ends.

Eight bytes that are all ASCII are taken at once. Nothing is allocated: all arrays are scratch of the batch.
"""

# ruff: noqa: SIM109 - chains of == compile to better machine code than `in` a tuple

from __future__ import annotations

import numpy as np
from numba import njit

from pretrain_data.kernels import signals_counts as counts
from pretrain_data.kernels.bytes8 import HIGH, LOW7, NEWLINES, ONES, load8, nonzero, s64, trailing_zeros, u
from pretrain_data.kernels.textscan import (
    CLASS_MASK,
    IMPOSSIBLE,
    LATIN,
    NEWLINE,
    NUMBER,
    SPACE,
    TABLE_SIZE,
    UPPER,
    char_table,
    class_of,
)

_CLASS_0, _UPPERS, _HASHES, _CURLY = counts.CLASS_0, counts.UPPERS, counts.HASHES, counts.CURLY
_CHARS, _DISTINCT, _TOP_CHAR, _LONGEST_RUN = counts.CHARS, counts.DISTINCT, counts.TOP_CHAR, counts.LONGEST_RUN
_IMPOSSIBLE_HAN, _ZH_STOP, _ZH_STOP_DISTINCT = counts.IMPOSSIBLE_HAN, counts.ZH_STOP, counts.ZH_STOP_DISTINCT
_MOJIBAKE = counts.MOJIBAKE
_SPACES = np.uint64(0x2020202020202020)
_HASH, _BRACE = ord("#"), ord("{")

BEYOND = 0xFF  # in `letters`: part of a word, beyond ASCII
LOGS = 4096

#: For an ASCII character itself where it belongs to words, else 0.
ASCII_LETTERS = np.array([c if LATIN <= char_table()[c] & CLASS_MASK <= NUMBER else 0 for c in range(128)], np.uint8)


def times_log() -> np.ndarray:
    """x log2 x for x below LOGS."""
    x = np.arange(LOGS, dtype=np.float64)
    return np.multiply(x, np.log2(np.maximum(x, 1)))


@njit(cache=True, nogil=True, inline="always")
def wordish(kind: int) -> bool:
    """Whether characters of this class make words: letters, marks, digits."""
    return LATIN <= kind <= NUMBER


@njit(cache=True, nogil=True)
def read(
    data: np.ndarray,
    start: int,
    end: int,
    table: np.ndarray,
    starts: np.ndarray,
    ascii_starts: bool,
    codes: np.ndarray,
    flags: np.ndarray,
    letters: np.ndarray,
    marks: np.ndarray,
    ascii_times: np.ndarray,
    histogram: np.ndarray,
    touched: np.ndarray,
    line_end: np.ndarray,
    line_byte: np.ndarray,
    out: np.ndarray,
) -> tuple[int, int, int, int]:
    """Decode UTF-8 `data[start:end]`; code points, raw lines, distinct ones beyond ASCII, and `seen` are returned.

    `codes`, `flags`, `letters` (ASCII letters and digits as themselves, other word characters BEYOND,
    the rest 0, and eight zeros behind the text) and `marks` (where a keyword may begin, from `starts`;
    `seen` is the union of all its bits; `ascii_starts`: some begin with ASCII punctuation) get one entry
    a code point. `line_end` and `line_byte`: one entry
    a raw line, its end in code points and in bytes of `data`. `ascii_times` and `histogram`
    count characters, `touched` lists those of the latter.
    """
    ascii_times[:] = 0
    distinct = raw = 0
    longest = run = 0
    mojibake = 0
    seen = 0
    previous = 0
    n = 0
    i = start
    while i < end:
        b = s64(data[u(i)])
        if b < 0x80:
            if i + 8 <= end:
                x = load8(data, u(i))
                if x & HIGH == 0:
                    for k in range(8):
                        one = data[u(i + k)]
                        codes[u(n + k)] = one
                        flags[u(n + k)] = table[u(one)]
                        letters[u(n + k)] = ASCII_LETTERS[u(one)]
                        marks[u(n + k)] = 0
                        ascii_times[u(one)] += 1
                    breaks = ~((x ^ NEWLINES) + LOW7) & HIGH
                    while breaks:
                        k = s64(trailing_zeros(breaks) >> u(3))
                        line_end[raw] = n + k
                        line_byte[raw] = i + k
                        raw += 1
                        breaks &= breaks - u(1)
                    if nonzero(x ^ (x << u(8) | u(previous & 0xFF))) == HIGH and previous < 0x80:
                        run = 1  # each differs from the one before it
                    else:
                        for k in range(8):
                            c = s64(data[u(i + k)])
                            run = run + 1 if c == previous else 1
                            previous = c
                            kind = flags[u(n + k)] & CLASS_MASK
                            if kind == SPACE or kind == NEWLINE:
                                run = 0
                            longest = max(longest, run)
                    invisible = ((x - _SPACES) & ~x | (x + ONES)) & HIGH  # below the space, or U+007F
                    if ascii_starts or invisible:
                        for k in range(8):
                            mark = starts[u(data[u(i + k)])]
                            marks[u(n + k)] = mark
                            seen |= mark
                    previous = s64(x >> u(56))
                    i += 8
                    n += 8
                    continue
            c = b
            i += 1
            letters[u(n)] = ASCII_LETTERS[u(c)]
            ascii_times[u(c)] += 1
            if c == 10:
                line_end[raw] = n
                line_byte[raw] = i - 1
                raw += 1
            flag = s64(table[u(c)])
            mark = starts[u(c)]
            marks[u(n)] = mark
            seen |= mark
        else:
            if b < 0xE0:
                c = (b & 0x1F) << 6 | s64(data[u(i + 1)]) & 0x3F
                i += 2
            elif b < 0xF0:
                c = (b & 0x0F) << 12 | (s64(data[u(i + 1)]) & 0x3F) << 6 | s64(data[u(i + 2)]) & 0x3F
                i += 3
            else:
                c = (
                    (b & 0x07) << 18
                    | (s64(data[u(i + 1)]) & 0x3F) << 12
                    | (s64(data[u(i + 2)]) & 0x3F) << 6
                    | s64(data[u(i + 3)]) & 0x3F
                )
                i += 4
            if c < TABLE_SIZE:
                flag = s64(table[u(c)])
                mark = starts[u(c)]
            else:
                flag = s64(class_of(c, table))
                mark = 0
            marks[u(n)] = mark
            seen |= mark
            letters[u(n)] = BEYOND if wordish(flag & CLASS_MASK) else 0
            times = histogram[u(c)]
            if times == 0:
                touched[u(distinct)] = c
                distinct += 1
            histogram[u(c)] = times + 1
            near = previous >= 0xC2 and (previous < 0xF0 or c == 0x65A4 or c == 0x62F7)
            if near and c != previous and _garbled_pair(previous, c):
                mojibake += 2
        codes[u(n)] = c
        flags[u(n)] = flag
        run = run + 1 if c == previous else 1
        kind = flag & CLASS_MASK
        if kind == SPACE or kind == NEWLINE:
            run = 0
        longest = max(longest, run)
        previous = c
        n += 1
    line_end[raw] = n
    line_byte[raw] = end
    for k in range(8):
        letters[u(n + k)] = 0
        marks[u(n + k)] = 0
    out[_CHARS] = n
    out[_MOJIBAKE] = mojibake
    out[_LONGEST_RUN] = longest
    return n, raw + 1, distinct, seen


@njit(cache=True, nogil=True)
def tell(
    table: np.ndarray,
    zh_stop: np.ndarray,
    ascii_times: np.ndarray,
    histogram: np.ndarray,
    touched: np.ndarray,
    distinct: int,
    logs: np.ndarray,
    out: np.ndarray,
) -> float:
    """What the histogram tells; it is left all zero. Entropy in bits per inked character is returned."""
    inked = shown = top = 0
    total = 0.0
    zh_stops = zh_seen = 0
    for k in range(128 + distinct):
        if k < 128:
            c = k
            times = s64(ascii_times[u(k)])
            if times == 0:
                continue
        else:
            c = s64(touched[u(k - 128)])
            times = s64(histogram[u(c)])
            histogram[u(c)] = 0
        flag = s64(table[u(c)]) if c < TABLE_SIZE else s64(class_of(c, table))
        kind = flag & CLASS_MASK
        out[u(_CLASS_0 + kind)] += times
        if kind != SPACE and kind != NEWLINE:
            inked += times
            shown += 1
            top = max(top, times)
            total += logs[u(times)] if times < LOGS else times * np.log2(times)
        if flag & UPPER:
            out[_UPPERS] += times
        if flag & IMPOSSIBLE:
            out[_IMPOSSIBLE_HAN] += times
        if c < TABLE_SIZE and zh_stop[u(c)]:
            zh_stops += times
            zh_seen += 1
    out[_HASHES] = ascii_times[_HASH]
    out[_CURLY] = ascii_times[_BRACE]
    out[_DISTINCT] = shown
    out[_TOP_CHAR] = top
    out[_ZH_STOP] = zh_stops
    out[_ZH_STOP_DISTINCT] = zh_seen
    if inked > 0 and out[_LONGEST_RUN] == 0:
        out[_LONGEST_RUN] = 1
    return np.log2(inked) - total / inked if inked > 0 else 0.0


@njit(cache=True, nogil=True, inline="always")
def _garbled_pair(a: int, b: int) -> bool:
    """Two neighbours that UTF-8 read as Latin-1 or Windows-1252 leaves, or 锟斤/斤拷 (U+FFFD read as GBK)."""
    if a == 0xC2 or a == 0xC3:  # Â Ã before a continuation byte
        return 0x80 <= b <= 0xBF or b == 0x20AC or b == 0x2122 or b == 0x153
    if a == 0xE2:  # â€
        return b == 0x20AC or 0x80 <= b <= 0x9F
    if a == 0xEF:  # ï»¿ ï¿½ ï¼
        return b == 0xBB or b == 0xBC or b == 0xBF
    if 0xE4 <= a <= 0xE9:  # Chinese: ä¸­, æ–‡
        return 0x80 <= b <= 0x9F or 0xA1 <= b <= 0xBF
    return (a == 0x951F and b == 0x65A4) or (a == 0x65A4 and b == 0x62F7)
