"""Exact and estimated Jaccard similarity, and containment, of many pairs at once."""

from __future__ import annotations

import numba as nb
import numpy as np

from pretrain_data.kernels.minhash import overlap


@nb.njit(cache=True, nogil=True)
def estimated(signatures, first, second):  # type: ignore[no-untyped-def]
    """Share of equal signature values for each pair of rows (float32)."""
    out = np.empty(len(first), np.float32)
    k = signatures.shape[1]
    for i in range(len(first)):
        equal = 0
        for j in range(k):
            equal += signatures[first[i], j] == signatures[second[i], j]
        out[i] = equal / k
    return out


@nb.njit(cache=True, nogil=True)
def exact(values, start, end, first, second):  # type: ignore[no-untyped-def]
    """|A ∩ B| / |A ∪ B| for each pair of sets (float32); set d is the sorted values[start[d]:end[d]]."""
    out = np.empty(len(first), np.float32)
    for i in range(len(first)):
        a, b = first[i], second[i]
        one, other = values[start[a] : end[a]], values[start[b] : end[b]]
        shared = overlap(one, other)
        union = len(one) + len(other) - shared
        out[i] = shared / union if union else 0.0
    return out


@nb.njit(cache=True, nogil=True)
def containment(values, start, end, first, second):  # type: ignore[no-untyped-def]
    """|A ∩ B| / |A| for each pair of sets (float32), 1 for an empty A: how much of the first is in the second."""
    out = np.empty(len(first), np.float32)
    for i in range(len(first)):
        a, b = first[i], second[i]
        one = values[start[a] : end[a]]
        out[i] = overlap(one, values[start[b] : end[b]]) / len(one) if len(one) else 1.0
    return out
