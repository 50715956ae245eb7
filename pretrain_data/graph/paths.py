"""Ways through a forest: over which edges, of which similarity, one node reaches another."""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def paths(size, first, second, similarity, start, end, most):  # type: ignore[no-untyped-def]
    """For each pair (start[i], end[i]) of one tree: the steps between them, the similarity of the weakest, and of the
    first `most` steps (pairs × most, NaN behind the last).

    `first`, `second` and `similarity` are the edges of a forest over `size` nodes. The forest is rooted once; a path
    then costs its length.
    """
    degree = np.zeros(size + 1, np.int64)
    for i in range(len(first)):
        degree[first[i] + 1] += 1
        degree[second[i] + 1] += 1
    begin = np.cumsum(degree)
    at = begin[:-1].copy()
    near, weight = np.empty(2 * len(first), np.int64), np.empty(2 * len(first), np.float32)
    for i in range(len(first)):
        near[at[first[i]]], weight[at[first[i]]] = second[i], similarity[i]
        at[first[i]] += 1
        near[at[second[i]]], weight[at[second[i]]] = first[i], similarity[i]
        at[second[i]] += 1
    parent, depth = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
    up = np.ones(size, np.float32)
    waiting = np.empty(size, np.int64)
    for root in range(size):
        if depth[root] >= 0:
            continue
        depth[root] = 0
        waiting[0] = root
        head, tail = 0, 1
        while head < tail:
            node = waiting[head]
            head += 1
            for j in range(begin[node], begin[node + 1]):
                if depth[near[j]] < 0:
                    depth[near[j]], parent[near[j]], up[near[j]] = depth[node] + 1, node, weight[j]
                    waiting[tail] = near[j]
                    tail += 1
    steps, weakest = np.zeros(len(start), np.int64), np.ones(len(start), np.float32)
    listed = np.full((len(start), most), np.nan, np.float32)
    for i in range(len(start)):
        a, b = start[i], end[i]
        climbed = 0  # steps from a's side, which come first
        while a != b:
            if depth[a] >= depth[b]:
                if climbed < most:
                    listed[i, climbed] = up[a]
                climbed += 1
                weakest[i] = min(weakest[i], up[a])
                steps[i] += 1
                a = parent[a]
            else:
                weakest[i] = min(weakest[i], up[b])
                steps[i] += 1
                b = parent[b]
        # From b's end up to where the two met: the way backwards.
        place, node = steps[i] - 1, end[i]
        while node != a:
            if place < most:
                listed[i, place] = up[node]
            place -= 1
            node = parent[node]
    return steps, weakest, listed
