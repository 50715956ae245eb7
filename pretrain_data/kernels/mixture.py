"""Which documents of each leaf of a mixture are used, and how often: hashes, keys, shares, cuts.

Every document has a sampling key in [0, 2**KEY_BITS) that depends on its id and the seed alone. A
leaf that wants a part of its documents takes those with the smallest keys, so a larger budget
keeps what a smaller one took, and no draw depends on the order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numba
import numpy as np
import pyarrow as pa

KEY_BITS = 48
BIN_BITS = 12  # a histogram round narrows a cut by 2**BIN_BITS

_PRIME = np.uint64(0x100000001B3)
_SEED = np.uint64(0xCBF29CE484222325)


@numba.njit(cache=True, nogil=True)
def _fnv(offsets: np.ndarray, data: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover - compiled
    for i in range(out.shape[0]):
        h = _SEED
        for j in range(offsets[i], offsets[i + 1]):
            h = (h ^ np.uint64(data[j])) * _PRIME
        out[i] = h


def mix(values: np.ndarray, salt: int) -> np.ndarray:
    """uint64 → uint64, well spread; another `salt` gives an unrelated function (splitmix64)."""
    with np.errstate(over="ignore"):
        z = values + np.uint64((salt * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def hash_strings(strings: pa.Array) -> np.ndarray:
    """64-bit hash of each UTF-8 string (FNV-1a, then mixed); a null hashes as the empty string."""
    strings = pa.array(strings.fill_null("")).cast(pa.large_string())
    out = np.empty(len(strings), np.uint64)
    if len(strings):
        _, offsets, data = strings.buffers()
        starts = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
        octets = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
        _fnv(starts, octets, out)
    return mix(out, 0)


def sampling_key(hashes: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Keys in [0, 2**KEY_BITS), int64: uniform, or smaller for documents of larger weight.

    With weights w > 0 this is weighted sampling without replacement (Efraimidis and Spirakis 2006):
    the key of u is 1 − (1 − u)^(1/w), whose order is that of −log(1 − u)/w.
    """
    keys = (hashes >> np.uint64(64 - KEY_BITS)).astype(np.int64)
    if weights is None:
        return keys
    u = keys.astype(np.float64) / 2.0**KEY_BITS
    weighted = -np.expm1(np.log1p(-u) / weights)
    return np.minimum((weighted * 2.0**KEY_BITS).astype(np.int64), (1 << KEY_BITS) - 1)


@dataclass(frozen=True)
class Node:
    """A part of the mixture: a share of its parent's tokens, split further unless it is a leaf."""

    name: str
    weight: float
    capacity: int = 0  # tokens it may give at most, its epochs counted; leaves only
    children: tuple[Node, ...] = ()
    path: str = field(default="")

    def limit(self) -> int:
        return sum(child.limit() for child in self.children) if self.children else self.capacity


def share(budget: float, weights: Sequence[float], limits: Sequence[float]) -> list[float]:
    """Split `budget` by `weights`; what one cannot take goes to the others by their weights."""
    given = [0.0] * len(weights)
    open_ = [i for i in range(len(weights)) if weights[i] > 0]
    left = min(budget, sum(limits[i] for i in open_))
    while open_:
        total = sum(weights[i] for i in open_)
        full = [i for i in open_ if left * weights[i] / total >= limits[i]]
        if not full:
            for i in open_:
                given[i] = left * weights[i] / total
            break
        for i in full:
            given[i] = float(limits[i])
        left = max(0.0, left - sum(limits[i] for i in full))
        open_ = [i for i in open_ if i not in full]
    return given


def allocate(root: Node, budget: float) -> dict[str, float]:
    """Tokens for each leaf, by path. A short leaf's share goes to its siblings, then to its parent's."""
    if not root.children:
        return {root.path: min(budget, root.capacity)}
    children = root.children
    parts = share(budget, [c.weight for c in children], [c.limit() for c in children])
    given: dict[str, float] = {}
    for child, part in zip(children, parts, strict=True):
        given.update(allocate(child, part))
    return given


def wanted(root: Node, budget: float) -> dict[str, float]:
    """Tokens for each leaf if none were short."""
    if not root.children:
        return {root.path: budget}
    total = sum(child.weight for child in root.children)
    result: dict[str, float] = {}
    for child in root.children:
        result.update(wanted(child, budget * child.weight / total if total else 0.0))
    return result


@dataclass
class Cut:
    """The search for the key below which a leaf's documents hold `target` tokens.

    Each round looks at one histogram of 2**BIN_BITS bins between `low` and `low + 2**bits` and
    goes on in the bin where the target falls, until that bin is one document or negligible.
    """

    target: float  # tokens wanted below the cut
    tolerance: float  # tokens that need not be resolved further
    low: int = 0
    bits: int = KEY_BITS
    below: int = 0  # tokens with keys under `low`
    found: int | None = None
    reached: int = 0  # tokens below the cut that was found

    @property
    def shift(self) -> int:
        return max(self.bits - BIN_BITS, 0)

    def narrow(self, bins: np.ndarray, tokens: np.ndarray, documents: np.ndarray) -> None:
        """Take one round's histogram: bin numbers (ascending, empty bins left out), sums, counts."""
        cumulative = self.below + np.cumsum(tokens)
        at = int(np.searchsorted(cumulative, self.target, side="right"))
        if at >= len(bins):  # all of them are wanted
            self.found = self.low + (1 << self.bits)
            self.reached = int(cumulative[-1]) if len(bins) else self.below
            return
        before = int(cumulative[at]) - int(tokens[at])
        start = self.low + (int(bins[at]) << self.shift)
        if documents[at] <= 1 or tokens[at] <= self.tolerance or self.shift == 0:
            with_bin = self.target - before > tokens[at] / 2
            self.found = start + (1 << self.shift) if with_bin else start
            self.reached = before + int(tokens[at]) if with_bin else before
            return
        self.low, self.bits, self.below = start, self.shift, before


def trim(gap: float, below: np.ndarray, above: np.ndarray, tolerance: float) -> tuple[list[int], list[int]]:
    """Which documents next to a cut to leave out and to take in, so that `gap` tokens are added.

    `below` and `above` are the tokens of documents on either side. Returns indices into them, at
    most two each: the fewest that come within `tolerance`, else those that come closest.
    """
    out_sums, out_sets = _small_sets(below)
    in_sums, in_sets = _small_sets(above)
    error = np.abs(in_sums[:, None] - out_sums[None, :] - gap)
    changes = (np.array([len(s) for s in in_sets])[:, None] + np.array([len(s) for s in out_sets])[None, :]).astype(
        float
    )
    near = error <= tolerance
    best = int(np.argmin(np.where(near, changes + error / (tolerance + 1), np.inf) if near.any() else error))
    i, j = divmod(best, len(out_sets))
    return list(out_sets[j]), list(in_sets[i])


def _small_sets(tokens: np.ndarray) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Sums and members of all sets of at most two."""
    n = len(tokens)
    sets: list[tuple[int, ...]] = [(), *((i,) for i in range(n))]
    sets.extend((i, j) for i in range(n) for j in range(i + 1, n))
    return np.array([sum(int(tokens[i]) for i in s) for s in sets], float), sets
