"""A group of like sets as bits and short lists, in which an intersection costs nanoseconds; nothing is estimated.

Near-duplicates hold much the same shingles. A value that one set of a group holds alone adds nothing to any
intersection. Those that many hold become columns of bits: a set of a thousand shingles is some sixteen words then, and
what two share of them as many population counts. The others are few in each set, and each is held by few sets, so
that lists of their holders give what a set shares with all of them at once.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numba import types
from numba.extending import intrinsic

from pretrain_data.kernels.growing import doubled

#: Values that are counted at a time: the table that counts them, 32 bytes a value, stays in the cache.
AT_ONCE = 1 << 17
#: A value is a column of bits where at least one set in so many holds it. A column costs every pair a 64th of a word;
#: a list costs the share of pairs in which both hold the value: at a tenth of the sets they are about even.
COLUMN = 10


def _ones(typing_context: Any, value: Any) -> Any:
    """Number of bits set in a 64-bit word."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), build


ones: Any = intrinsic(_ones)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@nb.njit(cache=True, nogil=True)
def pack(values, start, end, members, at_once):  # type: ignore[no-untyped-def]
    """The sets values[start[i]:end[i]] (sorted, distinct, uint64) of `members`, packed.

    Returns words (members × width, uint64); rare and bounds: the values of member m that have no bit are numbers
    rare[bounds[m]:bounds[m + 1]]; and how many such numbers there are. What two members share is the population count
    of both words, and the numbers that both have. `at_once`: see AT_ONCE.
    """
    shared, counts = _shared(values, start, end, members, at_once)
    bar = max(2, len(members) // COLUMN)
    columns = rare_values = 0
    slots = _room(len(shared))
    keys, used, number = np.zeros(slots, np.uint64), np.zeros(slots, np.bool_), np.zeros(slots, np.int32)
    entries = 0
    for i in range(len(shared)):
        slot = _slot(keys, used, slots - 1, shared[i])
        keys[slot], used[slot] = shared[i], True
        if counts[i] >= bar:
            number[slot] = columns
            columns += 1
        else:
            rare_values += 1
            number[slot] = -rare_values  # below zero: the number of a value without a bit, plus one
            entries += counts[i]
    words = np.zeros((len(members), (columns + 63) // 64), np.uint64)
    rare, bounds, at = np.empty(entries, np.int32), np.zeros(len(members) + 1, np.int64), 0
    for m in range(len(members)):
        for v in range(start[members[m]], end[members[m]]):
            slot = _slot(keys, used, slots - 1, values[v])
            if not used[slot]:
                continue
            if number[slot] >= 0:
                words[m, number[slot] >> 6] |= np.uint64(1) << np.uint64(number[slot] & 63)
            else:
                rare[at] = -number[slot] - 1
                at += 1
        bounds[m + 1] = at
    return words, rare, bounds, rare_values


@nb.njit(cache=True, nogil=True)
def _slot(keys, used, mask, key):  # type: ignore[no-untyped-def]
    """Where `key` is in an open table, or may go."""
    at = np.int64((key * _GOLDEN) >> np.uint64(20)) & mask
    while used[at] and keys[at] != key:
        at = (at + 1) & mask
    return at


@nb.njit(cache=True, nogil=True)
def _room(items):  # type: ignore[no-untyped-def]
    """Slots of a table for so many items: a power of two, less than half full."""
    slots = 16
    while slots < 2 * items + 2:
        slots *= 2
    return slots


@nb.njit(cache=True, nogil=True)
def _shared(values, start, end, members, at_once):  # type: ignore[no-untyped-def]
    """The values that two or more of the sets `members` hold, and how many hold each."""
    total = 0
    for i in members:
        total += end[i] - start[i]
    ranges = total // at_once + 1
    width = np.uint64(0xFFFFFFFFFFFFFFFF) // np.uint64(ranges)
    at = np.empty(len(members), np.int64)
    for m in range(len(members)):
        at[m] = start[members[m]]
    found, counts, number = np.zeros(16, np.uint64), np.zeros(16, np.int64), 0
    slots = _room(min(total, 2 * at_once))
    keys, holders = np.zeros(slots, np.uint64), np.zeros(slots, np.int32)
    for r in range(ranges):
        # Sets are sorted, so what lies below the bound comes next in each. Hashes fill the ranges evenly; other
        # values may need a larger table.
        last = r == ranges - 1
        bound = width * np.uint64(r + 1)
        waiting = np.int64(0)
        for m in range(len(members)):
            i, low = members[m], at[m]
            waiting += end[i] - low if last else np.searchsorted(values[low : end[i]], bound)
        if _room(waiting) > len(keys):
            slots = _room(waiting)
            keys, holders = np.zeros(slots, np.uint64), np.zeros(slots, np.int32)
        else:
            holders[:] = 0
        for m in range(len(members)):
            i = members[m]
            while at[m] < end[i] and (last or values[at[m]] < bound):
                slot = _slot(keys, holders, slots - 1, values[at[m]])
                keys[slot] = values[at[m]]
                holders[slot] += 1
                at[m] += 1
        for slot in range(slots):
            if holders[slot] > 1:
                if number == len(found):
                    found, counts = doubled(found), doubled(counts)
                found[number], counts[number] = keys[slot], holders[slot]
                number += 1
    return found[:number], counts[:number]
