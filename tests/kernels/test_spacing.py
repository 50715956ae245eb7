"""Room for ungrouped documents, and the measure of spacing, against hand counts and a plain loop."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.kernels.spacing import Room, even_gaps, smallest_gaps


def test_documents_alone_fill_what_groups_leave() -> None:
    # Four bins of 10 tokens; groups take 10, 0, 5 and 5, so 20 are free: none, 10, 5 and 5.
    room = Room.left_by(np.array([10, 0, 5, 5]), 20)
    shares = np.array([0.25, 0.5, 0.625, 0.75, 0.875])
    assert room.places(shares) == pytest.approx([0.375, 0.5, 0.625, 0.75, 0.875])
    assert 0.25 <= room.places(np.array([1e-9]))[0] < 0.2501, "the first bin is taken whole"


def test_an_overfull_bin_pushes_to_both_sides_alike() -> None:
    room = Room.left_by(np.array([0, 0, 20, 0, 0]), 30)
    # Parts of 10; the middle bin holds 20. What is too much there is taken from either side: 30 free
    # tokens lie outside of it, 15 before and 15 after.
    places = room.places(np.array([0.49, 0.51]))
    assert places[0] <= 0.4
    assert places[1] >= 0.6


def test_without_groups_nothing_moves() -> None:
    room = Room.left_by(np.zeros(8, np.int64), 1000)
    shares = np.linspace(0, 0.999, 50)
    assert room.places(shares) == pytest.approx(shares)
    assert room.places(np.array([1.0]))[0] < 1.0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(0, 500))
def test_places_rise_and_stay_in_the_order(taken: list[int], free: int) -> None:
    places = Room.left_by(np.array(taken, np.int64), free).places(np.linspace(0, 1, 101))
    assert (np.diff(places) >= 0).all()
    assert places[0] >= 0
    assert places[-1] < 1


def test_gaps_by_hand() -> None:
    # Group 7 at tokens 0, 40 and 100 of 120: gaps 40 and 60, ideal 40. Group 3 stands alone.
    group = np.array([7, 3, 7, 7])
    offset = np.array([100, 10, 0, 40])
    found, uses, smallest, ratio = smallest_gaps(group, offset, 120)
    assert (found.tolist(), uses.tolist(), smallest.tolist(), ratio.tolist()) == ([7], [3], [40], [1.0])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=40))
def test_gaps_against_a_plain_loop(rows: list[tuple[int, int]]) -> None:
    group = np.array([g for g, _ in rows], np.int64)
    size = np.array([s for _, s in rows], np.int64)
    offset = np.cumsum(size) - size
    total = int(size.sum())
    expected = {}
    for g in sorted(set(group.tolist())):
        at = [int(o) for o, h in zip(offset, group, strict=True) if h == g]
        if len(at) > 1:
            expected[g] = (len(at), min(b - a for a, b in pairwise(at)))
    found, uses, smallest, ratio = smallest_gaps(group, offset, max(total, 1))
    assert {int(g): (int(k), int(s)) for g, k, s in zip(found, uses, smallest, strict=True)} == expected
    assert ratio == pytest.approx([s * k / total for k, s in expected.values()])


def test_one_use_moves_over_two_neighbours() -> None:
    # 102 documents of 10 tokens; those of one group stand at tokens 0 and 530, and a gap of 510 is wanted.
    group, size = np.arange(102), np.full(102, 10)
    group[53] = 0
    order = even_gaps(group, size).tolist()
    assert order.index(53) - order.index(0) == 51
    assert [use for use in order if use not in (0, 53)] == [use for use in range(102) if use not in (0, 53)]


def test_no_use_moves_further_than_its_block_bears() -> None:
    # Four documents of 10 tokens: two of a group side by side want a gap of 20; a twentieth of the order is 2 tokens.
    assert even_gaps(np.array([1, 1, 2, 3]), np.full(4, 10)).tolist() == [0, 1, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 60)), min_size=1, max_size=120))
def test_evened_gaps_are_nearer_to_the_ideal(rows: list[tuple[int, int]]) -> None:
    group = np.array([g for g, _ in rows], np.int64)
    size = np.array([s for _, s in rows], np.int64)
    order = even_gaps(group, size)
    assert sorted(order.tolist()) == list(range(len(rows)))
    for g in set(group.tolist()):
        uses = order[group[order] == g]
        assert (np.diff(uses) > 0).all(), "uses of a group keep their order"
    start = np.cumsum(size) - size
    moved = np.empty(len(rows), np.int64)
    moved[order] = np.cumsum(size[order]) - size[order]
    assert (abs(moved - start) <= 0.05 * size.sum()).all()
    assert unevenness(group, moved, int(size.sum())) <= unevenness(group, start, int(size.sum())) + 1e-9


def unevenness(group: np.ndarray, start: np.ndarray, total: int) -> float:
    """The sum that is to fall, by a plain loop."""
    found = 0.0
    for g in set(group.tolist()):
        at = sorted(int(s) for s, h in zip(start, group, strict=True) if h == g)
        found += sum(((b - a) * len(at) / total - 1) ** 2 for a, b in pairwise(at))
    return found


def test_lumps_among_repeats_of_small_documents() -> None:
    """Four uses each of 150 documents and 60 lumps twenty times as long, as in a small sample."""
    random = np.random.default_rng(5)
    place = np.concatenate([((np.arange(4) + (np.arange(150)[:, None] + 0.5) / 150) / 4).ravel(), np.arange(60) / 60])
    order = np.argsort(place, kind="stable")
    group = np.concatenate([np.repeat(np.arange(150), 4), 1000 + np.arange(60)])[order]
    size = np.concatenate([random.integers(100, 600, 150).repeat(4), random.integers(2_000, 12_000, 60)])[order]
    total = int(size.sum())
    ratio = smallest_gaps(group, np.cumsum(size) - size, total)[3]
    after = even_gaps(group, size)
    evened = smallest_gaps(group[after], np.cumsum(size[after]) - size[after], total)[3]
    assert np.median(ratio) < 0.96
    assert np.median(evened) > 0.98
    assert evened.min() > ratio.min()
