"""A small sequence tagger for names in Chinese, English and mixed text: hashed features, one linear chain, Viterbi.

A text becomes units: one Han character, one word of another script, one number, one sign, one line break. Each
has about two dozen features of itself and its two neighbours on each side, hashed into one table of weights
(Collins 2002, "Discriminative training methods for hidden Markov models", for how they are learned). Traditional
characters count as their simplified twins, full-width letters as ASCII. Linear in the text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pretrain_data.kernels.textscan import (
    CLASS_MASK,
    DIGIT,
    HAN,
    KANA,
    LATIN,
    LETTER,
    MARK,
    NEWLINE,
    TABLE_SIZE,
    UPPER,
    char_table,
    class_of,
)

OUT, B, M, E, S = 0, 1, 2, 3, 4  # outside; begin, middle, end of a name; a name of one unit
TAGS = 5
FEATURES = 25
TABLE_BITS = 19

# Shapes of units.
_NONE, _LOWER, _TITLE, _CAPS, _INITIAL, _NUMBER, _HAN, _SIGN, _LINE = 0, 1, 2, 3, 4, 5, 6, 7, 8
_SPACE_BEFORE = 16


@lru_cache(maxsize=1)
def folded() -> npt.NDArray[np.uint32]:
    """For each code point below TABLE_SIZE what it counts as: simplified, half-width, lower case."""
    from pretrain_data.kernels.keywords import folding

    table = np.arange(TABLE_SIZE, dtype=np.uint32)
    for code, char in folding().items():
        table[code] = ord(char)
    for code in range(0x80):
        table[code] = ord(chr(code).lower())
    table[ord("’")] = ord("'")
    table.setflags(write=False)
    return table


@lru_cache(maxsize=1)
def surname_flags() -> npt.NDArray[np.uint8]:
    """For each code point: 1 a surname, 2 first of a double one, 4 second of one (pii_surnames.zh.txt)."""
    from importlib import resources

    text = (resources.files("pretrain_data.wordlists") / "pii_surnames.zh.txt").read_text("utf-8")
    flags = np.zeros(TABLE_SIZE, np.uint8)
    for line in text.splitlines():
        for name in line.split("#", 1)[0].split():
            if len(name) == 1:
                flags[ord(name)] |= 1
            else:
                flags[ord(name[0])] |= 2
                flags[ord(name[1])] |= 4
    flags.setflags(write=False)
    return flags


@njit(cache=True, nogil=True, inline="always")
def _mix(a: Any, b: Any) -> Any:
    return ((a ^ (a >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + b) * np.uint64(0xBF58476D1CE4E5B9)


@njit(cache=True, nogil=True)
def units(
    codes: np.ndarray,
    n: int,
    table: np.ndarray,
    fold: np.ndarray,
    flags: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    words: np.ndarray,
    heads: np.ndarray,
    tails: np.ndarray,
    shapes: np.ndarray,
    surnames: np.ndarray,
) -> int:
    """Units of the first `n` code points, from place 2 on (two empty ones stand before and after); their end."""
    m = 2
    i = 0
    spaced = True
    while i < n:
        code = codes[i]
        kind = class_of(code, table) & CLASS_MASK
        if kind == NEWLINE:
            starts[m], ends[m], words[m], heads[m], tails[m] = i, i + 1, np.uint64(1), 0, 0
            shapes[m], surnames[m] = _LINE, 0
            m += 1
            i += 1
            spaced = True
            continue
        if code <= 0x20 or code == 0xA0 or code == 0x3000:
            i += 1
            spaced = True
            continue
        start = i
        word = np.uint64(fold[code] if code < TABLE_SIZE else code)
        surname = flags[word] if word < TABLE_SIZE else 0
        if kind in (LATIN, LETTER):
            upper = 0
            length = 0
            word = np.uint64(7)
            first_upper = class_of(code, table) & UPPER
            head = np.uint64(11)
            tail = np.uint64(0)
            while i < n:
                code = codes[i]
                flagged = class_of(code, table)
                kind = flagged & CLASS_MASK
                inner = (code == 0x27 or code == 0x2019 or code == 0x2D) and i + 1 < n
                if inner:
                    following = class_of(codes[i + 1], table) & CLASS_MASK
                    inner = following in (LATIN, LETTER)
                if kind != LATIN and kind != LETTER and kind != MARK and not inner:
                    break
                upper += (flagged & UPPER) != 0
                length += 1
                char = np.uint64(fold[code] if code < TABLE_SIZE else code)
                word = _mix(word, char)
                if length <= 3:
                    head = _mix(head, char)
                tail = (tail << np.uint64(20) | char) & np.uint64(0xFFFFFFFFFFFFFFF)
                i += 1
            shape = _LOWER
            if first_upper and length == 1:
                shape = _INITIAL
            elif upper == length:
                shape = _CAPS
            elif first_upper:
                shape = _TITLE
            surname = 0
        elif kind == DIGIT:
            while i < n and class_of(codes[i], table) & CLASS_MASK == DIGIT:
                i += 1
            word = np.uint64(3 + min(i - start, 4))
            head = tail = np.uint64(0)
            shape = _NUMBER
            surname = 0
        else:
            i += 1
            head = tail = np.uint64(0)
            shape = _HAN if kind in (HAN, KANA) else _SIGN
        starts[m], ends[m], words[m], heads[m], tails[m] = start, i, _mix(word, np.uint64(17)), head, tail
        shapes[m] = shape | (_SPACE_BEFORE if spaced else 0)
        surnames[m] = surname
        m += 1
        spaced = False
    return m


@njit(cache=True, nogil=True)
def features(
    i: int,
    words: np.ndarray,
    heads: np.ndarray,
    tails: np.ndarray,
    shapes: np.ndarray,
    surnames: np.ndarray,
    mask: int,
    out: np.ndarray,
) -> None:
    """Places in the table of weights of the features of unit i."""
    w, a, b, c, d = words[i], words[i - 1], words[i - 2], words[i + 1], words[i + 2]
    s0, s1, s2 = np.uint64(shapes[i]), np.uint64(shapes[i - 1]), np.uint64(shapes[i - 2])
    s3, s4 = np.uint64(shapes[i + 1]), np.uint64(shapes[i + 2])
    near = (
        np.uint64(surnames[i]) | np.uint64(surnames[i - 1]) << np.uint64(3) | np.uint64(surnames[i - 2]) << np.uint64(6)
    )
    near |= np.uint64(surnames[i + 1]) << np.uint64(9) | np.uint64(surnames[i - 3 if i > 2 else 0]) << np.uint64(12)
    short = tails[i] & np.uint64(0xFFFFFFFFFF)
    shape3 = s1 << np.uint64(8) | s0 << np.uint64(16) | s3 << np.uint64(24)
    shape5 = shape3 | s2 | s4 << np.uint64(32)
    k = 0
    for value in (
        w,
        a,
        b,
        c,
        d,
        _mix(a, w),
        _mix(w, c),
        _mix(b, a),
        _mix(c, d),
        _mix(a, c),
        _mix(_mix(b, a), w),
        _mix(_mix(w, c), d),
        _mix(_mix(a, w), c),
        shape3,
        shape5,
        _mix(heads[i], s0),
        _mix(tails[i], s0),
        _mix(short, s0),
        near,
        _mix(near, shape3),
        _mix(near, w),
        _mix(s3, w),
        _mix(a, s0),
        _mix(c, s0),
        _mix(near & np.uint64(0x1FF), c),
    ):
        out[k] = (_mix(value, np.uint64(k + 1)) >> np.uint64(40)) & np.uint64(mask)
        k += 1  # noqa: SIM113


@njit(cache=True, nogil=True)
def allowed(before: int, after: int) -> bool:
    """Whether one tag may follow another."""
    inside = before in (B, M)
    return inside == (after in (M, E))


@njit(cache=True, nogil=True)
def viterbi(scores: np.ndarray, m: int, moves: np.ndarray, back: np.ndarray, tags: np.ndarray) -> None:
    """The best allowed sequence of tags for `scores[:m]`; `moves` are the weights between neighbours."""
    best = np.empty(TAGS, np.float32)
    new = np.empty(TAGS, np.float32)
    for t in range(TAGS):
        best[t] = scores[0, t] + moves[OUT, t] if allowed(OUT, t) else -1e9
    for i in range(1, m):
        for t in range(TAGS):
            top = np.float32(-2e9)
            came = 0
            for f in range(TAGS):
                if allowed(f, t):
                    value = best[f] + moves[f, t]
                    if value > top:
                        top = value
                        came = f
            new[t] = top + scores[i, t]
            back[i, t] = came
        best[:] = new
    last = OUT
    top = np.float32(-2e9)
    for t in (OUT, E, S):
        if best[t] > top:
            top = best[t]
            last = t
    for i in range(m - 1, -1, -1):
        tags[i] = last
        last = back[i, last] if i else OUT


@njit(cache=True, nogil=True)
def tag(
    codes: np.ndarray,
    n: int,
    tables: tuple,
    weights: np.ndarray,
    moves: np.ndarray,
    caution: float,
    starts: np.ndarray,
    ends: np.ndarray,
    tags: np.ndarray,
    scratch: tuple,
) -> int:
    """Tags of the first `n` code points; returns the number of units, which begin at place 0 of the arrays."""
    words, heads, tails, shapes, surnames, scores, back = scratch
    table, fold, flags = tables
    words[:2], heads[:2], tails[:2], shapes[:2], surnames[:2] = 0, 0, 0, 0, 0
    end = units(codes, n, table, fold, flags, starts, ends, words, heads, tails, shapes, surnames)
    words[end : end + 2], heads[end : end + 2], tails[end : end + 2] = 0, 0, 0
    shapes[end : end + 2], surnames[end : end + 2] = 0, 0
    m = end - 2
    places = np.empty(FEATURES, np.int64)
    mask = weights.shape[0] - 1
    for i in range(m):
        features(i + 2, words, heads, tails, shapes, surnames, mask, places)
        for t in range(TAGS):
            scores[i, t] = 0
        scores[i, OUT] = caution
        for k in range(FEATURES):
            for t in range(TAGS):
                scores[i, t] += weights[places[k], t]
        if shapes[i + 2] == _LINE:
            for t in range(1, TAGS):
                scores[i, t] = -1e6
        starts[i], ends[i] = starts[i + 2], ends[i + 2]
    if m:
        viterbi(scores, m, moves, back, tags)
    return m


def tables() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """What `tag` reads characters through."""
    return char_table(), folded(), surname_flags()


def scratch(size: int) -> tuple[np.ndarray, ...]:
    """Arrays for `tag` that are enough for `size` code points."""
    size += 8
    return (
        np.empty(size, np.uint64),
        np.empty(size, np.uint64),
        np.empty(size, np.uint64),
        np.empty(size, np.uint8),
        np.empty(size, np.uint8),
        np.empty((size, TAGS), np.float32),
        np.empty((size, TAGS), np.uint8),
    )
