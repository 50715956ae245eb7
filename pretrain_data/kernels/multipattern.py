"""Many regular expressions as automata run over Arrow buffers: where could something stand?

The expressions become three deterministic automata over bytes (Thompson's construction, then the subset
construction; Aho, Sethi and Ullman, Compilers, 3.7) that run side by side: three table look-ups a byte find the
ends of all of them, in time that no text can change. One automaton of all would multiply their states.
Full-width forms are read as their ASCII twins. A match is one entry of an array, where bindings of native
engines call a Python function for it.

Understood is what a place needs to be named: characters, classes, groups, alternatives, bounded repeats and
`(?i:...)` for ASCII letters. Look-around, anchors and unbounded repeats are refused. A text counts as preceded
by a line break, so that `[^0-9]` before a number holds at its beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from re import _constants as sre  # type: ignore[attr-defined]  # isort: skip
from re import _parser  # type: ignore[attr-defined]  # isort: skip

MAX_PATTERNS = 64
MAX_STATES = 1 << 15
MAX_REPEAT = 64

#: A byte that no negated class excludes stands for all bytes of other scripts.
_HIGH = frozenset(range(0x80, 0x100))


@dataclass(frozen=True)
class Automaton:
    """Compiled patterns: next state by state and class of byte, and what ends in each state."""

    classes: npt.NDArray[np.uint8]  # class of each byte
    moves: npt.NDArray[np.int32]  # (states, classes): the row of the next state, as an offset into it
    accepts: npt.NDArray[np.uint64]  # one bit a pattern, by state
    start: int  # the row of the first state
    accepting: int  # the number of the first state in which something ends; the later ones all do
    widths: tuple[int, ...]  # most characters that a match of each pattern has

    @property
    def states(self) -> int:
        return len(self.accepts)


class _Builder:
    """A nondeterministic automaton: for each state its empty moves, and at most one move over a set of bytes."""

    def __init__(self) -> None:
        self.empty: list[list[int]] = []
        self.over: list[tuple[frozenset[int], int] | None] = []

    def state(self) -> int:
        self.empty.append([])
        self.over.append(None)
        return len(self.over) - 1

    def byte(self, at: int, allowed: frozenset[int]) -> int:
        middle, end = self.state(), self.state()
        self.empty[at].append(middle)
        self.over[middle] = (allowed, end)
        return end

    def text(self, at: int, encoded: bytes) -> int:
        for byte in encoded:
            at = self.byte(at, frozenset((byte,)))
        return at

    def characters(self, at: int, wanted: Iterable[int], negated: bool, ignore_case: bool) -> int:
        """One character of a set; a negated set may name ASCII only, and a byte above it counts as another one."""
        codes = set(wanted)
        if ignore_case:
            codes |= {ord(c) for code in codes if code < 0x80 for c in (chr(code).lower(), chr(code).upper())}
        if negated:
            if max(codes) >= 0x80:
                raise ValueError("a negated class may hold ASCII only")
            return self.byte(at, (frozenset(range(0x80)) - codes) | _HIGH)
        narrow = frozenset(code for code in codes if code < 0x80)
        ends = [self.byte(at, narrow)] if narrow else []
        by_head: dict[bytes, set[int]] = {}
        for code in codes - narrow:
            encoded = chr(code).encode()
            by_head.setdefault(encoded[:-1], set()).add(encoded[-1])
        ends += [self.byte(self.text(at, head), frozenset(tails)) for head, tails in sorted(by_head.items())]
        return self.join(ends)

    def join(self, ends: Sequence[int]) -> int:
        if len(ends) == 1:
            return ends[0]
        end = self.state()
        for one in ends:
            self.empty[one].append(end)
        return end

    def sequence(self, at: int, nodes: Iterable[tuple[Any, Any]], ignore_case: bool) -> int:
        for node in nodes:
            at = self.node(at, node, ignore_case)
        return at

    def node(self, at: int, node: tuple[Any, Any], ignore_case: bool) -> int:
        """Add one node of what Python's own parser made of the pattern; returns the state behind it."""
        kind, what = node
        if kind is sre.LITERAL or kind is sre.NOT_LITERAL:
            return self.characters(at, [int(what)], kind is sre.NOT_LITERAL, ignore_case)
        if kind is sre.IN:
            items = list(what)
            negated = items[0][0] is sre.NEGATE
            codes: set[int] = set()
            for op, value in items[negated:]:
                if op is sre.LITERAL:
                    codes.add(value)
                elif op is sre.RANGE:
                    codes.update(range(value[0], value[1] + 1))
                else:
                    raise ValueError(f"not understood in a class: {op}")
            return self.characters(at, codes, negated, ignore_case)
        if kind is sre.SUBPATTERN:
            _, added, _, inner = what
            return self.sequence(at, inner, ignore_case or bool(added & re.IGNORECASE))
        if kind is sre.BRANCH:
            return self.join([self.sequence(at, branch, ignore_case) for branch in what[1]])
        if kind is sre.MAX_REPEAT:
            least, most, inner = what
            if most > MAX_REPEAT:
                raise ValueError("an unbounded or very long repeat")
            for _ in range(least):
                at = self.sequence(at, inner, ignore_case)
            ends = [at]
            for _ in range(most - least):
                at = self.sequence(at, inner, ignore_case)
                ends.append(at)
            return self.join(ends)
        raise ValueError(f"not understood: {kind}")


