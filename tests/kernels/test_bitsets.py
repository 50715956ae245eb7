"""Bits against Python's sets, with tables and bits so few that every way through the kernel is gone."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.kernels import bitsets
from pretrain_data.kernels.bitsets import BitSets


@nb.njit
def similarity(sets, i, j, least):  # type: ignore[no-untyped-def]
    return bitsets.alike(
        sets.words, sets.place, sets.width, sets.rest, sets.values, sets.start, sets.end, i, j, np.float32(least)
    )


def jaccard(a: set[int], b: set[int]) -> np.float32:
    return np.float32(len(a & b) / len(a | b) if a | b else 0)


def packed(sets: list[set[int]], at_once: int, words: int) -> BitSets:
    """All sets in one group."""
    ends = np.cumsum([len(s) for s in sets])
    starts = ends - [len(s) for s in sets]
    values = np.array([v for s in sets for v in sorted(s)], np.uint64)
    order, begin = np.arange(len(sets)), np.array([0, len(sets)])
    parts = bitsets._pack(values, starts, ends, order, begin, at_once, words)
    return BitSets(*parts, values, starts, ends)


# Values over the whole range of hashes, and low ones, which all fall into one range of them.
values = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 400))


few = st.lists(st.sets(st.integers(0, 120), max_size=7), min_size=20, max_size=40)  # more values than bits, at 64
many = st.lists(st.sets(values, max_size=150), min_size=3, max_size=6)


@settings(deadline=None, max_examples=60)
@given(st.one_of(few, many), st.booleans(), st.sampled_from([3, 100, 1 << 17]))
@pytest.mark.parametrize("words", [0, 1, 64])
def test_every_pair_is_as_alike_as_its_sets(words: int, sets: list[set[int]], near: bool, at_once: int) -> None:
    if near:  # edits of one set, as duplicates are
        sets = [(sets[0] | s) if i % 2 else (sets[0] - s) for i, s in enumerate(sets)]
    kept = packed(sets, at_once, words)
    for i in range(len(sets)):
        for j in set(range(len(sets))) - {i}:
            true = jaccard(sets[i], sets[j])
            assert similarity(kept, i, j, 0.0) == true
            for least in (0.3, 0.8):
                found = similarity(kept, i, j, least)
                assert found == true or (found < least and true < np.float32(least))


def test_values_of_one_set_alone_get_no_bit() -> None:
    sets = [set(range(100)) | {1000 + i} for i in range(5)]
    kept = packed(sets, 1 << 17, 64)
    assert kept.width.tolist() == [2] * 5  # 100 shared values are two words; the five others are nowhere
    assert int(sum(int(word).bit_count() for word in kept.words)) == 500
    assert kept.rest.tolist() == [0] * 5


def test_what_has_no_bit_is_counted() -> None:
    # Twelve pairs of sets of seven values: 84 values are shared and 64 get a bit, so 20 of each pair have none.
    pairs = [set(range(7 * i, 7 * i + 7)) for i in range(12)] * 2
    kept = packed(pairs, 1 << 17, 1)
    assert kept.width.tolist() == [1] * 24
    assert sum(kept.rest.tolist()) == 40
    assert [float(similarity(kept, i, i + 12, 0.9)) for i in range(12)] == [1.0] * 12


def test_groups_are_packed_apart_and_pairs_not_at_all() -> None:
    sets = [{1, 2}, {5, 6, 7}, {1, 2}, {5, 6}, {1, 3}]
    ends = np.cumsum([len(s) for s in sets])
    all_values = np.array([v for s in sets for v in sorted(s)], np.uint64)
    kept = bitsets.pack(all_values, ends - [len(s) for s in sets], ends, np.array([7, 2, 7, 2, 7]))
    assert kept.width.tolist() == [1, 0, 1, 0, 1]
    assert kept.rest.tolist() == [0, 3, 0, 2, 0]
    assert [float(similarity(kept, 0, j, 0.0)) for j in (2, 4)] == pytest.approx([1, 1 / 3])
    assert similarity(kept, 1, 3, 0.0) == jaccard({5, 6, 7}, {5, 6})
