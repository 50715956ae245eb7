"""Places in the training order: like documents far apart, all else at random, every block alike.

A place is a fraction in [0, 1) of the order's tokens. The k uses of a group of similar documents
stand at (u + i)/k, i = 0 … k − 1, so that any two neighbours are 1/k apart. Two things would
disturb that once fractions are turned into an order, and both are taken out:

- chance: u is not drawn for each group but is the group's rank, by tokens, among the groups of its
  size, taken in hash order. Every stretch of the order then holds the same tokens of that size.
- what is left of it: documents that are alone go where the grouped ones leave room (`Room`), so
  that tokens run evenly along the order within each leaf of the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
