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

from pretrain_data.kernels.bytes8 import PRIME

u = np.uint64
SIEVE = 1 << 18  # most cells of the sieve: what a core's own cache holds
LEAST_SLOTS = 256
_SEEN = np.uint32(1 << 31)
_COUNT = np.uint32((1 << 31) - 1)


@njit(cache=True, nogil=True)
def slots_for(keys: int) -> int:
    """Length of `slots` that numbering so many keys may need."""
    size = LEAST_SLOTS
    while size < 2 * keys + 2:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def number(
    keys: np.ndarray, n: int, slots: np.ndarray, distinct_keys: np.ndarray, times: np.ndarray, numbers: np.ndarray
) -> int:
    """Number the first `n` keys from 1 in order of appearance; the number of distinct ones is returned.

    `numbers` gets each key's number, `distinct_keys` and `times` one entry a number: its key and how often it
    occurs. `slots` (uint32, `slots_for(n)`) is scratch of any content; the table doubles before it is half full.
    """
    size = LEAST_SLOTS
    slots[:size] = 0
    mask, shift = u(size - 1), u(64 - 8)
    distinct = 0
    for i in range(n):
        key = keys[u(i)]
        at = (key * PRIME) >> shift
        while True:
            held = slots[at]
            if held == 0:
                distinct += 1
                held = np.uint32(distinct)
                slots[at] = held
                distinct_keys[u(distinct)] = key
                times[u(distinct)] = 0
                if 2 * distinct >= size:
                    size *= 2
                    shift -= u(1)
                    mask = u(size - 1)
                    slots[:size] = 0
                    for old in range(1, distinct + 1):
                        place = (distinct_keys[u(old)] * PRIME) >> shift
                        while slots[place]:
                            place = (place + u(1)) & mask
                        slots[place] = old
                break
            if distinct_keys[u(held)] == key:
                break
            at = (at + u(1)) & mask
        numbers[u(i)] = held
        times[u(held)] += np.uint32(1)
    return distinct


@njit(cache=True, nogil=True)
def count_duplicates(
    keys: np.ndarray,
    lengths: np.ndarray,
    n: int,
    slots: np.ndarray,
    distinct_keys: np.ndarray,
    times: np.ndarray,
    numbers: np.ndarray,
) -> tuple[int, int]:
    """How many of the first `n` keys were there before, and the sum of their lengths."""
    if n < 2 or number(keys, n, slots, distinct_keys, times, numbers) == n:
        return 0, 0
    duplicates = chars = 0
    newest = 0
    for i in range(n):
        if numbers[u(i)] > newest:
            newest = np.int64(numbers[u(i)])
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
    distinct_keys: np.ndarray,
    times: np.ndarray,
    place: np.ndarray,
    first: np.ndarray,
    often: np.ndarray,
    pending: np.ndarray,
    gram: np.ndarray,
    sieve: np.ndarray,
    top: np.ndarray,
    duplicated: np.ndarray,
) -> None:
    """Repetition among `n` tokens that `number` has numbered; `numbers` and `times` are used up.

    `top` gets, for 2-, 3- and 4-grams, the characters of the most common one (from its first token's
    start to its last token's end, where it first occurs; the first of several as common; the first one
    of all where none occurs twice) times its occurrences. `duplicated` gets, for 5- to 10-grams, the
    characters of the tokens in n-grams that occurred before, counted from left to right without overlap
    (Rae et al. 2021, table A1). Scratch of `n` + 2: `place` (uint32: where an n-gram that may occur twice
    begins, ascending), `first` (uint32: where it first does), `often` (uint32, by that place: how often it
    does), `pending` (uint32: those to be looked up) and `gram` (uint64: their pairs); `sieve` of SIEVE bytes.
    """
    for length in range(2, 5):
        top[length - 2] = ends[length - 1] - starts[0] if n >= length else 0
    left = _singles(numbers, n, times, place, first, pending)
    for length in range(2, 11):
        candidates = _longer(
            left, slots, distinct_keys, times, numbers, place, first, often, pending, gram, sieve
        )  # fmt: skip
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
                    top[length - 2] = np.int64(best) * (np.int64(ends[end]) - np.int64(starts[u(i)]))
        else:
            free = 0  # first token that no counted duplicate covers
            chars = 0
            for k in range(candidates):
                i, origin = np.int64(place[u(k)]), first[u(k)]
                count = often[origin]
                place[u(left)] = i
                first[u(left)] = origin
                left += (count & _COUNT) > 1
                if i < free:
                    continue
                if count & _SEEN:
                    for t in range(i, i + length):
                        chars += np.int64(ends[u(t)]) - np.int64(starts[u(t)])
                    free = i + length
                else:
                    often[origin] = count | _SEEN
            duplicated[length - 5] = chars
        if left < 2:
            return


@njit(cache=True, nogil=True)
def _singles(
    numbers: np.ndarray, n: int, times: np.ndarray, place: np.ndarray, first: np.ndarray, origins: np.ndarray
) -> int:
    """Places and first places of the tokens that occur twice; their number."""
    newest = np.uint32(0)
    left = 0
    for i in range(n):
        one = numbers[u(i)]
        if one > newest:
            newest = one
            origins[u(one)] = i
        place[u(left)] = i
        first[u(left)] = origins[u(one)]
        left += times[u(one)] > 1
    return left


@njit(cache=True, nogil=True)
def _longer(
    left: int,
    slots: np.ndarray,
    distinct_keys: np.ndarray,
    times: np.ndarray,
    numbers: np.ndarray,
    place: np.ndarray,
    first: np.ndarray,
    often: np.ndarray,
    pending: np.ndarray,
    gram: np.ndarray,
    sieve: np.ndarray,
) -> int:
    """From (n-1)-grams that occur twice (`left` of them) to the n-grams that may; their number."""
    cells, bits = 64, 6
    while cells < 4 * left and cells < SIEVE:
        cells *= 2
        bits += 1
    shift = u(64 - bits)
    for cell in range(cells):
        sieve[u(cell)] = 0
    candidates = looked_up = 0
    for k in range(left - 1):
        at, a, b = place[u(k)], first[u(k)], first[u(k + 1)]
        takes = place[u(k + 1)] == at + np.uint32(1)
        new = b != a + np.uint32(1)
        hard = takes & new
        often[at] = 0
        often[a] += takes & ~new
        place[u(candidates)] = at
        first[u(candidates)] = a
        pair = u(a) << u(32) | u(b)
        pending[u(looked_up)] = candidates
        gram[u(looked_up)] = pair
        cell = (pair * PRIME) >> shift
        sieve[cell] = min(sieve[cell] + hard, 2)
        candidates += takes
        looked_up += hard
    # A cell counts to two: most n-grams of natural text occur once and go here, without a branch.
    kept = 0
    for k in range(looked_up):
        pair, candidate = gram[u(k)], pending[u(k)]
        gram[u(kept)] = pair
        pending[u(kept)] = candidate
        first[candidate] = place[candidate]
        kept += sieve[(pair * PRIME) >> shift] >> 1
    number(gram, kept, slots, distinct_keys, times, numbers)
    newest = np.uint32(0)
    for k in range(kept):
        one, candidate = numbers[u(k)], pending[u(k)]
        if one > newest:
            newest = one
            times[u(one)] = place[candidate]
        first[candidate] = times[u(one)]
        often[first[candidate]] += np.uint32(1)
    return candidates
