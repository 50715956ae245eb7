"""Removes lines that are about a page and not of its text: reprint notices, credits, reference lists.

An automaton over the Arrow buffer names the documents that could have one (`scan` in wordlists/boilerplate.yaml); only
those are decoded, and the rest is copied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from pretrain_data.kernels import keywords
from pretrain_data.kernels.multipattern import Machine, compile_groups, places
from pretrain_data.kernels.textscan import text_buffers

_LONGEST_HEADING = 60
_LONGEST_LINE = 4000  # with white space around it; a longer one is never looked at


@dataclass(frozen=True)
class Rules:
    """wordlists/boilerplate.yaml, compiled."""

    line: re.Pattern[str]
    edge: re.Pattern[str]
    max_chars: int
    heading: re.Pattern[str]
    entry: re.Pattern[str]
    min_share: float
    scan: Machine


@cache
def _rules() -> Rules:
    text = (resources.files("pretrain_data.wordlists") / "boilerplate.yaml").read_text("utf-8")
    data = yaml.safe_load(text)
    tails = data["tails"]
    scan = [[(bit, _with_variants("|".join(data["scan"][name])))] for bit, name in enumerate(("zh", "en"))]
    return Rules(
        _joined([p for language in ("zh", "en") for p in data["lines"][language]]),
        _joined(data["edges"]),
        data["lines"]["max_chars"],
        re.compile(tails["headings"]),
        re.compile(tails["entry"]),
        tails["min_share"],
        compile_groups(scan, len(scan)),
    )


def _joined(patterns: list[str]) -> re.Pattern[str]:
    # `(?i)` may only head a whole pattern; as a group it holds for its part alone.
    return re.compile("|".join(f"(?i:{p[4:]})" if p.startswith("(?i)") else f"(?:{p})" for p in patterns))


@cache
def _folding() -> dict[int, str]:
    """Traditional to simplified, full-width to half-width, one character for one."""
    return keywords.folding()


def _folded(line: str) -> str:
    return line.translate(_folding())


def _with_variants(pattern: str) -> str:
    """The pattern with each Han character as the class of all that fold to it."""
    twins: dict[str, str] = {}
    for code, char in _folding().items():
        twins[char] = twins.get(char, "") + chr(code)
    return "".join(f"[{c}{twins[c]}]" if c >= "一" and c in twins else c for c in pattern)


def remove(text: pa.Array, wanted: pa.Array | None = None) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The texts (large_string) without such lines, and how many characters of each went.

    Only rows that are true in `wanted` are looked at; default: all. Twice is as once.
    """
    data, offsets = text_buffers(text)
    rows, ends, _ = places(data, offsets, _rules().scan)
    if wanted is not None:
        asked = pc.fill_null(wanted, False).to_numpy(zero_copy_only=False)[rows]
        rows, ends = rows[asked], ends[asked]
    gone = np.zeros(len(text), np.int64)
    shorter: dict[int, str] = {}
    first = np.flatnonzero(np.diff(rows, prepend=-1)).tolist()
    for at, until in pairwise([*first, len(rows)]):
        row = int(rows[at])
        value = data[offsets[row] : offsets[row + 1]].tobytes().decode()
        kinds = _kinds(value, ends[at:until].tolist())
        if any(kinds):
            new = remove_in(value, *kinds)
            if len(new) < len(value):
                shorter[row] = new
                gone[row] = len(value) - len(new)
    text = text.cast(pa.large_string()).fill_null("")
    if not shorter:
        return text, gone
    changed = np.zeros(len(text), bool)
    changed[list(shorter)] = True
    return pc.replace_with_mask(text, pa.array(changed), pa.array(list(shorter.values()), pa.large_string())), gone


def _kinds(text: str, ends: list[int]) -> tuple[bool, bool, bool]:
    """Whether a line in which something ends is boilerplate, such at an edge, or the heading of a list."""
    rules = _rules()
    line_found = edge_found = heading_found = False
    until = 0
    for end in ends:
        if end <= until:
            continue
        low = text.rfind("\n", 0, end) + 1
        until = text.find("\n", end)
        until = len(text) if until < 0 else until
        if until - low > _LONGEST_LINE:
            continue
        line = text[low:until]
        line_found = line_found or _matches(line, rules.line, rules)
        edge_found = edge_found or _matches(line, rules.edge, rules)
        heading_found = heading_found or _is_heading(line, rules)
    return line_found, edge_found, heading_found


def remove_in(text: str, line_found: bool = True, edge_found: bool = True, heading_found: bool = True) -> str:
    """One text without such lines; what is known not to be in it isn't looked for."""
    rules = _rules()
    kept = lines = text.split("\n")
    if heading_found:
        kept = _without_references(kept, rules)
    if line_found:
        kept = [line for line in kept if not _matches(line, rules.line, rules)]
    if edge_found:
        kept = _without_edges(kept, rules)
    return text if len(kept) == len(lines) else "\n".join(kept).strip("\n")


def _matches(line: str, pattern: re.Pattern[str], rules: Rules) -> bool:
    stripped = line.strip() if len(line) <= _LONGEST_LINE else ""
    return 0 < len(stripped) <= rules.max_chars and pattern.search(_folded(stripped)) is not None


def _is_heading(line: str, rules: Rules) -> bool:
    return len(line) <= _LONGEST_HEADING and rules.heading.match(_folded(line)) is not None


def _without_edges(lines: list[str], rules: Rules) -> list[str]:
    """Cut such lines from both ends, until a line that is none."""
    first, last = 0, len(lines)
    while True:
        at = next((i for i in range(first, last) if lines[i].strip()), last)
        if at == last or not _matches(lines[at], rules.edge, rules):
            break
        first = at + 1
    while True:
        at = next((i for i in range(last - 1, first - 1, -1) if lines[i].strip()), first - 1)
        if at < first or not _matches(lines[at], rules.edge, rules):
            break
        last = at
    return lines if (first, last) == (0, len(lines)) else lines[first:last]


def _without_references(lines: list[str], rules: Rules) -> list[str]:
    """Cut lists of references: a heading and the lines below it, as long as they look like entries."""
    kept: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        below = _references(lines, at, rules) if _is_heading(line, rules) else at
        if below == at:
            kept.append(line)
            at += 1
        else:
            at = below
    return kept


def _references(lines: list[str], at: int, rules: Rules) -> int:
    """The end of the list of references that the heading at `at` begins; `at` where there is none."""
    end = last = at + 1
    misses = entries = filled = below = 0
    while end < len(lines) and misses < 2:
        if lines[end].strip():
            filled += 1
            if rules.entry.search(lines[end]):
                entries += 1
                misses = 0
                last, below = end + 1, filled
            else:
                misses += 1
        end += 1
    return last if entries >= 2 and entries >= rules.min_share * below else at
