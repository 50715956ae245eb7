"""Who stands for whom: the greedy choice of survivors within clusters, member by member."""

from __future__ import annotations

import numba as nb
import numpy as np

from pretrain_data.kernels.bitsets import alike


@nb.njit(cache=True, nogil=True)
def stand(order, begin, nodes, low, high, tied, sets, signatures, least, fixed):  # type: ignore[no-untyped-def]
    """For each node its survivor, and its similarity to it (float32).

    Cluster c is order[begin[c]:begin[c + 1]], best ranked first. A node goes to the first survivor so far to which it
    is `least` similar or more, and is one itself where there is none, or where its number is below `fixed`.
    `low` and `high` are the nodes' contents; equal ones are 1 alike. Two that make a cluster are as alike as `tied`
    says of each. Others are compared by `sets` (`bitsets.BitSets` by node) or, where that holds none, by
    signatures[nodes[node]].
    """
    words, place, width, rest = sets.words, sets.place, sets.width, sets.rest
    values, start, end = sets.values, sets.start, sets.end
    by_sets = len(place) > 0
    survivor, value = np.arange(len(order)), np.ones(len(order), np.float32)
    standing = np.empty(len(order), np.int64)
    for c in range(len(begin) - 1):
        number = 0
        for at in range(begin[c], begin[c + 1]):
            node = order[at]
            taken = False
            if node >= fixed:
                for s in range(number):
                    other = standing[s]
                    if low[node] == low[other] and high[node] == high[other]:
                        found = np.float32(1)
                    elif begin[c + 1] - begin[c] == 2:
                        found = tied[node]
                    elif by_sets:
                        found = alike(words, place, width, rest, values, start, end, node, other, least)
                    else:
                        equal = 0
                        for p in range(signatures.shape[1]):
                            equal += signatures[nodes[node], p] == signatures[nodes[other], p]
                        found = np.float32(equal / max(1, signatures.shape[1]))
                    if found >= least:
                        survivor[node], value[node], taken = other, found, True
                        break
            if not taken:
                standing[number] = node
                number += 1
    return survivor, value
