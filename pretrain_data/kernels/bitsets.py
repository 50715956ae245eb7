"""Sets of a group as bits of the values that two or more of them hold: what makes thousands of comparisons cheap.

Near-duplicates hold much the same shingles. A value that one set of a group holds alone adds nothing to any
intersection, and the others are few: numbered by themselves, a set of a thousand shingles becomes some sixteen words,
and an intersection as many population counts. Where a group's values are too many for that, the commonest get bits,
and the rest of a set bounds what it may share besides. Nothing is estimated: every similarity is the exact one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from pretrain_data.kernels.minhash import overlap

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

#: Values that are counted at a time: the table that counts them, 32 bytes a value, stays in the cache.
AT_ONCE = 1 << 17
#: Words of bits that a set has at most, or a word for each eight values of its group's mean set where that is more:
#: an eighth of what the sets themselves take.
LEAST_WORDS = 64


class BitSets(NamedTuple):
    """Sets by number i. Its bits are words[place[i]:place[i] + width[i]]; of one group all have equally many.

    `rest[i]` values of set i are shared with others of its group but have no bit. The set is the sorted
    values[start[i]:end[i]].
    """

    words: U64
    place: I64
    width: I64
    rest: I64
    values: U64
    start: I64
    end: I64


def pack(values: U64, start: I64, end: I64, group: I64) -> BitSets:
    """The sets values[start[i]:end[i]] (sorted, distinct) as bits; `group[i]` is the group of set i.

    Sets of different groups can't be compared. A group of two is not worth the packing: its sets get no bits.
    """
    order = np.argsort(group, kind="stable")
    counts = np.unique(group, return_counts=True)[1]
    begin = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    words, place, width, rest = _pack(values, start, end, order, begin, AT_ONCE, LEAST_WORDS)
    return BitSets(words, place, width, rest, values, start, end)


def none() -> BitSets:
    """No sets at all."""
    some, number = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    values = some.copy()
    values.flags.writeable = False  # as mapped files are: one machine code for both
    return BitSets(some, number, number, number, values, number, number)


def _ones(typing_context: Any, value: Any) -> Any:
    """Number of bits set in a 64-bit word."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), build


ones: Any = intrinsic(_ones)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


# Inlined, since numba counts references of each array that a call is handed, which costs more than the comparison.
@nb.njit(cache=True, nogil=True, inline="always")
def alike(words, place, width, rest, values, start, end, i, j, least):  # type: ignore[no-untyped-def]
    """|A ∩ B| / |A ∪ B| (float32) of two sets i and j of one group of `BitSets`; -1 where that is below `least`."""
    shared = np.int64(0)
    for at in range(width[i]):
        shared += np.int64(ones(words[place[i] + at] & words[place[j] + at]))
    total = (end[i] - start[i]) + (end[j] - start[j])
    most = shared + min(rest[i], rest[j])
    found = np.float32(most / (total - most)) if total > most else np.float32(0)
    if most > shared:
        if found < least:
            found = np.float32(-1)
        else:
            shared = overlap(values[start[i] : end[i]], values[start[j] : end[j]])
            found = np.float32(shared / (total - shared))
    return found


@nb.njit(cache=True, nogil=True)
def _slot(keys, used, mask, key):  # type: ignore[no-untyped-def]
    """Where `key` is in an open table, or may go."""
    at = np.int64((key * _GOLDEN) >> np.uint64(20)) & mask
    while used[at] and keys[at] != key:
        at = (at + 1) & mask
    return at


@nb.njit(cache=True, nogil=True)
def _grown(array, least):  # type: ignore[no-untyped-def]
    """The array with room for `least` items."""
    if least <= len(array):
        return array
    larger = np.zeros(max(least, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


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
    keys, holders = np.zeros(slots, np.uint64), np.zeros(slots, np.int64)
    for r in range(ranges):
        # Sets are sorted: what lies below the bound is next in each. A range fuller than the table is not to be
        # expected of hashes, but is no error: the range then ends earlier for all.
        last = r == ranges - 1
        bound = width * np.uint64(r + 1)
        waiting = 0
        for m in range(len(members)):
            i, low = members[m], at[m]
            high = end[i] if last else low + np.searchsorted(values[low : end[i]], bound)
            waiting += high - low
        if _room(waiting) > len(keys):
            slots = _room(waiting)
            keys, holders = np.zeros(slots, np.uint64), np.zeros(slots, np.int64)
        else:
            holders[:] = 0
        mask = len(keys) - 1
        for m in range(len(members)):
            i = members[m]
            while at[m] < end[i] and (last or values[at[m]] < bound):
                slot = _slot(keys, holders, mask, values[at[m]])
                keys[slot] = values[at[m]]
                holders[slot] += 1
                at[m] += 1
        for slot in range(len(keys)):
            if holders[slot] > 1:
                found, counts = _grown(found, number + 1), _grown(counts, number + 1)
                found[number], counts[number] = keys[slot], holders[slot]
                number += 1
    return found[:number], counts[:number]


@nb.njit(cache=True, nogil=True)
def _columns(counts, most, sets):  # type: ignore[no-untyped-def]
    """Bits for the `most` commonest values: the number of each, -1 for none."""
    column = np.full(len(counts), -1, np.int64)
    by_count = np.zeros(sets + 2, np.int64)
    for count in counts:
        by_count[count] += 1
    bar, above = sets + 1, 0
    while bar > 1 and above + by_count[bar - 1] <= most:
        bar -= 1
        above += by_count[bar]
    room, number = most - above, 0  # of those just under the bar the first ones get what bits are left
    for i in range(len(counts)):
        if counts[i] >= bar:
            column[i] = number
            number += 1
        elif counts[i] == bar - 1 and room:
            column[i] = number
            number += 1
            room -= 1
    return column, number


@nb.njit(cache=True, nogil=True)
def _pack(values, start, end, order, begin, at_once, least_words):  # type: ignore[no-untyped-def]
    sets = len(order)
    place, width, rest = np.zeros(sets, np.int64), np.zeros(sets, np.int64), np.zeros(sets, np.int64)
    words, written = np.zeros(1024, np.uint64), 0
    for g in range(len(begin) - 1):
        members = order[begin[g] : begin[g + 1]]
        if len(members) < 3:
            for i in members:
                rest[i] = end[i] - start[i]
            continue
        shared, counts = _shared(values, start, end, members, at_once)
        total = 0
        for i in members:
            total += end[i] - start[i]
        column, bits = _columns(counts, 64 * max(least_words, total // len(members) // 8), len(members))
        slots = _room(len(shared))
        keys, used, mask = np.zeros(slots, np.uint64), np.zeros(slots, np.bool_), slots - 1
        columns = np.zeros(slots, np.int64)
        for i in range(len(shared)):
            slot = _slot(keys, used, mask, shared[i])
            keys[slot], used[slot], columns[slot] = shared[i], True, column[i]
        across = (bits + 63) // 64
        words = _grown(words, written + across * len(members))
        for i in members:
            width[i], place[i] = across, written
            for at in range(start[i], end[i]):
                slot = _slot(keys, used, mask, values[at])
                if not used[slot]:
                    continue
                if columns[slot] < 0:
                    rest[i] += 1
                else:
                    words[written + (columns[slot] >> 6)] |= np.uint64(1) << np.uint64(columns[slot] & 63)
            written += across
    return words[:written], place, width, rest