def compile_patterns(patterns: Sequence[str]) -> Automaton:
    """One automaton for all patterns, whose bits are their places in the sequence.

    Raises ValueError for a pattern that is not understood or can be empty, and for too many states.
    """
    if len(patterns) > MAX_PATTERNS:
        raise ValueError(f"at most {MAX_PATTERNS} patterns")
    builder = _Builder()
    start = builder.state()
    ends: dict[int, int] = {}
    widths = []
    for bit, pattern in enumerate(patterns):
        parsed = _parser.parse(pattern)
        least, most = parsed.getwidth()
        if least == 0:
            raise ValueError(f"can be empty: {pattern}")
        try:
            end = builder.sequence(start, parsed, False)
        except ValueError as error:
            raise ValueError(f"{pattern}: {error}") from None
        ends[end] = bit
        widths.append(int(most))
    return _determine(builder, start, ends, tuple(widths))


def _determine(builder: _Builder, start: int, ends: dict[int, int], widths: tuple[int, ...]) -> Automaton:
    """Subset construction; the start belongs to every set, since a match may begin anywhere."""
    closures = [sum(1 << one for one in _closure(builder, state)) for state in range(len(builder.over))]
    signature: dict[int, list[int]] = {byte: [] for byte in range(256)}
    for at, move in enumerate(builder.over):
        if move is not None:
            for byte in move[0]:
                signature[byte].append(at)
    groups: dict[tuple[int, ...], int] = {}
    classes = np.array([groups.setdefault(tuple(signature[byte]), len(groups)) for byte in range(256)], np.uint8)
    classes_of: dict[int, list[int]] = {}
    for member, number in groups.items():
        for at in member:
            classes_of.setdefault(at, []).append(number)
    movers = sum(1 << at for at in classes_of)

    first = closures[start]  # sets of states are bits of an int
    numbers = {first: 0}
    order = [first]
    rows: list[list[int]] = []
    while len(rows) < len(order):
        reached: dict[int, int] = {}
        moving = order[len(rows)] & movers
        while moving:
            at = (moving & -moving).bit_length() - 1
            moving &= moving - 1
            move = builder.over[at]
            assert move is not None
            target = closures[move[1]]
            for number in classes_of[at]:
                reached[number] = reached.get(number, first) | target
        row = [0] * len(groups)
        for number, state in reached.items():
            if state not in numbers:
                if len(order) == MAX_STATES:
                    raise ValueError(f"the patterns need more than {MAX_STATES} states")
                numbers[state] = len(order)
                order.append(state)
            row[number] = numbers[state]
        rows.append(row)
    ending = {1 << at: 1 << bit for at, bit in ends.items()}
    masks = np.array([sum(bit for at, bit in ending.items() if state & at) for state in order], np.uint64)
    # Accepting states stand last, so that the scan knows one by its number.
    places = np.argsort(masks != 0, kind="stable")
    new = np.empty(len(order), np.int32)
    new[places] = np.arange(len(order), dtype=np.int32)
    moves = new[np.array(rows, np.int32)][places] * np.int32(len(groups))
    return Automaton(classes, moves, masks[places], int(new[0]) * len(groups), int((masks == 0).sum()), widths)


def _closure(builder: _Builder, state: int) -> set[int]:
    found, todo = {state}, [state]
    while todo:
        for one in builder.empty[todo.pop()]:
            if one not in found:
                found.add(one)
                todo.append(one)
    return found


