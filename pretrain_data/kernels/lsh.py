"""Locality-sensitive hashing of signatures: which documents are worth comparing.

A signature is cut into b bands of r values; two documents that agree in any band are a candidate pair, which
happens with probability 1 - (1 - s^r)^b at similarity s. Source: Leskovec, Rajaraman, Ullman, "Mining of Massive
Datasets", ch. 3.4.
"""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


class Bands(NamedTuple):
    """Number of bands, and signature values in each."""

    number: int
    rows: int


#: Where nothing is looked for but equal contents.
NO_BANDS = Bands(0, 0)


def choose_bands(k: int, threshold: float, miss: float) -> Bands:
    """The longest bands (fewest false candidates) that miss a pair at `threshold` with probability ≤ `miss`.

    Of all b · r ≤ k. Raises ValueError where even single values miss more: k is too small.
    """
    for rows in range(k, 0, -1):
        count = k // rows
        # As few bands as the miss probability allows: each costs a row in the shuffle.
        needed = 1 if threshold >= 1 else int(np.ceil(np.log(miss) / np.log1p(-(threshold**rows))))
        if needed <= count:
            return Bands(max(1, needed), rows)
    raise ValueError(f"{k} permutations can't find pairs at {threshold} with a miss probability of {miss}")


def miss_probability(bands: Bands, similarity: float) -> float:
    """Probability that a pair at `similarity` is no candidate."""
    return float((1 - similarity**bands.rows) ** bands.number)


@nb.njit(cache=True, nogil=True)
def band_keys(signatures, count, rows):  # type: ignore[no-untyped-def]
    """64-bit keys of each document's bands (documents × count, int64); the band's number is part of the key."""
    documents = len(signatures)
    out = np.empty((documents, count), np.int64)
    for d in range(documents):
        for band in range(count):
            h = np.uint64(band + 1) * np.uint64(0x9E3779B97F4A7C15)
            for j in range(band * rows, (band + 1) * rows):
                h = (h ^ np.uint64(signatures[d, j])) * np.uint64(0xBF58476D1CE4E5B9)
                h ^= h >> np.uint64(29)
            h *= np.uint64(0x94D049BB133111EB)
            out[d, band] = np.int64(h ^ (h >> np.uint64(32)))
    return out


@nb.njit(cache=True, nogil=True)
def bucket_pairs(keys, documents, anchors, window, first_new=0, done=0, omitted=0):  # type: ignore[no-untyped-def]
    """Candidate pairs of buckets, from rows sorted by (key, document), whose second is at least `first_new`.

    The first `done` rows have been paired before, and are what `context` kept of the first bucket, `omitted` rows of
    which came between its first and its last.

    In a bucket every document is paired with the first `anchors` and the `window` before it: all pairs in a
    bucket of up to anchors + window + 1, and a bounded number a document in a larger one. Returns (first,
    second, capped) with first < second, and capped the number of pairs left out.
    """
    size = 0
    for fill in range(2):
        if fill:
            first, second = np.empty(size, np.int64), np.empty(size, np.int64)
        at = start = capped = 0
        for i in range(len(keys)):
            if i and keys[i] != keys[i - 1]:
                start = i
            if documents[i] < first_new or i < done:
                continue
            place = i - start + (omitted if start == 0 else 0)
            low = max(start, i - window)
            head = min(start + anchors, low)
            for j in range(start, head):
                if fill:
                    first[at], second[at] = documents[j], documents[i]
                at += 1
            for j in range(low, i):
                if fill:
                    first[at], second[at] = documents[j], documents[i]
                at += 1
            capped += place - (head - start) - (i - low)
        size = at
    return first, second, capped


def context(keys: I64, documents: I64, anchors: int, window: int, omitted: int) -> tuple[I64, I64, int]:
    """Of the last bucket what its later rows are paired with, as keys and documents, and how many rows are left out.

    `omitted` are those that were left out of the first bucket already.
    """
    if not len(keys):
        return keys, documents, 0
    start = int(np.searchsorted(keys, keys[-1]))
    omitted = omitted if start == 0 else 0
    size = len(keys) - start
    if size > anchors + window:
        kept = np.r_[start : start + anchors, len(keys) - window : len(keys)]
        omitted += size - anchors - window
    else:
        kept = np.arange(start, len(keys))
    return keys[kept], documents[kept], omitted


@nb.njit(cache=True, nogil=True, inline="always")
def _leap(values, at, wanted):  # type: ignore[no-untyped-def]
    """The first place from `at` on whose value isn't under `wanted`, in steps that double, then by halves."""
    step, low, high = 1, at, at
    while high < len(values) and values[high] < wanted:
        low = high + 1
        high += step
        step *= 2
    high = min(high, len(values))
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@nb.njit(cache=True, nogil=True)
def meeting(keys, wanted, most):  # type: ignore[no-untyped-def]
    """Places in `keys` (sorted, with repeats) of values of `wanted` (sorted, distinct), the first `most` of each.

    Costs min(n, m) · log(n / m) steps: the longer of the two is passed over in leaps. Source: Bentley and Yao 1976
    ("An almost optimal algorithm for unbounded searching").
    """
    out = np.empty(len(keys), np.int64)
    at = i = j = 0
    while i < len(keys) and j < len(wanted):
        if keys[i] < wanted[j]:
            i = _leap(keys, i, wanted[j])
        elif keys[i] > wanted[j]:
            j = _leap(wanted, j, keys[i])
        else:
            taken = 0
            while i < len(keys) and keys[i] == wanted[j]:
                if taken < most:
                    out[at] = i
                    at += 1
                    taken += 1
                i += 1
            j += 1
    return out[:at].copy()
