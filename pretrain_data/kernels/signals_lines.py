"""Lines and paragraphs of a document: counted, hashed, and marked for C4."""

from __future__ import annotations

import numpy as np
from numba import njit

from pretrain_data.kernels import signals_counts as counts
from pretrain_data.kernels.bytes8 import PRIME, SEED, hash_bytes, s64, u
from pretrain_data.kernels.textscan import BULLET, CLASS_MASK, DIGIT, SPACE, TERMINAL

# ruff: noqa: SIM109 - chains of == compile to better machine code than `in` a tuple

_LINES, _LINE_CHARS, _LONGEST_LINE, _SHORT_LINES = (
    counts.LINES, counts.LINE_CHARS, counts.LONGEST_LINE, counts.SHORT_LINES,
)  # fmt: skip
_TERMINAL_LINES, _ELLIPSIS_LINES, _BULLET_LINES = (
    counts.TERMINAL_LINES, counts.ELLIPSIS_LINES, counts.BULLET_LINES,
)  # fmt: skip
_PARAGRAPHS, _CURLY = counts.PARAGRAPHS, counts.CURLY
_DOT, _QUESTION, _BANG, _QUOTE, _APOSTROPHE, _BRACE, _SQUARE, _UNSQUARE = (ord(c) for c in ".?!\"'{[]")
_ELLIPSIS = 0x2026

LINE_C4 = 1  # long enough, ends a sentence, no overlong word
LINE_CURLY = 2


@njit(cache=True, nogil=True, inline="always")
def _ends_in_ellipsis(codes: np.ndarray, first: int, last: int) -> bool:
    if codes[last] == _ELLIPSIS:
        return True
    return last - first >= 2 and codes[last] == _DOT and codes[last - 1] == _DOT and codes[last - 2] == _DOT


@njit(cache=True, nogil=True)
def _before_citation(codes: np.ndarray, flags: np.ndarray, first: int, last: int) -> int:
    """The last character of the line before any [12] at its end."""
    while last - first >= 3 and codes[last] == _UNSQUARE:
        j = last - 1
        while j > first and flags[j] & CLASS_MASK == DIGIT:
            j -= 1
        if j == last - 1 or codes[j] != _SQUARE or j == first:
            break
        last = j - 1
    return last


@njit(cache=True, nogil=True)
def _wordy(flags: np.ndarray, first: int, last: int, least: int, longest: int) -> bool:
    """Whether first..last holds `least` words by white space and none of more than `longest` characters."""
    words = word = 0
    bounded = last - first < longest
    for i in range(first, last + 1):
        if flags[u(i)] & CLASS_MASK == SPACE:
            word = 0
            continue
        if word == 0:
            words += 1
            if bounded and words >= least:
                return True
        word += 1
        if word > longest:
            return False
    return words >= least


@njit(cache=True, nogil=True)
def scan_lines(
    data: np.ndarray,
    start_byte: int,
    codes: np.ndarray,
    flags: np.ndarray,
    raw: int,
    line_end: np.ndarray,
    line_byte: np.ndarray,
    short_line: int,
    c4_words: int,
    c4_longest_word: int,
    line_hash: np.ndarray,
    line_length: np.ndarray,
    paragraph_hash: np.ndarray,
    paragraph_length: np.ndarray,
    line_flags: np.ndarray,
    out: np.ndarray,
) -> None:
    """Count lines and paragraphs, hash them, and mark the `raw` lines for C4."""
    lines = paragraphs = 0
    chars = longest = terminal = ellipsis = bullets = short = 0
    paragraph = SEED
    paragraph_begin = paragraph_stop = -1
    start = 0
    first_byte = start_byte
    curly = out[_CURLY] > 0
    for r in range(raw):
        stop = s64(line_end[u(r)])
        length = stop - start
        first = start
        while first < stop and flags[u(first)] & CLASS_MASK == SPACE:
            first += 1
        mark = 0
        if first < stop:
            last = stop - 1
            while flags[u(last)] & CLASS_MASK == SPACE:
                last -= 1
            h = hash_bytes(data, first_byte, line_byte[u(r)])
            line_hash[u(lines)] = h
            line_length[u(lines)] = length
            lines += 1
            chars += length
            longest = max(longest, length)
            terminal += flags[u(last)] & TERMINAL != 0
            ellipsis += _ends_in_ellipsis(codes, first, last)
            bullets += flags[u(first)] & BULLET != 0
            short += length <= short_line
            final = _before_citation(codes, flags, first, last)
            c = codes[u(final)]
            if (
                (c == _DOT or c == _QUESTION or c == _BANG or c == _QUOTE or c == _APOSTROPHE)
                and not (c == _DOT and _ends_in_ellipsis(codes, first, final))
                and _wordy(flags, first, last, c4_words, c4_longest_word)
            ):
                mark = LINE_C4
                if curly:
                    for i in range(first, last + 1):
                        if codes[u(i)] == _BRACE:
                            mark = LINE_C4 | LINE_CURLY
                            break
            if paragraph_begin < 0:
                paragraph_begin = start
                paragraph = SEED
            paragraph = (paragraph ^ h) * PRIME
            paragraph ^= paragraph >> u(29)
            paragraph_stop = stop
        if paragraph_begin >= 0 and (first >= stop or r == raw - 1):
            paragraph_hash[u(paragraphs)] = paragraph
            paragraph_length[u(paragraphs)] = paragraph_stop - paragraph_begin
            paragraphs += 1
            paragraph_begin = -1
        line_flags[u(r)] = mark
        start = stop + 1
        first_byte = line_byte[u(r)] + 1
    out[_LINES] = lines
    out[_PARAGRAPHS] = paragraphs
    out[_LINE_CHARS] = chars
    out[_LONGEST_LINE] = longest
    out[_TERMINAL_LINES] = terminal
    out[_ELLIPSIS_LINES] = ellipsis
    out[_BULLET_LINES] = bullets
    out[_SHORT_LINES] = short
