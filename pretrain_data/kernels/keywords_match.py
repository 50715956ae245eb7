"""Finds keywords in code points: where one may begin is marked first, and only there the trie is walked.

A keyword that begins with an ASCII letter or digit begins a word. Such words are looked up in a set of bits: a
word that is all of a keyword, or the first of several, then with the two first letters of the next. Any other
first character is found by a table (`marks`, filled by whoever decodes).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pretrain_data.kernels.bytes8 import HIGH, PRIME, SEED, first_zero, load8, nonzero, s64, trailing_zeros, u
from pretrain_data.kernels.signals_characters import BEYOND
from pretrain_data.kernels.textscan import TABLE_SIZE

BREAK, SEPARATOR, SKIP, NEWLINE, WORD, HAN = 0, 1, 2, 3, 4, 5  # WORD, HAN: not in any term
FIRST_SYMBOL = 6
#: In `marks`: a term may begin here; this character is seen through, or folds to a letter without being one.
BEGINS, ODD = 1, 2
_WINDOW = 10  # what `mark_words` looks at lies no further behind a word's beginning
WORD_BITS = 1 << 16
_LOWER = np.uint64(0x2020202020202020)
_TWO, _LOWER2 = np.uint64(0xFFFF), np.uint64(0x2020)


@njit(cache=True, nogil=True, inline="always")
def one_bit(word: np.uint64) -> np.uint64:
    """The bit of a keyword whose first word, eight bytes of it with zeros behind, decides alone."""
    return ((word | _LOWER) * PRIME) >> u(48)


@njit(cache=True, nogil=True, inline="always")
def several_bit(word: np.uint64) -> np.uint64:
    """The bit of the first of several words."""
    return (((word | _LOWER) ^ SEED) * PRIME) >> u(48)


@njit(cache=True, nogil=True, inline="always")
def pair_bit(word: np.uint64, following: np.uint64) -> np.uint64:
    """The bit of the first of several words with two bytes of the second."""
    return (((word | _LOWER) * PRIME ^ (following & _TWO | _LOWER2)) * PRIME) >> u(48)


@njit(cache=True, nogil=True, inline="always")
def _has(bits: np.ndarray, bit: np.uint64) -> np.uint64:
    return u(bits[bit >> u(3)]) >> (bit & u(7)) & u(1)


@njit(cache=True, nogil=True)
def mark_words(
    codes: np.ndarray,
    letters: np.ndarray,
    marks: np.ndarray,
    n: int,
    symbol_of: np.ndarray,
    first: np.ndarray,
    words: np.ndarray,
    odd: bool,
) -> None:
    """Add to `marks` the beginnings of words that may be keywords.

    `odd`: some of the marks are ODD. Before such a character a word isn't what `letters` shows, so that
    every fitting character is marked there.
    """
    carry = u(0x80)
    for i in range(0, n, 8):
        x = load8(letters, u(i))
        some = nonzero(x)
        # A word begins behind what is no part of one; behind a character beyond ASCII, for all we know here.
        before = (~some | x) & HIGH
        begins = some & (before << u(8) | carry)
        carry = before >> u(56)
        while begins:
            k = i + s64(trailing_zeros(begins) >> u(3))
            begins &= begins - u(1)
            word = load8(letters, u(k))
            zero = first_zero(word)
            word &= (zero & (~zero + u(1))) - u(1)
            length = trailing_zeros(zero) >> u(3)
            following = load8(letters, u(k) + length + u(1))
            a, b = following & u(0xFF), following >> u(8) & u(0xFF)
            unclear = (a == u(0)) | (b == u(0)) | (a == u(BEYOND)) | (b == u(BEYOND))
            spelt = (length == u(1)) & ((a == u(0)) | (b == u(0)))  # perhaps the first of single letters
            known = _has(words, one_bit(word)) | _has(words, pair_bit(word, following))
            known |= _has(words, several_bit(word)) & u(unclear)
            if known | u(spelt) | (word & HIGH):
                marks[u(k)] |= np.uint8(BEGINS)
    if not odd:
        return
    done = 0
    for i in range(n):
        if marks[u(i)] & ODD:
            for k in range(max(done, i - _WINDOW), i):
                c = codes[u(k)]
                if c < TABLE_SIZE and first[u(symbol_of[u(c)])] != 0:
                    marks[u(k)] |= np.uint8(BEGINS)
            done = i


@njit(cache=True, nogil=True, inline="always")
def slot_of(key: int) -> int:
    return (key ^ (key >> 15)) * 0x2545F491 >> 7


@njit(cache=True, nogil=True, inline="always")
def _step(keys: np.ndarray, values: np.ndarray, state: int, symbol: int) -> int:
    """The state after `symbol`, or 0."""
    key = s64(state) << 16 | s64(symbol)
    mask = keys.size - 1
    slot = slot_of(key) & mask
    while keys[u(slot)] >= 0:
        if keys[u(slot)] == key:
            return values[u(slot)]
        slot = (slot + 1) & mask
    return 0


@njit(cache=True, nogil=True, inline="always")
def _symbol(codes: np.ndarray, i: int, symbol_of: np.ndarray) -> int:
    c = codes[u(i)]
    return s64(symbol_of[u(c)]) if c < TABLE_SIZE else HAN


@njit(cache=True, nogil=True)
def _next(codes: np.ndarray, i: int, n: int, symbol_of: np.ndarray) -> tuple[int, int]:
    """The folded symbol at or behind i and the place behind it; (-1, n) at the end.

    Invisible characters are left out and a run of separators is one.
    """
    while i < n:
        symbol = _symbol(codes, i, symbol_of)
        i += 1
        if symbol == SKIP:
            continue
        if symbol == SEPARATOR:
            while i < n:
                following = _symbol(codes, i, symbol_of)
                if following != SEPARATOR and following != SKIP:
                    break
                i += 1
        return symbol, i
    return -1, n


@njit(cache=True, nogil=True)
def _after_word(codes: np.ndarray, i: int, symbol_of: np.ndarray, kinds: np.ndarray) -> bool:
    """Whether a letter or digit stands before i, invisible characters aside."""
    while i > 0:
        i -= 1
        symbol = _symbol(codes, i, symbol_of)
        if symbol != SKIP:
            return kinds[symbol] == 1
    return False


@njit(cache=True, nogil=True)
def _walk(
    codes: np.ndarray,
    i: int,
    n: int,
    state: int,
    symbol_of: np.ndarray,
    kinds: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    masks: np.ndarray,
) -> tuple[int, int]:
    """The categories of the longest term that begins at i, whose first character led to `state`, and its end."""
    found, end = 0, i + 1
    latest, earlier = _symbol(codes, i, symbol_of), -1  # the last two symbols; -1: before the term
    symbol, j = _next(codes, i + 1, n, symbol_of)
    while symbol >= 0:
        following = _step(keys, values, state, symbol)
        after, behind = _next(codes, j, n, symbol_of)
        if following == 0:
            if symbol != SEPARATOR or after < 0:
                break
            before_kind, after_kind = kinds[latest], kinds[after]
            seen_through = before_kind == 2 and after_kind == 2
            if before_kind == 1 and after_kind == 1:  # single letters, each between separators
                second, _ = _next(codes, behind, n, symbol_of)
                alone_before = earlier < 0 or kinds[earlier] != 1
                seen_through = alone_before and (second < 0 or kinds[second] != 1)
            if not seen_through:
                break
        else:
            state = following
            mask = s64(masks[state])
            if mask and not (kinds[symbol] == 1 and after >= 0 and kinds[after] == 1):
                found, end = mask, j
        latest, earlier = symbol, latest
        symbol, j = after, behind
    return found, end


@njit(cache=True, nogil=True)
def count_matches(
    codes: np.ndarray,
    marks: np.ndarray,
    n: int,
    line_end: np.ndarray,
    symbol_of: np.ndarray,
    kinds: np.ndarray,
    first: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    masks: np.ndarray,
    hits: np.ndarray,
    hit_lines: np.ndarray,
    line_masks: np.ndarray,
) -> None:
    """Count the keywords that begin at `marks`; `symbol_of` to `masks` are those of `keywords.Matcher`.

    Adds to `hits` the matches of each category, to `hit_lines` the lines with one, and sets in
    `line_masks`, one entry a line, the bits of the categories found in it.
    """
    line = free = 0
    for block in range(0, n, 8):
        marked = load8(marks, u(block))
        while marked:
            i = block + s64(trailing_zeros(marked) >> u(3))
            marked &= ~(u(0xFF) << (u(i - block) << u(3)))
            if i < free:
                continue
            symbol = _symbol(codes, i, symbol_of)
            state = s64(first[u(symbol)])
            if state == 0:
                continue
            if i + 1 < n:  # most go here, at their second character
                second = _symbol(codes, i + 1, symbol_of)
                if second != SEPARATOR and second != SKIP and _step(keys, values, state, second) == 0:
                    continue
            if kinds[u(symbol)] == 1 and _after_word(codes, i, symbol_of, kinds):
                continue
            found, end = _walk(codes, i, n, state, symbol_of, kinds, keys, values, masks)
            free = end
            if not found:
                continue
            while line_end[u(line)] < i:
                line += 1
            for category in range(hits.size):
                if found >> category & 1:
                    hits[category] += 1
                    if not line_masks[line] >> np.uint32(category) & np.uint32(1):
                        hit_lines[category] += 1
            line_masks[line] |= np.uint32(found)
