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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from pretrain_data.kernels import keywords_match as engine
from pretrain_data.kernels.normalize import simplified_characters
from pretrain_data.kernels.signals_characters import ASCII_LETTERS, BEYOND, wordish
from pretrain_data.kernels.textscan import (
    CLASS_MASK,
    CONTROL,
    DIGIT,
    HAN,
    KANA,
    LATIN,
    LETTER,
    NUMBER,
    TABLE_SIZE,
    char_table,
    class_of,
    decode,
    text_buffers,
)

MAX_CATEGORIES = 32
MAX_TERM = 64  # symbols
#: Seen through inside a term. Sentence and clause punctuation is not: it parts words.
SEPARATORS = " \t\u00a0\u3000*·•∙・_-.~|/\\+^=#`'’‘\"“”—–…░★☆◆■●"


@lru_cache(maxsize=1)
def folding() -> dict[int, str]:
    """For each character from U+0080 on that folding changes: what it becomes (one character)."""
    to_simplified = simplified_characters()
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
    #: Symbol of each character, kind of each symbol (1: word character, 2: Han or Kana), states after the first
    #: symbol, edges (keys, values), categories of each state, beginnings: see `keywords_match`.
    arrays: tuple[npt.NDArray[Any], ...]


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
    symbol_of = {c: engine.FIRST_SYMBOL + i for i, c in enumerate(alphabet)}
    if len(symbol_of) + engine.FIRST_SYMBOL > 0xFFFF:
        raise ValueError("the keywords use too many different characters")

    symbols = np.zeros(TABLE_SIZE, np.uint16)
    symbols[(table == LATIN) | (table == LETTER) | (table == DIGIT)] = engine.WORD
    symbols[(table == HAN) | (table == KANA)] = engine.HAN
    symbols[table == CONTROL] = engine.SKIP
    symbols[[ord(c) for c in SEPARATORS]] = engine.SEPARATOR
    symbols[ord("\n")] = engine.NEWLINE
    for code in range(0x80):
        symbols[code] = symbol_of.get(chr(code).lower(), symbols[code])
    for char, symbol in symbol_of.items():
        symbols[ord(char)] = symbol
    for code, char in folding().items():
        symbols[code] = symbol_of.get(char, symbols[code])

    kinds = np.zeros(len(symbol_of) + engine.FIRST_SYMBOL, np.uint8)  # 1: word character, 2: Han or Kana
    kinds[engine.WORD], kinds[engine.HAN] = 1, 2
    for char, symbol in symbol_of.items():
        kind = table[ord(char)]
        kinds[symbol] = 1 if kind in (LATIN, LETTER, DIGIT) else 2 if kind in (HAN, KANA) else 0

    states: dict[tuple[int, int], int] = {}
    state_masks = [0]
    for folded in sorted(masks):
        state = 0
        for part in folded:
            edge = (state, engine.SEPARATOR if part == " " else symbol_of[part])
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
        slot = int(engine.slot_of(key)) & (size - 1)
        while keys[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        keys[slot], values[slot] = key, target
    begins = _beginnings(symbols, kinds, first)
    ascii_begins = np.array([(begins[:128] & engine.BEGINS).any()])
    state_sets = np.array(state_masks, np.uint32)
    return Matcher(
        categories, (symbols, kinds, first, keys, values, state_sets, begins, ascii_begins, _first_words(masks))
    )


def _beginnings(
    symbols: npt.NDArray[np.uint16], kinds: npt.NDArray[np.uint8], first: npt.NDArray[np.int32]
) -> npt.NDArray[np.uint8]:
    """BEGINS and ODD for each character; words that begin in ASCII are left to `_first_words`."""
    table = char_table() & CLASS_MASK
    begins = np.where(first[symbols] > 0, engine.BEGINS, 0).astype(np.uint8)
    begins[:128][ASCII_LETTERS > 0] = 0
    words = (table >= LATIN) & (table <= NUMBER)
    begins[((kinds[symbols] == 1) & ~words) | (symbols == engine.SKIP)] |= engine.ODD
    return begins


def _first_words(terms: Iterable[tuple[str, ...]]) -> npt.NDArray[np.uint8]:
    """The bits of folded terms that begin with an ASCII letter or digit: see `keywords_match.mark_words`."""
    bits = np.zeros(engine.WORD_BITS // 8, np.uint8)

    def add(bit: int) -> None:
        bits[bit >> 3] |= 1 << (bit & 7)

    def packed(chars: Sequence[str]) -> np.uint64:
        word = list(takewhile(_is_ascii_letter, chars))
        return np.uint64(sum(ord(c) << 8 * k for k, c in enumerate(word)))

    for term in terms:
        length = len(list(takewhile(_is_ascii_letter, term)))
        word, rest = packed(term[:8]), term[length:]
        if 0 < length < 8 and len(rest) > 1 and rest[0] == " " and _is_ascii_letter(rest[1]):
            add(int(engine.several_bit(word)))
            add(int(engine.pair_bit(word, packed(rest[1:3]))))
        elif length:
            add(int(engine.one_bit(word)))
    return bits


def _is_ascii_letter(char: str) -> bool:
    """Letter or digit."""
    return ord(char) < 128 and ASCII_LETTERS[ord(char)] > 0


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


@njit(cache=True, nogil=True)
def _count(
    data: np.ndarray,
    offsets: np.ndarray,
    table: np.ndarray,
    terms: tuple,
    hits: np.ndarray,
    hit_lines: np.ndarray,
) -> None:
    longest = 0
    for d in range(offsets.size - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    symbol_of, kinds, first, keys, values, masks, begins, _, words = terms
    codes = np.empty(longest + 16, np.uint32)
    letters = np.empty(longest + 16, np.uint8)
    marks = np.empty(longest + 16, np.uint8)
    line_end = np.empty(longest + 1, np.uint32)
    line_masks = np.empty(longest + 1, np.uint32)
    for d in range(offsets.size - 1):
        n = decode(data, offsets[d], offsets[d + 1], codes)
        lines, odd = _prepare(codes, n, table, begins, letters, marks, line_end)
        line_masks[:lines] = 0
        engine.mark_words(codes, letters, marks, n, symbol_of, first, words, odd)
        engine.count_matches(
            codes, marks, n, line_end, symbol_of, kinds, first, keys, values, masks, hits[d], hit_lines[d], line_masks
        )


@njit(cache=True, nogil=True)
def _prepare(
    codes: np.ndarray,
    n: int,
    table: np.ndarray,
    begins: np.ndarray,
    letters: np.ndarray,
    marks: np.ndarray,
    line_end: np.ndarray,
) -> tuple[int, bool]:
    """Fill `letters`, `marks` and `line_end` as `signals_characters.read` does; lines, and whether a mark is ODD."""
    lines = 0
    odd = False
    for i in range(n):
        c = codes[i]
        kind = class_of(c, table) & CLASS_MASK
        mark = begins[c] if c < TABLE_SIZE else 0
        if c < 128:
            letters[i] = ASCII_LETTERS[c]
        else:
            letters[i] = BEYOND if wordish(kind) else 0
        marks[i] = mark
        odd |= mark & engine.ODD != 0
        if c == 10:
            line_end[lines] = i
            lines += 1
    line_end[lines] = n
    letters[n : n + 8] = 0
    marks[n : n + 8] = 0
    return lines + 1, odd


def count(text: pa.Array, matcher: Matcher) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Matches, and lines with a match: two arrays of shape (categories, documents)."""
    data, offsets = text_buffers(text)
    shape = (len(text), len(matcher.categories))
    hits, hit_lines = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    if matcher.categories:
        _count(data, offsets, char_table(), matcher.arrays, hits, hit_lines)
    return hits.T, hit_lines.T