@dataclass(frozen=True)
class Machine:
    """Three automata in one table, and the widths of all patterns in the order of their bits."""

    classes: npt.NDArray[np.uint8]  # (3, 256)
    table: npt.NDArray[np.int32]  # next state of all three, as places in this table
    accepts: npt.NDArray[np.uint64]  # bits of the patterns that end, for each place that is a state
    starts: npt.NDArray[np.int32]
    accepting: npt.NDArray[np.int32]  # first place whose state ends something
    widths: tuple[int, ...]


def compile_groups(groups: Sequence[Sequence[tuple[int, str]]], patterns: int) -> Machine:
    """Machine of at most three groups of (bit, pattern); the bits are 0 to `patterns` - 1, each used once."""
    if len(groups) > 3:
        raise ValueError("at most three groups")
    widths = [0] * patterns
    classes, tables, accepts, starts, accepting = [], [], [], [], []
    at = 0
    for group in [*groups, *[[]] * (3 - len(groups))]:
        made = compile_patterns([pattern for _, pattern in group])
        states, width = made.moves.shape
        for (bit, _), most in zip(group, made.widths, strict=True):
            widths[bit] = most
        classes.append(made.classes)
        tables.append(made.moves.ravel() + np.int32(at))
        ended = np.zeros(states * width, np.uint64)
        for place, (bit, _) in enumerate(group):
            ended[::width] |= (made.accepts >> np.uint64(place) & np.uint64(1)) << np.uint64(bit)
        accepts.append(ended)
        starts.append(at + made.start)
        accepting.append(at + made.accepting * width)
        at += states * width
    return Machine(
        np.stack(classes),
        np.concatenate(tables),
        np.concatenate(accepts),
        np.array(starts, np.int32),
        np.array(accepting, np.int32),
        tuple(widths),
    )


@njit(cache=True, nogil=True)
def _scan(
    data: np.ndarray,
    offsets: np.ndarray,
    first: int,
    classes: np.ndarray,
    table: np.ndarray,
    accepts: np.ndarray,
    starts: np.ndarray,
    accepting: np.ndarray,
    rows: np.ndarray,
    ends: np.ndarray,
    masks: np.ndarray,
) -> tuple[int, int]:
    """Fill the arrays from document `first` on; returns how many places, and the first document not done."""
    class0, class1, class2 = classes[0], classes[1], classes[2]
    last0, last1, last2 = accepting[0], accepting[1], accepting[2]
    n = 0
    for row in range(first, offsets.size - 1):
        began = n
        state0 = table[starts[0] + class0[10]]  # as after a line break
        state1 = table[starts[1] + class1[10]]
        state2 = table[starts[2] + class2[10]]
        point = 0
        i = offsets[row]
        end = offsets[row + 1]
        while i < end:
            byte = data[i]
            if byte == 0xEF and i + 2 < end:
                if data[i + 1] == 0xBC and data[i + 2] >= 0x81:  # U+FF01 to U+FF3F
                    byte = data[i + 2] - 0x60
                    i += 2
                elif data[i + 1] == 0xBD and data[i + 2] <= 0x9E:  # U+FF40 to U+FF5E
                    byte = data[i + 2] - 0x20
                    i += 2
            i += 1
            point += (byte & 0xC0) != 0x80
            state0 = table[state0 + class0[byte]]
            state1 = table[state1 + class1[byte]]
            state2 = table[state2 + class2[byte]]
            if state0 >= last0 or state1 >= last1 or state2 >= last2:  # each stays in its own stretch of the table
                if n == rows.size:
                    return began, row
                rows[n], ends[n] = row, point
                masks[n] = accepts[state0] | accepts[state1] | accepts[state2]
                n += 1
    return n, offsets.size - 1


def places(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], machine: Machine
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
    """Row, end in code points and mask of patterns of every place where one ends, in order.

    `data` and `offsets` as from `textscan.text_buffers`.
    """
    m = machine
    found = []
    first, size = 0, 4096
    while first < len(offsets) - 1:
        rows, ends, masks = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.uint64)
        n, first = _scan(data, offsets, first, m.classes, m.table, m.accepts, m.starts, m.accepting, rows, ends, masks)
        found.append((rows[:n], ends[:n], masks[:n]))
        size *= 4
    if not found:
        return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.uint64)
    rows, ends, masks = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, ends, masks
