"""Shares, keys and cuts of the mixture, by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.kernels.mixture import BIN_BITS, KEY_BITS, Cut, Node, allocate, hash_strings, sampling_key, share


def test_what_one_part_can_not_give_goes_to_its_siblings_then_further_up() -> None:
    knowledge = Node(
        "k", 0.6, path="k", children=(Node("zh", 0.5, 100, path="k/zh"), Node("en", 0.5, 10_000, path="k/en"))
    )
    tree = Node("", 1, children=(knowledge, Node("code", 0.4, 10_000, path="code")))
    # 1,000: knowledge 600 (zh has 100 of its 300, en takes 500), code 400.
    assert allocate(tree, 1000) == {"k/zh": 100, "k/en": 500, "code": 400}
    # 30,000 is more than there is: all of it.
    assert allocate(tree, 30_000) == {"k/zh": 100, "k/en": 10_000, "code": 10_000}


@given(st.floats(0, 1e6), st.lists(st.tuples(st.floats(0.01, 10), st.integers(0, 10**6)), min_size=1, max_size=6))
def test_shares_are_bounded_and_used_up(budget: float, parts: list[tuple[float, int]]) -> None:
    weights, limits = [p[0] for p in parts], [p[1] for p in parts]
    given_ = share(budget, weights, limits)
    assert all(g <= limit * (1 + 1e-9) for g, limit in zip(given_, limits, strict=True))
    assert sum(given_) == pytest.approx(min(budget, sum(limits)), rel=1e-6, abs=1e-3)
    free = [g / w for g, w, limit in zip(given_, weights, limits, strict=True) if g < limit * (1 - 1e-9)]
    assert not free or max(free) == pytest.approx(min(free), rel=1e-6, abs=1e-3), "those with room get by weight"


def test_hashes_are_the_same_for_any_slice_and_look_random() -> None:
    ids = [f"文档-{i}" for i in range(20_000)]
    whole = hash_strings(pa.array(ids))
    assert (hash_strings(pa.array(["x", *ids], pa.large_string()).slice(1)) == whole).all()
    keys = sampling_key(whole) / 2.0**KEY_BITS
    assert 0 <= keys.min() < keys.max() < 1
    counts, _ = np.histogram(keys, 20, (0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square, 19 degrees, p = 0.001


def test_heavier_documents_are_sampled_more_often() -> None:
    hashes = hash_strings(pa.array([str(i) for i in range(40_000)]))
    weights = np.where(np.arange(40_000) % 2 == 0, 1.0, 3.0)
    keys = sampling_key(hashes, weights)
    taken = np.argsort(keys)[:2000]  # few enough that sampling without replacement is nearly with
    assert np.mean(taken % 2 == 1) == pytest.approx(0.75, abs=0.03)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, (1 << KEY_BITS) - 1), st.integers(1, 500)), min_size=1, max_size=200),
    st.floats(0, 1),
)
def test_a_cut_takes_the_smallest_keys_up_to_the_target(items: list[tuple[int, int]], part: float) -> None:
    keys = np.array([k for k, _ in items], np.int64)
    tokens = np.array([t for _, t in items], np.int64)
    cut = Cut(part * int(tokens.sum()), tolerance=0)
    for _ in range(10):
        if cut.found is not None:
            break
        inside = (keys >= cut.low) & (keys < cut.low + (1 << cut.bits))
        bins = (keys[inside] - cut.low) >> cut.shift
        assert bins.max(initial=0) < 1 << BIN_BITS
        found, back = np.unique(bins, return_inverse=True)
        sums = np.bincount(back, tokens[inside], len(found)).astype(np.int64)
        cut.narrow(found, sums, np.bincount(back, minlength=len(found)))
    assert cut.found is not None
    assert cut.reached == tokens[keys < cut.found].sum()
    order = np.argsort(keys)
    same_key = max((int(tokens[keys == k].sum()) for k in keys.tolist()), default=0)
    assert abs(cut.reached - cut.target) <= max(int(tokens[order].max()), same_key)
