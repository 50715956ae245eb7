"""Packed sets against Python's, with ranges so small that every way through the kernel is gone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.kernels.bitsets import AT_ONCE, pack


def packed(sets: list[set[int]], at_once: int = AT_ONCE) -> tuple[Any, Any, Any, int]:
    ends = np.cumsum([len(s) for s in sets])
    values = np.array([v for s in sets for v in sorted(s)], np.uint64)
    found: tuple[Any, Any, Any, int] = pack(values, ends - [len(s) for s in sets], ends, np.arange(len(sets)), at_once)
    return found


def shared(kept: tuple[Any, Any, Any, int], i: int, j: int) -> int:
    words, rare, bounds, _ = kept
    both = sum(int(a & b).bit_count() for a, b in zip(words[i], words[j], strict=True))
    return both + len({*rare[bounds[i] : bounds[i + 1]]} & {*rare[bounds[j] : bounds[j + 1]]})


# Values over the whole range of hashes, and low ones, which all fall into one range of them.
values = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 400))
few = st.lists(st.sets(st.integers(0, 120), max_size=7), min_size=30, max_size=60)  # bits from three holders on
many = st.lists(st.sets(values, max_size=150), min_size=2, max_size=6)


@settings(deadline=None, max_examples=60)
@given(st.one_of(few, many), st.booleans())
@pytest.mark.parametrize("at_once", [3, 100, AT_ONCE])
def test_what_two_share_is_kept(at_once: int, sets: list[set[int]], near: bool) -> None:
    if near:  # edits of one set, as duplicates are
        sets = [(sets[0] | s) if i % 2 else (sets[0] - s) for i, s in enumerate(sets)]
    kept = packed(sets, at_once)
    for i in range(len(sets)):
        for j in set(range(len(sets))) - {i}:
            assert shared(kept, i, j) == len(sets[i] & sets[j])


def test_values_of_one_set_alone_are_left_out() -> None:
    words, rare, bounds, numbers = packed([set(range(100)) | {1000 + i} for i in range(5)])
    assert words.shape == (5, 2)  # 100 shared values are two words
    assert int(sum(int(word).bit_count() for word in words.ravel())) == 500
    assert (len(rare), bounds.tolist(), numbers) == (0, [0] * 6, 0)


def test_values_of_few_sets_are_listed() -> None:
    # Of forty sets, four make a column of bits: 7 is held by all, 1 and 2 by two or three.
    sets = [{7} | ({1} if i < 3 else set()) | ({2} if i in (0, 5) else set()) for i in range(40)]
    words, rare, bounds, numbers = packed(sets)
    assert words.shape == (40, 1)
    assert [int(word).bit_count() for word in words[:, 0]] == [1] * 40
    assert np.diff(bounds).tolist() == [2, 1, 1, 0, 0, 1] + [0] * 34
    assert (len(rare), numbers) == (5, 2)
