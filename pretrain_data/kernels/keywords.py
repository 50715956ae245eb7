"""Thousands of keywords, Chinese and English, found in one walk over a text.

Text and terms are folded alike: full-width to half-width (NFKC), lower case, traditional to
simplified. A run of separators (spaces, * · - _ and the like) within a line is one separator; it is
seen through between two Han characters (加*微 信) and between single letters (v.i.a.g.r.a). A
term that begins or ends in a Latin letter or digit matches whole words only. Where several terms
begin at one place the longest counts, and the search goes on after it.

The terms sit in a trie whose edges are an open-addressed hash table; a walk is as long as the
longest term at most, so that time is linear in the text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from pretrain_data.kernels.textscan import (
    CLASS_MASK,
    CONTROL,
    DIGIT,
    HAN,
    KANA,
    LATIN,
    LETTER,
    TABLE_SIZE,
    char_table,
    decode,
    text_buffers,
)

MAX_CATEGORIES = 32
MAX_TERM = 64  # symbols
#: Seen through inside a term. Sentence and clause punctuation is not: it parts words.
SEPARATORS = " \t\u00a0\u3000*·•∙・_-.~|/\\+^=#`'’‘\"“”—–…░★☆◆■●"

_BREAK, _SEPARATOR, _SKIP, _NEWLINE, _WORD, _HAN = 0, 1, 2, 3, 4, 5  # _WORD, _HAN: not in any term
_FIRST_SYMBOL = 6


@lru_cache(maxsize=1)
def folding() -> dict[int, str]:
    """For each character from U+0080 on that folding changes: what it becomes (one character)."""
    from opencc import OpenCC

    han = [chr(c) for c in range(0x3400, 0xA000)] + [chr(c) for c in range(0xF900, 0xFB00)]
    simplified = OpenCC("t2s").convert("\n".join(han)).split("\n")
    to_simplified = {a: b for a, b in zip(han, simplified, strict=True) if len(b) == 1}
    folded = {}
    for code in range(0x80, TABLE_SIZE):
        char = chr(code)
        compatible = unicodedata.normalize("NFKC", char).casefold()
        if len(compatible) != 1:
            compatible = char
        compatible = to_simplified.get(compatible, compatible)
        if compatible != char:
            folded[code] = compatible
    return folded


def fold(text: str) -> str:
    """`text` as terms are compared: half-width, lower case, simplified. Same number of characters."""
    table = folding()
    return "".join(table.get(ord(c), c) if ord(c) >= 0x80 else c.lower() for c in text)


@dataclass(frozen=True)
class Matcher:
    """Compiled keywords of some categories."""

    categories: tuple[str, ...]
    arrays: tuple[npt.NDArray[np.generic], ...]  # symbol of each character, kinds, edges, masks: see `match`


def compile_keywords(terms: Mapping[str, Iterable[str]]) -> Matcher:
    """Build a matcher from the terms of each category.

    Raises ValueError for more than MAX_CATEGORIES categories and for a term that folds to fewer than
    two symbols or more than MAX_TERM.
    """
    categories = tuple(terms)
    if len(categories) > MAX_CATEGORIES:
        raise ValueError(f"at most {MAX_CATEGORIES} keyword categories, not {len(categories)}")
    table = char_table() & CLASS_MASK
    masks: dict[tuple[str, ...], int] = {}
    for number, category in enumerate(categories):
        for term in terms[category]:
            folded = _fold_term(term)
            if any(ord(c) >= TABLE_SIZE for c in folded):
                raise ValueError(f"keyword {term!r} of {category}: characters above U+1FFFF aren't supported")
            if not 2 <= len(folded) <= MAX_TERM:
                raise ValueError(f"keyword {term!r} of {category}: needs 2 to {MAX_TERM} characters")
            masks[folded] = masks.get(folded, 0) | 1 << number
    alphabet = sorted({c for folded in masks for c in folded if c != " "} | set("abcdefghijklmnopqrstuvwxyz0123456789"))
    symbol_of = {c: _FIRST_SYMBOL + i for i, c in enumerate(alphabet)}
    if len(symbol_of) + _FIRST_SYMBOL > 0xFFFF:
        raise ValueError("the keywords use too many different characters")

    symbols = np.zeros(TABLE_SIZE, np.uint16)
    symbols[(table == LATIN) | (table == LETTER) | (table == DIGIT)] = _WORD
    symbols[(table == HAN) | (table == KANA)] = _HAN
    symbols[table == CONTROL] = _SKIP
    symbols[[ord(c) for c in SEPARATORS]] = _SEPARATOR
    symbols[ord("\n")] = _NEWLINE
    for code in range(0x80):
        symbols[code] = symbol_of.get(chr(code).lower(), symbols[code])
    for char, symbol in symbol_of.items():
        symbols[ord(char)] = symbol
    for code, char in folding().items():
        symbols[code] = symbol_of.get(char, symbols[code])

    kinds = np.zeros(len(symbol_of) + _FIRST_SYMBOL, np.uint8)  # 1: word character, 2: Han or Kana
    kinds[_WORD], kinds[_HAN] = 1, 2
    for char, symbol in symbol_of.items():
        kind = table[ord(char)]
        kinds[symbol] = 1 if kind in (LATIN, LETTER, DIGIT) else 2 if kind in (HAN, KANA) else 0

    states: dict[tuple[int, int], int] = {}
    state_masks = [0]
    for folded in sorted(masks):
        state = 0
        for part in folded:
            edge = (state, _SEPARATOR if part == " " else symbol_of[part])
            if edge not in states:
                states[edge] = len(state_masks)
                state_masks.append(0)
            state = states[edge]
        state_masks[state] |= masks[folded]
    first = np.zeros(kinds.size, np.int32)
    size = 16
    while size < 2 * len(states):
        size *= 2
    keys = np.full(size, -1, np.int64)
    values = np.zeros(size, np.int32)
    for (state, symbol), target in states.items():
        if state == 0:
            first[symbol] = target
            continue
        key = state << 16 | symbol
        slot = int(_slot(key)) & (size - 1)
        while keys[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        keys[slot], values[slot] = key, target
    return Matcher(categories, (symbols, kinds, first, keys, values, np.array(state_masks, np.uint32)))


def _fold_term(term: str) -> tuple[str, ...]:
    """The characters of a folded term; a run of separators is one space, and none beside Han."""
    folded: list[str] = []
    for char in fold(term.strip()):
        if char in SEPARATORS:
            if folded and folded[-1] != " ":
                folded.append(" ")
        else:
            if len(folded) > 1 and folded[-1] == " " and _is_han(char) and _is_han(folded[-2]):
                folded.pop()
            folded.append(char)
    while folded and folded[-1] == " ":
        folded.pop()
    return tuple(folded)


def _is_han(char: str) -> bool:
    return ord(char) >= TABLE_SIZE or char_table()[ord(char)] & CLASS_MASK in (HAN, KANA)


@njit(cache=True, nogil=True, inline="always")
def _slot(key: int) -> int:
    return (key ^ (key >> 15)) * 0x2545F491 >> 7


@njit(cache=True, nogil=True, inline="always")
def _step(keys: np.ndarray, values: np.ndarray, state: int, symbol: int) -> int:
    """The state after `symbol`, or 0."""
    key = int(state) << 16 | int(symbol)
    mask = keys.size - 1
    slot = _slot(key) & mask
    while keys[slot] >= 0:
        if keys[slot] == key:
            return values[slot]
        slot = (slot + 1) & mask
    return 0


@njit(cache=True, nogil=True)
def _fold_symbols(codes: np.ndarray, n: int, symbol_of: np.ndarray, symbols: np.ndarray) -> int:
    """Symbols of the text, runs of separators as one, invisible characters left out."""
    m = 0
    for i in range(n):
        c = codes[i]
        symbol = symbol_of[c] if c < TABLE_SIZE else _HAN
        if symbol == _SKIP or (symbol == _SEPARATOR and m > 0 and symbols[m - 1] == _SEPARATOR):
            continue
        symbols[m] = symbol
        m += 1
    return m


@njit(cache=True, nogil=True)
def match(
    codes: np.ndarray,
    n: int,
    trie: tuple,
    symbols: np.ndarray,
    hits: np.ndarray,
    hit_lines: np.ndarray,
    line_masks: np.ndarray,
) -> None:
    """Count the keywords in the first `n` code points.

    `trie` is `Matcher.arrays`, `symbols` scratch of `n`. Adds to `hits` the matches of each category,
    to `hit_lines` the lines with one, and sets in `line_masks`, one entry a line, the bits of the
    categories found in it.
    """
    symbol_of, kinds, first, keys, values, masks = trie
    if hits.size == 0:
        return
    m = _fold_symbols(codes, n, symbol_of, symbols)
    line = 0
    i = 0
    while i < m:
        symbol = symbols[i]
        if symbol == _NEWLINE:
            line += 1
        state = first[symbol]
        if state == 0 or (kinds[symbol] == 1 and i > 0 and kinds[symbols[i - 1]] == 1):
            i += 1
            continue
        found = np.uint32(0)
        end = i + 1
        j = i + 1
        while j < m:
            symbol = symbols[j]
            following = _step(keys, values, state, symbol)
            if following == 0:
                if symbol != _SEPARATOR or j + 1 >= m:
                    break
                before, after = kinds[symbols[j - 1]], kinds[symbols[j + 1]]
                seen_through = before == 2 and after == 2
                if before == 1 and after == 1:  # single letters, each between separators
                    alone_before = j - i == 1 or kinds[symbols[j - 2]] != 1
                    alone_after = j + 2 >= m or kinds[symbols[j + 2]] != 1
                    seen_through = alone_before and alone_after
                if not seen_through:
                    break
                j += 1
                continue
            state = following
            j += 1
            mask = masks[state]
            if mask and not (kinds[symbol] == 1 and j < m and kinds[symbols[j]] == 1):
                found = mask
                end = j
        if found:
            for category in range(hits.size):
                bit = np.uint32(1) << np.uint32(category)
                if found & bit:
                    hits[category] += 1
                    if not line_masks[line] & bit:
                        hit_lines[category] += 1
            line_masks[line] |= found
        i = end


@njit(cache=True, nogil=True)
def _count(
    data: np.ndarray,
    offsets: np.ndarray,
    trie: tuple,
    hits: np.ndarray,
    hit_lines: np.ndarray,
) -> None:
    longest = 0
    for d in range(offsets.size - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    codes = np.empty(longest, np.uint32)
    symbols = np.empty(longest, np.uint16)
    line_masks = np.empty(longest + 1, np.uint32)
    for d in range(offsets.size - 1):
        n = decode(data, offsets[d], offsets[d + 1], codes)
        line_masks[: n + 1] = 0
        match(codes, n, trie, symbols, hits[:, d], hit_lines[:, d], line_masks)


def count(text: pa.Array, matcher: Matcher) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Matches, and lines with a match: two arrays of shape (categories, documents)."""
    data, offsets = text_buffers(text)
    shape = (len(matcher.categories), len(text))
    hits, hit_lines = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    _count(data, offsets, matcher.arrays, hits, hit_lines)
    return hits, hit_lines
