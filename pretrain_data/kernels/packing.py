"""Documents into sequences of fixed length: concatenated, or best-fit so that few are cut.

A piece is (document, first token in it, tokens, sequence, first token in the sequence). Best-fit
packing is Ding et al. 2024, "Fewer Truncations Improve Language Modeling": documents longer than a
sequence are cut into full sequences and a remainder; the remainders go, longest first, each into
the fullest sequence that still holds it.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np


class Pieces(NamedTuple):
    """Parallel int64 arrays, sorted by sequence and then by place in it."""

    document: np.ndarray
    first: np.ndarray
    length: np.ndarray
    sequence: np.ndarray
    place: np.ndarray

    @property
    def sequences(self) -> int:
        return int(self.sequence[-1]) + 1 if len(self.sequence) else 0


def concatenate(lengths: np.ndarray, sequence_length: int, start: int = 0) -> Pieces:
    """Cut the stream of documents every `sequence_length` tokens; `start` is the stream offset of
    the first document, and sequences are numbered from the stream's beginning."""
    lengths = np.asarray(lengths, np.int64)
    offsets = start + np.concatenate(([0], np.cumsum(lengths)))
    first_sequence = offsets[:-1] // sequence_length
    last_sequence = np.where(lengths > 0, (offsets[1:] - 1) // sequence_length, first_sequence - 1)
    count = last_sequence - first_sequence + 1
    document = np.repeat(np.arange(len(lengths)), count)
    nth = np.arange(len(document)) - np.repeat(np.cumsum(count) - count, count)
    sequence = first_sequence[document] + nth
    begin = np.maximum(offsets[:-1][document], sequence * sequence_length)
    end = np.minimum(offsets[1:][document], (sequence + 1) * sequence_length)
    first = begin - offsets[:-1][document]
    return Pieces(document, first, end - begin, sequence, begin - sequence * sequence_length)


@numba.njit(cache=True, nogil=True)
def _best_fit(sizes: np.ndarray, capacity: int) -> np.ndarray:  # pragma: no cover - compiled
    """Bin of each size (all in 1..capacity, falling): the fullest bin that still holds it.

    A tree over room 1..capacity counts bins with that room: O(log capacity) a size.
    """
    leaves = 1
    while leaves < capacity + 1:
        leaves *= 2
    # tree[node]: the least room >= its range's start that some open bin has, or -1
    has = np.zeros(2 * leaves, np.bool_)
    head = np.full(capacity + 1, -1, np.int64)  # newest bin with that room
    below = np.empty(len(sizes), np.int64)  # the next such bin
    result = np.empty(len(sizes), np.int64)
    bins = 0
    for i in range(len(sizes)):
        size = sizes[i]
        # the least room >= size
        node = leaves + size
        if not has[node]:
            while node > 1 and not (node % 2 == 0 and has[node + 1]):
                node //= 2
            if node > 1:
                node += 1
                while node < leaves:
                    node = 2 * node if has[2 * node] else 2 * node + 1
        if node > 1:
            room = node - leaves
            bin_ = head[room]
            head[room] = below[bin_]
            if head[room] < 0:
                while node >= 1:
                    has[node] = False if node >= leaves else has[2 * node] or has[2 * node + 1]
                    node //= 2
        else:
            room, bin_ = capacity, bins
            bins += 1
        result[i] = bin_
        room -= size
        below[bin_] = head[room]
        head[room] = bin_
        node = leaves + room
        while node >= 1 and not has[node]:
            has[node] = True
            node //= 2
    return result


def best_fit(lengths: np.ndarray, sequence_length: int) -> Pieces:
    """Pack whole documents where they fit; sequences are numbered by their first document."""
    lengths = np.asarray(lengths, np.int64)
    count = np.maximum((lengths + sequence_length - 1) // sequence_length, 0)
    document = np.repeat(np.arange(len(lengths)), count)
    nth = np.arange(len(document)) - np.repeat(np.cumsum(count) - count, count)
    first = nth * sequence_length
    size = np.minimum(lengths[document] - first, sequence_length)
    order = np.lexsort((np.arange(len(size)), -size))
    bins = np.empty(len(size), np.int64)
    bins[order] = _best_fit(size[order], sequence_length)
    # The order of training is that of the documents: a sequence stands where its first piece does.
    _, first_piece, which = np.unique(bins, return_index=True, return_inverse=True)
    rank = np.empty(len(first_piece), np.int64)
    rank[np.argsort(first_piece, kind="stable")] = np.arange(len(first_piece))
    sequence = rank[which]
    by_sequence = np.lexsort((np.arange(len(size)), sequence))
    document, first, size = document[by_sequence], first[by_sequence], size[by_sequence]
    sequence = sequence[by_sequence]
    running = np.cumsum(size) - size
    starts = np.concatenate(([True], sequence[1:] != sequence[:-1])) if len(sequence) else np.empty(0, bool)
    place = running - running[np.flatnonzero(starts)][sequence] if len(sequence) else running
    return Pieces(document, first, size, sequence, place)
