"""Repetition in a sequence of keyed tokens or lines: exact counts, linear time.

Keys are numbered in the order in which they first appear, by a small hash table that grows with the
distinct ones. An n-gram has the place where it first occurs for a name. It occurs twice only where its
first and its last n-1 tokens do, so that each length looks only at the places left over from the one
before. Where these two first occur at neighbouring places a and a + 1, the n-gram first occurs at a, and
nothing is looked up: so it is nearly everywhere in what is copied. The others are numbered by their pair.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pretrain_data.kernels.bytes8 import PRIME, prefetch, s64, u

_SEEN = np.uint32(1 << 31)
_COUNT = np.uint32((1 << 31) - 1)
_ONCE = np.uint64(1 << 32)  # one occurrence, in a record
_FAR = 1 << 17  # slots of a table that outgrows the core's own cache: what is needed soon is asked for early
_AHEAD = 16  # keys
_FIRST_BITS = 13  # a table begins with at most 2**13 slots


@njit(cache=True, nogil=True)
def slots_for(keys: int) -> int:
    """Length of `slots` that numbering so many keys may need."""
    size = 256
    while size < 4 * keys + 4:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def _clear(slots: np.ndarray, size: int) -> None:
    for k in range(size):
        slots[u(k)] = 0


@njit(cache=True, nogil=True, inline="always")
def times_of(record: np.uint64) -> np.uint64:
    """How often a key occurs, from the second word of its record."""
    return record >> u(32)


@njit(cache=True, nogil=True, inline="always")
def origin_of(record: np.uint64) -> np.uint64:
    """Where a key first occurs, from the second word of its record."""
    return record & u(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def number(
    keys: np.ndarray, where: np.ndarray, n: int, slots: np.ndarray, records: np.ndarray, numbers: np.ndarray
) -> int:
    """Number the first `n` keys from 1 in order of appearance; the number of distinct ones is returned.

    `numbers` gets each key's number. `records` gets two words a number, side by side so that one look at memory brings
    both: the key, and `origin_of` it, the entry of `where` (uint32) at its first occurrence, with `times_of`.
    `slots` (uint32, `slots_for(n)`) is scratch of any content; the table doubles when it is a quarter full. New or
    known, a key goes the same way without a branch; only one that meets another in its slot goes on looking.
    """
    bits = 6
    while bits < _FIRST_BITS and 1 << bits < n:
        bits += 1
    size = 1 << bits
    mask, shift = u(size - 1), u(64 - bits)
    _clear(slots, size)
    distinct = np.uint32(0)
    records[0] = records[1] = u(0)
    for i in range(n):
        key = keys[u(i)]
        if size >= _FAR:
            prefetch(slots, (keys[u(min(i + 2 * _AHEAD, n - 1))] * PRIME) >> shift)
            prefetch(records, u(slots[(keys[u(min(i + _AHEAD, n - 1))] * PRIME) >> shift]) << u(1))
        at = (key * PRIME) >> shift
        held = slots[at]
        while (held != 0) & (records[u(held) << u(1)] != key):
            at = (at + u(1)) & mask
            held = slots[at]
        new = held == 0
        distinct += np.uint32(new)
        one = u(distinct) if new else u(held)
        slots[at] = one
        twice = one << u(1)
        records[twice] = key
        records[twice | u(1)] = (u(where[u(i)]) if new else records[twice | u(1)]) + _ONCE
        numbers[u(i)] = one
        if 4 * s64(distinct) >= size:
            size *= 2
            shift -= u(1)
            mask = u(size - 1)
            _clear(slots, size)
            for old in range(1, s64(distinct) + 1):
                place = (records[u(old) << u(1)] * PRIME) >> shift
                while slots[place]:
                    place = (place + u(1)) & mask
                slots[place] = old
    return s64(distinct)


@njit(cache=True, nogil=True)
def count_duplicates(
    keys: np.ndarray,
    lengths: np.ndarray,
    n: int,
    slots: np.ndarray,
    records: np.ndarray,
    spot: np.ndarray,
    numbers: np.ndarray,
) -> tuple[int, int]:
    """How many of the first `n` keys were there before, and the sum of their lengths. `spot` may hold anything."""
    if n < 2 or number(keys, spot, n, slots, records, numbers) == n:
        return 0, 0
    duplicates = chars = seen = 0
    for i in range(n):
        if s64(numbers[u(i)]) > seen:
            seen += 1
        else:
            duplicates += 1
            chars += lengths[u(i)]
    return duplicates, chars


@njit(cache=True, nogil=True)
def repetition(
    numbers: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    n: int,
    slots: np.ndarray,
    records: np.ndarray,
    place: np.ndarray,
    first: np.ndarray,
    often: np.ndarray,
    pending: np.ndarray,
    spot: np.ndarray,
    gram: np.ndarray,
    top: np.ndarray,
    duplicated: np.ndarray,
) -> None:
    """Repetition among `n` tokens that `number` has numbered; `numbers` and `records` are used up.

    `top` gets, for 2-, 3- and 4-grams, the characters of the most common one (from its first token's
    start to its last token's end, where it first occurs; the first of several as common; the first one
    of all where none occurs twice) times its occurrences. `duplicated` gets, for 5- to 10-grams, the
    characters of the tokens in n-grams that occurred before, counted from left to right without overlap
    (Rae et al. 2021, table A1). Scratch of `n` + 2: `place` (uint32: where an n-gram that may occur twice
    begins, ascending), `first` (uint32: where it first does), `often` (uint32, by that place: how often it
    does), `pending` (uint32: those to be looked up), `spot` (uint32: where they begin) and `gram` (uint64: their
    pairs); of 2 `n` + 2: `records` (uint64).
    """
    for length in range(2, 5):
        top[length - 2] = ends[length - 1] - starts[0] if n >= length else 0
    left = _singles(numbers, n, records, place, first)
    for length in range(2, 11):
        candidates = _longer(left, slots, records, numbers, place, first, often, pending, spot, gram)
        left = 0
        if length <= 4:
            best = np.uint32(1)
            for k in range(candidates):
                i, origin = place[u(k)], first[u(k)]
                place[u(left)] = i
                first[u(left)] = origin
                left += often[origin] > 1
                if often[origin] > best:
                    best = often[origin]
                    end = u(i) + u(length - 1)
                    top[length - 2] = s64(best) * (s64(ends[end]) - s64(starts[u(i)]))
        else:
            free = 0  # first token that no counted duplicate covers
            chars = 0
            for k in range(candidates):
                i, origin = s64(place[u(k)]), first[u(k)]
                count = often[origin]
                place[u(left)] = i
                first[u(left)] = origin
                left += (count & _COUNT) > 1
                if i < free:
                    continue
                if count & _SEEN:
                    for t in range(i, i + length):
                        chars += s64(ends[u(t)]) - s64(starts[u(t)])
                    free = i + length
                else:
                    often[origin] = count | _SEEN
            duplicated[length - 5] = chars
        if left < 2:
            return


@njit(cache=True, nogil=True)
def _singles(numbers: np.ndarray, n: int, records: np.ndarray, place: np.ndarray, first: np.ndarray) -> int:
    """Places and first places of the tokens that occur twice; their number."""
    left = 0
    for i in range(n):
        record = records[u(numbers[u(i)]) << u(1) | u(1)]
        place[u(left)] = i
        first[u(left)] = origin_of(record)
        left += times_of(record) > u(1)
    return left


@njit(cache=True, nogil=True)
def _longer(
    left: int,
    slots: np.ndarray,
    records: np.ndarray,
    numbers: np.ndarray,
    place: np.ndarray,
    first: np.ndarray,
    often: np.ndarray,
    pending: np.ndarray,
    spot: np.ndarray,
    gram: np.ndarray,
) -> int:
    """From (n-1)-grams that occur twice (`left` of them) to the n-grams that may; their number."""
    candidates = looked_up = 0
    for k in range(left - 1):
        at, a, b = place[u(k)], first[u(k)], first[u(k + 1)]
        takes = place[u(k + 1)] == at + np.uint32(1)
        new = b != a + np.uint32(1)
        place[u(candidates)] = at
        first[u(candidates)] = a
        often[at] = 0
        often[a] += takes & ~new
        pending[u(looked_up)] = candidates
        spot[u(looked_up)] = at
        gram[u(looked_up)] = u(a) << u(32) | u(b)
        candidates += takes
        looked_up += takes & new
    distinct = number(gram, spot, looked_up, slots, records, numbers)
    for k in range(looked_up):
        first[u(pending[u(k)])] = origin_of(records[u(numbers[u(k)]) << u(1) | u(1)])
    for one in range(1, distinct + 1):
        record = records[u(one) << u(1) | u(1)]
        often[origin_of(record)] = times_of(record)
    return candidates
