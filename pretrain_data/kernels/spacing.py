"""Places in the training order: like documents far apart, all else at random, every block alike.

A place is a fraction in [0, 1) of the order's tokens. The k uses of a group of similar documents
stand at (u + i)/k, i = 0 … k − 1, so that any two neighbours are 1/k apart. Two things would
disturb that once fractions are turned into an order, and both are taken out:

- chance: u is not drawn for each group but is the group's rank, by tokens, among the groups of its
  size, taken in hash order. Every stretch of the order then holds the same tokens of that size.
- what is left of it: documents that are alone go where the grouped ones leave room (`Room`), so
  that tokens run evenly along the order within each leaf of the mixture.

In a short order single documents are a good part of a gap, wherever they stand: there neighbours are swapped
as long as that brings gaps nearer to the ideal (`even_gaps`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

#: Pairs of neighbours looked at in all, some seconds' worth. Short orders come to rest far sooner; of long ones,
#: which need it least, what a few sweeps can reach is taken.
PAIRS = 20_000_000

#: A use is moved by at most this share of the order, so that every block keeps its mixture.
REACH = 0.05


@dataclass(frozen=True)
class Room:
    """Where the ungrouped documents of one leaf go: their share done → place in [0, 1)."""

    done: np.ndarray  # share of the ungrouped tokens placed, rising from 0 to 1
    place: np.ndarray  # place at that share

    @classmethod
    def left_by(cls, taken: np.ndarray, free_tokens: int) -> Room:
        """From the tokens that groups take in each of len(taken) equal bins of the order.

        A bin with more grouped tokens than its part gets nothing and its neighbours get less, on
        either side alike.
        """
        bins = len(taken)
        edges = np.arange(bins + 1) / bins
        if free_tokens <= 0:
            return cls(edges, edges)
        part = (float(taken.sum()) + free_tokens) / bins
        cumulative = np.concatenate(([0.0], np.cumsum(part - taken)))
        rising = np.maximum.accumulate(cumulative)
        falling = np.minimum.accumulate(cumulative[::-1])[::-1]
        return cls(np.clip((rising + falling) / 2 / free_tokens, 0.0, 1.0), edges)

    def places(self, share: np.ndarray) -> np.ndarray:
        """Place of documents at these shares (in [0, 1)) of the leaf's ungrouped tokens."""
        return np.minimum(np.interp(share, self.done, self.place), np.nextafter(1.0, 0.0))


def even_gaps(group: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Swap neighbours in the order as long as that brings the gaps of groups nearer to the ideal.

    `group` (any integers) and `size` (tokens, above 0) have one entry a use, in the order so far. Returns the
    new order as indexes into it. What falls is the sum of (gap·k/total - 1)² over the gaps between neighbours
    of a group of k uses; uses of one group keep their order among themselves, and those of no group are
    never swapped with each other.
    """
    count, total = len(group), int(np.sum(size))
    order = np.arange(count)
    start = np.cumsum(size) - size
    by_group = np.argsort(group, kind="stable")
    groups = np.asarray(group)[by_group]
    follows = groups[1:] == groups[:-1]
    before, behind = np.full(count, -1), np.full(count, -1)
    before[by_group[1:][follows]] = by_group[:-1][follows]
    behind[by_group[:-1][follows]] = by_group[1:][follows]
    _, of, uses = np.unique(group, return_inverse=True, return_counts=True)
    sweeps = PAIRS // max(1, count)
    _swap_neighbours(order, start, np.asarray(size, np.int64), before, behind, total / uses[of], REACH * total, sweeps)
    return order


@numba.njit(cache=True)
def _swap_neighbours(
    order: np.ndarray,
    start: np.ndarray,
    size: np.ndarray,
    before: np.ndarray,
    behind: np.ndarray,
    ideal: np.ndarray,
    reach: float,
    sweeps: int,
) -> None:
    """`order` and `start` (by use) are changed in place; before and behind: the group's neighbours, or -1."""
    origin = start.copy()
    for _ in range(sweeps):
        swapped = False
        for i in range(len(order) - 1):
            one, other = order[i], order[i + 1]
            if behind[one] == other or (
                before[one] < 0 and behind[one] < 0 and before[other] < 0 and behind[other] < 0
            ):
                continue
            later, earlier = start[one] + size[other], start[one]
            if abs(later - origin[one]) > reach or abs(earlier - origin[other]) > reach:
                continue
            gain = _error(one, start[one], start, before, behind, ideal)
            gain -= _error(one, later, start, before, behind, ideal)
            gain += _error(other, start[other], start, before, behind, ideal)
            gain -= _error(other, earlier, start, before, behind, ideal)
            if gain > 1e-12:  # so that rounding can't swap back and forth
                order[i], order[i + 1] = other, one
                start[one], start[other] = later, earlier
                swapped = True
        if not swapped:
            return


@numba.njit(cache=True, inline="always")
def _error(use: int, at: int, start: np.ndarray, before: np.ndarray, behind: np.ndarray, ideal: np.ndarray) -> float:
    """What the gaps on either side of a use would add to the sum, were it at token `at`."""
    found = 0.0
    if before[use] >= 0:
        found += ((at - start[before[use]]) / ideal[use] - 1.0) ** 2
    if behind[use] >= 0:
        found += ((start[behind[use]] - at) / ideal[use] - 1.0) ** 2
    return found


def smallest_gaps(group: np.ndarray, offset: np.ndarray, total: int) -> tuple[np.ndarray, ...]:
    """How well groups are spread: for each group of two or more uses, its smallest gap.

    `group` (any integers) and `offset` (first token of the use in the order) have one entry a use;
    `total` is the order's tokens. Returns (group, uses k, smallest gap in tokens, that gap over the
    ideal total/k), one entry a group.
    """
    order = np.lexsort((offset, group))
    groups, offsets = np.asarray(group)[order], np.asarray(offset)[order]
    if not len(groups):
        empty = np.empty(0, np.int64)
        return empty, empty, empty, np.empty(0)
    starts = np.flatnonzero(np.concatenate(([True], groups[1:] != groups[:-1])))
    uses = np.diff(np.concatenate((starts, [len(groups)])))
    gaps = np.empty(len(groups), np.int64)
    gaps[:-1] = np.diff(offsets)
    last = starts + uses - 1
    gaps[last] = np.iinfo(np.int64).max  # from a group's last use no gap leads on
    smallest = np.minimum.reduceat(gaps, starts)
    many = uses >= 2
    return groups[starts][many], uses[many], smallest[many], smallest[many] * uses[many] / total
