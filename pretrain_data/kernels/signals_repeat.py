"""Repetition in a sequence of hashed tokens or lines: exact counts, linear time.

An n-gram occurs twice only where its first and its last n-1 tokens do, so that each length looks
only at the places left over from the one before; natural text runs out of them by the 5-grams.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.uint64(1)
_SEEN = np.uint64(1 << 63)
_COUNT = np.uint64((1 << 63) - 1)
SIEVE = 1 << 19  # most cells of `_sift`: what a core's own cache holds


@njit(cache=True, nogil=True, inline="always")
def _insert(slots: np.ndarray, mask: np.uint64, key: np.uint64) -> np.uint64:
    """Position of `key`'s pair (key, count) in the open-addressed table; a new key gets count 0."""
    if key == 0:
        key = _ONE
    at = (key * _PRIME) >> np.uint64(20)
    while True:
        slot = (at & mask) << _ONE
        held = slots[slot]
        if held == key:
            return slot
        if held == 0:
            slots[slot] = key
            slots[slot + _ONE] = 0
            return slot
        at += _ONE


@njit(cache=True, nogil=True)
def table_pairs(keys: int) -> int:
    """Slots of a table for `keys` keys, a power of two, at most two thirds of them used."""
    pairs = 16
    while 2 * pairs < 3 * keys:
        pairs *= 2
    return pairs


@njit(cache=True, nogil=True)
def _clear(slots: np.ndarray, keys: int) -> np.uint64:
    """Empty a table for `keys` keys at the head of `slots`; its index mask is returned."""
    pairs = table_pairs(keys)
    for i in range(0, 2 * pairs, 2):
        slots[i] = 0
    return np.uint64(pairs - 1)


@njit(cache=True, nogil=True)
def count_duplicates(keys: np.ndarray, lengths: np.ndarray, n: int, slots: np.ndarray) -> tuple[int, int]:
    """How many of the first `n` keys were there before, and the sum of their lengths."""
    if n < 2:
        return 0, 0
    mask = _clear(slots, n)
    duplicates = chars = 0
    for i in range(n):
        slot = _insert(slots, mask, keys[i]) + _ONE
        if slots[slot]:
            duplicates += 1
            chars += lengths[i]
        else:
            slots[slot] = _ONE
    return duplicates, chars


@njit(cache=True, nogil=True)
def _sift(place: np.ndarray, gram: np.ndarray, n: int, sieve: np.ndarray) -> int:
    """Leave out n-grams that surely occur once, before the exact count; how many are left.

    Each falls into a cell that counts to two. Two walks without a branch over a small array cost a
    fraction of the table's probes, and most n-grams of natural text go here.
    """
    cells = 64
    while cells < 4 * n and cells < SIEVE:
        cells *= 2
    sieve[:cells] = 0
    mask = np.uint64(cells - 1)
    for k in range(n):
        cell = ((gram[k] * _PRIME) >> np.uint64(32)) & mask
        sieve[cell] = min(sieve[cell] + 1, 2)
    left = 0
    for k in range(n):
        cell = ((gram[k] * _PRIME) >> np.uint64(32)) & mask
        place[left] = place[k]
        gram[left] = gram[k]
        left += sieve[cell] >> 1
    return left


@njit(cache=True, nogil=True)
def repetition(
    keys: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    is_word: np.ndarray,
    n: int,
    slots: np.ndarray,
    at: np.ndarray,
    place: np.ndarray,
    gram: np.ndarray,
    sieve: np.ndarray,
    top: np.ndarray,
    duplicated: np.ndarray,
) -> int:
    """Repetition among `n` tokens; occurrences of the most common word are returned.

    `top` gets, for 2-, 3- and 4-grams, the characters of the most common one (from its first token's
    start to its last token's end, where it first occurs; the first of several as common) times its
    occurrences. `duplicated` gets, for 5- to 10-grams, the characters of the tokens in n-grams that
    occurred before, counted from left to right without overlap (Rae et al. 2021, table A1).
    `at` (uint32: table position / 2 of each candidate), `place` (uint32: where an n-gram that occurs
    twice begins, ascending) and `gram` (uint64: its hash) are scratch of `n` or more, `sieve` of SIEVE bytes.
    """
    duplicated[:] = 0
    for length in range(2, 5):  # where none occurs twice the first one is as common as any
        top[length - 2] = starts[length - 1] + lengths[length - 1] - starts[0] if n >= length else 0
    if n == 0:
        return 0
    mask = _clear(slots, n)
    for i in range(n):
        slot = _insert(slots, mask, keys[i])
        slots[slot + _ONE] += _ONE
        at[i] = slot >> _ONE
    top_word = 0
    left = 0
    for i in range(n):
        times = int(slots[(int(at[i]) << 1) + 1])
        if is_word[i] and times > top_word:
            top_word = times
        if times > 1:
            place[left] = i
            gram[left] = keys[i]
            left += 1
    for length in range(2, 11):
        kept = 0
        for k in range(left - 1):
            if place[k + 1] == place[k] + 1:
                h = (gram[k] ^ (gram[k] >> np.uint64(31))) * _PRIME + keys[place[k] + length - 1]
                place[kept] = place[k]
                gram[kept] = h
                kept += 1
        kept = _sift(place, gram, kept, sieve)
        if kept < 2:
            return top_word
        mask = _clear(slots, kept)
        for k in range(kept):
            slot = _insert(slots, mask, gram[k])
            slots[slot + _ONE] += _ONE
            at[k] = slot >> _ONE
        best = 1
        left = 0
        free = 0  # first token that no counted duplicate covers
        chars = 0
        for k in range(kept):
            cell = (int(at[k]) << 1) + 1
            times = int(slots[cell] & _COUNT)
            if times < 2:
                continue
            i = place[k]
            if length <= 4:
                if times > best:
                    best = times
                    end = i + length - 1
                    top[length - 2] = times * (starts[end] + lengths[end] - starts[i])
            elif i >= free:
                if slots[cell] & _SEEN:
                    for t in range(i, i + length):
                        chars += lengths[t]
                    free = i + length
                else:
                    slots[cell] |= _SEEN
            place[left] = i
            gram[left] = gram[k]
            left += 1
        if length > 4:
            duplicated[length - 5] = chars
    return top_word
