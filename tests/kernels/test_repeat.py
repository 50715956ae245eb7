"""The numbering of keys against NumPy's, beyond the size from which on memory is asked ahead."""

from __future__ import annotations

import mmap
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.kernels import signals_repeat as repeat
from pretrain_data.kernels.bytes8 import LARGE, in_huge_pages


def numbered(keys: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the keys, and by number: keys, origins and times."""
    n = len(keys)
    slots = np.full(repeat.slots_for(n), 7, np.uint32)  # scratch of any content
    records, numbers = np.full(2 * n + 2, 7, np.uint64), np.empty(n, np.uint32)
    distinct = repeat.number(keys, where, n, slots, records, numbers)
    found = records[2 : 2 * distinct + 2].reshape(-1, 2)
    return numbers, found[:, 0], found[:, 1] & np.uint64(0xFFFFFFFF), found[:, 1] >> np.uint64(32)


def check(keys: np.ndarray, where: np.ndarray) -> int:
    numbers, own, origins, times = numbered(keys, where)
    values, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)  # numbers go by first appearance
    rank = np.empty_like(order)
    rank[order] = np.arange(1, len(order) + 1)
    assert np.array_equal(numbers, rank[inverse])
    assert np.array_equal(own, values[order])
    assert np.array_equal(origins, where[first[order]])
    assert np.array_equal(times, counts[order])
    return len(values)


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5), max_size=300))
def test_keys_are_numbered_as_numpy_has_them(keys: list[int]) -> None:
    check(np.array(keys, np.uint64), np.arange(1000, 1000 + len(keys), dtype=np.uint32))


@pytest.mark.parametrize("kinds", [1, 50_000, 400_000])
def test_many_keys_are_too(kinds: int) -> None:
    draw = np.random.default_rng(kinds)
    keys = draw.integers(0, kinds, 500_000).astype(np.uint64) << np.uint64(32)
    distinct = check(keys, draw.integers(0, 2**32, len(keys), np.uint32))
    assert (4 * distinct >= repeat._FAR) == (kinds > 1), "the table outgrows the bound or doesn't"


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are Linux's")
def test_large_scratch_is_offered_huge_pages_and_keeps_what_it_holds() -> None:
    small = np.arange(10, dtype=np.uint32)
    with mmap.mmap(-1, 4 * LARGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as plain:  # NumPy would ask by itself
        large = np.frombuffer(plain, np.uint8)
        large[:] = np.arange(4 * LARGE) % 251
        before = flags_at(large.ctypes.data + large.nbytes // 2)
        in_huge_pages(small)
        in_huge_pages(large)
        after = flags_at(large.ctypes.data + large.nbytes // 2)
        assert np.array_equal(large, np.arange(4 * LARGE) % 251)
        del large
    assert small.tolist() == list(range(10))
    assert "hg" not in before
    assert "hg" in after


def flags_at(address: int) -> list[str]:
    """The kernel's flags of the mapping that holds an address: `hg` where huge pages are wanted."""
    for entry in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        begin, end = (int(x, 16) for x in entry.split(" ", 1)[0].split("-"))
        if begin <= address < end:
            return entry.rsplit("VmFlags:", 1)[1].split()
    raise AssertionError("the address lies in no mapping")
