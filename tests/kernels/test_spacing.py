"""Room for ungrouped documents, and the measure of spacing, against hand counts and a plain loop."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.kernels.spacing import Room, smallest_gaps


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
