"""Bands against the formula, buckets against brute force."""

from __future__ import annotations

import itertools
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.kernels import lsh


@pytest.mark.parametrize(
    ("k", "threshold", "miss"), [(128, 0.8, 0.005), (128, 0.5, 0.01), (256, 0.7, 0.001), (64, 1.0, 0.5)]
)
def test_bands_keep_the_miss_probability_and_are_the_longest(k: int, threshold: float, miss: float) -> None:
    bands = lsh.choose_bands(k, threshold, miss)
    assert bands.number * bands.rows <= k
    assert (1 - threshold**bands.rows) ** bands.number <= miss
    longer = bands.rows + 1
    if longer <= k:
        assert (1 - threshold**longer) ** (k // longer) > miss
    if bands.number > 1:
        assert (1 - threshold**bands.rows) ** (bands.number - 1) > miss


def test_what_can_not_be_found_is_an_error() -> None:
    with pytest.raises(ValueError, match="permutations"):
        lsh.choose_bands(16, 0.05, 0.001)


def test_keys_are_equal_where_bands_are() -> None:
    rng = np.random.default_rng(1)
    signatures = rng.integers(0, 3, (50, 12), dtype=np.uint32)
    keys = lsh.band_keys(signatures, 4, 3)
    for i, j in combinations(range(50), 2):
        same = (signatures[i].reshape(4, 3) == signatures[j].reshape(4, 3)).all(axis=1)
        assert (keys[i] == keys[j]).tolist() == same.tolist()
    assert not (keys[:, 0] == keys[:, 1]).any(), "the band is part of its key"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 5))
def test_buckets_give_all_pairs_up_to_the_bound(keys: list[int], anchors: int, window: int) -> None:
    ordered = np.array(sorted(keys), np.int64)
    documents = np.arange(100, 100 + len(keys))
    first, second, capped = lsh.bucket_pairs(ordered, documents, anchors, window)
    found = set(zip(first.tolist(), second.tolist(), strict=True))
    assert len(found) == len(first), "a pair comes once"
    expected = set()
    for key in set(keys):
        bucket = documents[ordered == key].tolist()
        for i, j in combinations(range(len(bucket)), 2):
            if i < anchors or j - i <= window:
                expected.add((bucket[i], bucket[j]))
    assert found == expected
    total = sum(n * (n - 1) // 2 for n in (keys.count(key) for key in set(keys)))
    assert capped == total - len(found)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-9, 9), max_size=60), st.sets(st.integers(-12, 12)), st.integers(1, 4))
def test_sorted_keys_meet_as_in_a_table(keys: list[int], wanted: set[int], most: int) -> None:
    ordered = sorted(keys)
    found = lsh.meeting(np.array(ordered, np.int64), np.array(sorted(wanted), np.int64), most)
    expected = [i for i, key in enumerate(ordered) if key in wanted and i - ordered.index(key) < most]
    assert found.tolist() == expected


def test_of_old_documents_none_is_paired_with_another() -> None:
    first, second, capped = lsh.bucket_pairs(np.zeros(6, np.int64), np.arange(6), 1, 1, 3)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 3), (2, 3), (0, 4), (3, 4), (0, 5), (4, 5)]
    assert capped == 1 + 2 + 3


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 3), max_size=60),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sets(st.integers(1, 59)),
    st.integers(0, 160),
)
def test_buckets_in_pieces_give_what_they_give_whole(
    keys: list[int], anchors: int, window: int, cuts: set[int], first_new: int
) -> None:
    ordered, documents = np.array(sorted(keys), np.int64), np.arange(100, 100 + len(keys))
    whole = lsh.bucket_pairs(ordered, documents, anchors, window, first_new)
    pairs, capped = [], 0
    old_keys, old, omitted = np.zeros(0, np.int64), np.zeros(0, np.int64), 0
    bounds = [0, *sorted(c for c in cuts if c < len(keys)), len(keys)]
    for low, high in itertools.pairwise(bounds):
        both = np.concatenate([old_keys, ordered[low:high]]), np.concatenate([old, documents[low:high]])
        first, second, more = lsh.bucket_pairs(*both, anchors, window, first_new, len(old), omitted)
        pairs += zip(first.tolist(), second.tolist(), strict=True)
        capped += more
        old_keys, old, omitted = lsh.context(*both, anchors, window, omitted)
        assert len(old) <= anchors + window, "what is carried over is bounded"
    assert pairs == list(zip(whole[0].tolist(), whole[1].tolist(), strict=True))
    assert capped == whole[2]
