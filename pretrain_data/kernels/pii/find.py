"""Finds personal data: an automaton names the places, `re` and the validators decide there and only there.

The spans are those that every pattern would give over the whole text with `re.finditer`, and again over what is
left until nothing more is found (`everywhere`, the oracle of the tests): an entry's scan is a necessary condition for
its pattern, a match begins within known reach before the scan's end, and none is longer than the pattern allows.
Documents without a place are never decoded.
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
from pretrain_data.kernels.pii.types import Entry, Patterns, entries, patterns
from pretrain_data.kernels.textscan import text_buffers

CONTEXT = 24  # characters before and after a span that a validator sees
_AFTER = 16  # characters that a look-ahead at the end of a pattern may see

#: A context ends where another value (or the placeholder of one) stood: else its replacement would let a validator
#: see further, and a second scrubbing find more.
_VALUES = re.compile(r".*[0-9@|]", re.DOTALL)

#: Full-width ASCII to ASCII, one code point for one, so that offsets stay.
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


def find(text: pa.Array, types: Iterable[str] | None = None, disguised: bool = True) -> Spans:
    """The spans of each document; null has none.

    `types`: default all; `disguised`: those too that are written to escape machines, `name [at] site [dot] org`.
    """
    chosen = patterns(None if types is None else tuple(types), disguised)
    texts: dict[int, str] = {}
    taken: dict[int, list[tuple[int, int, int]]] = {}
    data, offsets = text_buffers(text)
    for row, ends, masks in _places(data, offsets, chosen):
        narrow = _narrow(data, int(offsets[row]), int(offsets[row + 1]))
        mine: list[tuple[int, int, int]] = []
        _in_text(narrow, ends, masks, chosen, mine)
        if mine:
            texts[row], taken[row] = narrow, mine
    pending = list(taken)
    while pending:  # once more where something was found, until nothing is
        masked = [_masked(texts[row], taken[row]) for row in pending]
        data, offsets = text_buffers(pa.array(masked, pa.large_string()))
        more = []
        for i, ends, masks in _places(data, offsets, chosen):
            if _in_text(masked[i], ends, masks, chosen, taken[pending[i]]):
                more.append(pending[i])
        pending = more
    found = ((row, start, end, chosen.places[entry]) for row, mine in taken.items() for start, end, entry in mine)
    return Spans.build(found, chosen.names)


def _places(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], chosen: Patterns
) -> Iterator[tuple[int, list[int], list[int]]]:
    """Each document with places: its row, the ends and the masks of entries."""
    rows, ends, masks = places(data, offsets, chosen.machine)
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    for at, until in pairwise([*first.tolist(), len(rows)]):
        yield int(rows[at]), ends[at:until].tolist(), masks[at:until].tolist()


def _masked(narrow: str, taken: list[tuple[int, int, int]]) -> str:
    """The text as its scrubbed twin looks to a pattern: a sign that none of them holds in each span's place.

    What touched a span may match when it is gone: without this a second scrubbing would find more than the first.
    """
    pieces, at = [], 0
    for start, end, _ in taken:
        pieces += [narrow[at:start], "|" * (end - start)]
        at = end
    return "".join([*pieces, narrow[at:]])


def _in_text(
    narrow: str, ends: list[int], masks: list[int], chosen: Patterns, taken: list[tuple[int, int, int]]
) -> bool:
    """Add (start, end, place of the entry) of each span to `taken`, by entries in order; whether there is one."""
    before = len(taken)
    if len(masks) == 1:
        seen = masks[0]
    else:
        seen = 0
        for mask in masks:
            seen |= mask
    while seen:
        place = (seen & -seen).bit_length() - 1
        seen &= seen - 1
        entry = chosen.entries[place]
        bit = 1 << place
        mine = [end for end, mask in zip(ends, masks, strict=True) if mask & bit]
        windows = _windows(mine, chosen.machine.widths[place] + entry.lead, entry.longest + _AFTER)
        _accept(narrow, entry, place, _matches(narrow, entry, windows), taken)
    return len(taken) > before


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


def everywhere(text: str, types: Iterable[str] | None = None, once: bool = False) -> list[Span]:
    """The spans of one text by plain `re` over all of it: the oracle of `find`.

    With `once` no pattern is tried again on what is left: what plain patterns do elsewhere, and our measure of speed.
    """
    chosen = entries(types)
    narrow = text.translate(_NARROW)
    taken: list[tuple[int, int, int]] = []
    before = -1
    while len(taken) > max(before, 0) or before < 0:
        before = len(taken)
        for place, entry in enumerate(chosen):
            _accept(narrow, entry, place, entry.pattern.finditer(narrow), taken)
        narrow = _masked(narrow, taken)
        if once:
            break
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
