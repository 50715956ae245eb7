"""Finds personal data: an automaton names the places, `re` and the validators decide there and only there.

The spans are those that every pattern would give over the whole text with `re.finditer` (`everywhere`, the
oracle of the tests): an entry's scan is a necessary condition for its pattern, a match begins within known reach
before the scan's end, and none is longer than the pattern allows. Documents without a place are never decoded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from pretrain_data.kernels.multipattern import places
from pretrain_data.kernels.pii.spans import Span, Spans
from pretrain_data.kernels.pii.types import Entry, entries, patterns
from pretrain_data.kernels.textscan import text_buffers

CONTEXT = 24  # characters before and after a span that a validator sees
_AFTER = 16  # characters that a look-ahead at the end of a pattern may see

#: A context ends where another value (or the placeholder of one) stood: else its replacement would let a validator
#: see further, and a second scrubbing find more.
_VALUES = re.compile(r".*[0-9@|]", re.DOTALL)

#: Full-width ASCII to ASCII, one code point for one, so that offsets stay.
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


def find(text: pa.Array, types: Iterable[str] | None = None) -> Spans:
    """The spans of each document; null has none. `types`: default all."""
    chosen = patterns(None if types is None else tuple(types))
    data, offsets = text_buffers(text)
    rows, ends, masks = places(data, offsets, chosen.machine)
    found: list[tuple[int, int, int, int]] = []
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    for at, until in pairwise([*first.tolist(), len(rows)]):
        row = int(rows[at])
        narrow = _narrow(data, int(offsets[row]), int(offsets[row + 1]))
        for start, end, entry in _in_text(narrow, ends[at:until].tolist(), masks[at:until].tolist(), chosen.entries,
                                          chosen.machine.widths):  # fmt: skip
            found.append((row, start, end, chosen.places[entry]))
    return Spans.build(found, chosen.names)


def _in_text(
    narrow: str, ends: list[int], masks: list[int], chosen: tuple[Entry, ...], widths: tuple[int, ...]
) -> list[tuple[int, int, int]]:
    """(start, end, place of the entry) of each span, by entries in their order."""
    if len(masks) == 1:
        seen = masks[0]
    else:
        seen = 0
        for mask in masks:
            seen |= mask
    taken: list[tuple[int, int, int]] = []
    while seen:
        place = (seen & -seen).bit_length() - 1
        seen &= seen - 1
        entry = chosen[place]
        bit = 1 << place
        mine = [end for end, mask in zip(ends, masks, strict=True) if mask & bit]
        windows = _windows(mine, widths[place] + entry.lead, entry.longest + _AFTER)
        _accept(narrow, entry, place, _matches(narrow, entry, windows), taken)
    return taken


def _windows(ends: list[int], reach: int, gap: int) -> list[tuple[int, int]]:
    """Where a match may begin: `reach` before each end. Those that a search would cross anyway are one."""
    low, high = max(0, ends[0] - reach), ends[0]
    windows = []
    for end in ends:
        if end - reach > high + gap:
            windows.append((low, high))
            low = end - reach
        high = end
    windows.append((low, high))
    return windows


def _matches(narrow: str, entry: Entry, windows: Iterable[tuple[int, int]]) -> Iterator[re.Match[str]]:
    """What `entry.pattern.finditer(narrow)` gives, knowing that every match begins inside a window."""
    at = 0
    search = entry.pattern.search
    for low, high in windows:
        at = max(at, low)
        while at < high:
            match = search(narrow, at, high + entry.longest + _AFTER)
            if match is None or match.start() >= high:
                at = high
            else:
                yield match
                at = match.end()


def _accept(
    narrow: str, entry: Entry, place: int, matches: Iterable[re.Match[str]], taken: list[tuple[int, int, int]]
) -> None:
    """Add to `taken`, which stays in order, what passes the validator and touches nothing in it."""
    named = "value" in entry.pattern.groupindex
    for match in matches:
        start, end = match.span("value") if named else match.span()
        place_in_order = bisect_left(taken, (end, 0, 0))
        if place_in_order and taken[place_in_order - 1][1] > start:
            continue
        low = max(0, start - CONTEXT, taken[place_in_order - 1][1] if place_in_order else 0)
        before, after = _VALUES.sub("", narrow[low:start]), narrow[end : end + CONTEXT]
        if entry.validator is None or entry.validator(narrow[start:end], before, after):
            taken.insert(place_in_order, (start, end, place))


def everywhere(text: str, types: Iterable[str] | None = None) -> list[Span]:
    """The spans of one text by plain `re` over all of it: the oracle of `find`, and its measure of speed."""
    chosen = entries(types)
    narrow = text.translate(_NARROW)
    taken: list[tuple[int, int, int]] = []
    for place, entry in enumerate(chosen):
        _accept(narrow, entry, place, entry.pattern.finditer(narrow), taken)
    return sorted(Span(start, end, chosen[place].type) for start, end, place in taken)


def _narrow(data: npt.NDArray[np.uint8], start: int, end: int) -> str:
    """One document with full-width forms as ASCII, character for character."""
    out = np.empty(end - start, np.uint8)
    return out[: _fold(data[start:end], out)].tobytes().decode()


@njit(cache=True, nogil=True)
def _fold(data: np.ndarray, out: np.ndarray) -> int:
    n = 0
    i = 0
    while i < data.size:
        byte = data[i]
        if byte == 0xEF and i + 2 < data.size:
            if data[i + 1] == 0xBC and data[i + 2] >= 0x81:
                byte = data[i + 2] - 0x60
                i += 2
            elif data[i + 1] == 0xBD and data[i + 2] <= 0x9E:
                byte = data[i + 2] - 0x20
                i += 2
        i += 1
        out[n] = byte
        n += 1
    return n
