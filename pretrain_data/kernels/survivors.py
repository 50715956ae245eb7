"""Who stands for whom: the greedy choice of survivors within clusters, at many thresholds in one pass."""

from __future__ import annotations

import numba as nb
import numpy as np

from pretrain_data.kernels.bitsets import AT_ONCE, ones, pack
from pretrain_data.kernels.bytes8 import trailing_zeros
from pretrain_data.kernels.minhash import overlap

#: Thresholds of one pass at most: each is a bit of a word.
LEVELS = 63
#: Clusters from this size are packed into bits first, which costs each member about as much as twenty comparisons.
PACKED = 48

TIED, SIGNATURES, SETS, BITS = 0, 1, 2, 3


@nb.njit(cache=True, nogil=True)
def stand(  # type: ignore[no-untyped-def]
    order, begin, levels, least, nodes, low, high, tied, values, start, end, signatures, fixed, packed
):
    """At which levels each node is gone (a bit each, uint64); and at the first its survivor, and how alike they are.

    Cluster c of the first level is order[begin[c]:begin[c + 1]], best ranked first. levels[i, k] is the cluster of
    node i at level k; the levels rise, so those of a level lie within those of the one before. At each level a node
    goes to the first survivor so far, of its cluster, to which it is least[k] similar (float32) or more, and is one
    itself where there is none, or where its number is below `fixed`. Each pair is compared once for all levels.

    `low` and `high` are the nodes' contents; equal ones are 1 alike. Two that make a cluster of the first level are
    as alike as `tied` says of each. Others are compared by their sets, the sorted values[start[i]:end[i]] of node i,
    or, where `start` is empty, by signatures[nodes[i]]. `packed`: see PACKED.
    """
    gone, survivor, value = np.zeros(len(order), np.uint64), np.arange(len(order)), np.ones(len(order), np.float32)
    every = (np.uint64(1) << np.uint64(len(least))) - np.uint64(1)
    largest = 0
    for c in range(len(begin) - 1):
        largest = max(largest, begin[c + 1] - begin[c])
    standing, at_levels = np.empty(largest, np.int64), np.empty(largest, np.uint64)
    common = np.zeros(largest, np.int32)  # values without a bit that the node shares with each that stands
    nothing = np.zeros(1, np.int64)
    for c in range(len(begin) - 1):
        members = order[begin[c] : begin[c + 1]]
        way = BITS if len(members) >= packed else SETS
        if len(members) == 2:
            way = TIED
        elif not len(start):
            way = SIGNATURES
        words, rare, bounds, numbers = np.zeros((1, 1), np.uint64), np.zeros(1, np.int32), nothing, 0
        if way == BITS:
            words, rare, bounds, numbers = pack(values, start, end, members, AT_ONCE)
        # For each number without a bit the last entry, and for each entry the one before: who holds it of those
        # that stand.
        last, before = np.full(numbers, -1, np.int64), np.empty(len(rare), np.int64)
        holder, entries = np.empty(len(rare), np.int32), 0
        count = 0
        for m in range(len(members)):
            node = members[m]
            left = every
            if node >= fixed:
                if way == BITS:
                    for r in range(bounds[m], bounds[m + 1]):
                        entry = last[rare[r]]
                        while entry >= 0:
                            common[holder[entry]] += 1
                            entry = before[entry]
                for s in range(count):
                    both = left & at_levels[s]
                    if not both:
                        continue
                    other = members[standing[s]]
                    # They are in one cluster at the first `joint` levels.
                    joint, apart = 1, len(least) + 1
                    while apart - joint > 1:
                        middle = (joint + apart) // 2
                        if levels[node, middle - 1] == levels[other, middle - 1]:
                            joint = middle
                        else:
                            apart = middle
                    both &= (np.uint64(1) << np.uint64(joint)) - np.uint64(1)
                    if not both:
                        continue
                    if low[node] == low[other] and high[node] == high[other]:
                        found = np.float32(1)
                    elif way == TIED:
                        found = tied[node]
                    elif way == SIGNATURES:
                        equal = 0
                        for p in range(signatures.shape[1]):
                            equal += signatures[nodes[node], p] == signatures[nodes[other], p]
                        found = np.float32(equal / max(1, signatures.shape[1]))
                    else:
                        if way == BITS:
                            shared = np.int64(common[s])
                            for w in range(words.shape[1]):
                                shared += np.int64(ones(words[m, w] & words[standing[s], w]))
                        else:
                            shared = np.int64(
                                overlap(values[start[node] : end[node]], values[start[other] : end[other]])
                            )
                        union = (end[node] - start[node]) + (end[other] - start[other]) - shared
                        found = np.float32(shared / union) if union else np.float32(0)
                    if found < least[trailing_zeros(both)]:
                        continue
                    while least[joint - 1] > found:
                        joint -= 1
                    both &= (np.uint64(1) << np.uint64(joint)) - np.uint64(1)
                    if both & np.uint64(1):
                        survivor[node], value[node] = other, found
                    left &= ~both
                    if not left:
                        break
                if way == BITS:
                    common[:count] = 0
            gone[node] = every & ~left
            if left:
                standing[count], at_levels[count] = m, left
                if way == BITS:
                    for r in range(bounds[m], bounds[m + 1]):
                        before[entries], holder[entries] = last[rare[r]], count
                        last[rare[r]] = entries
                        entries += 1
                count += 1
    return gone, survivor, value
