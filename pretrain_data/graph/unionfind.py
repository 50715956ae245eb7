"""Disjoint sets over dense numbers. Source: Tarjan and van Leeuwen 1984 (path halving, smallest root)."""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def find(parent, x):  # type: ignore[no-untyped-def]
    """The root of x's set."""
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x


@nb.njit(cache=True, nogil=True)
def components(size, first, second):  # type: ignore[no-untyped-def]
    """For each of `size` nodes the smallest node of its component, given the edges (first[i], second[i])."""
    parent = np.arange(size)
    for i in range(len(first)):
        a, b = find(parent, first[i]), find(parent, second[i])
        if a < b:
            parent[b] = a
        elif b < a:
            parent[a] = b
    for x in range(size):
        parent[x] = find(parent, x)
    return parent


@nb.njit(cache=True, nogil=True)
def spanning(size, first, second):  # type: ignore[no-untyped-def]
    """Which edges, taken in their order, join two components: the edges of a spanning forest (Kruskal 1956)."""
    parent = np.arange(size)
    joins = np.zeros(len(first), np.bool_)
    for i in range(len(first)):
        a, b = find(parent, first[i]), find(parent, second[i])
        if a != b:
            joins[i] = True
            parent[max(a, b)] = min(a, b)
    return joins
