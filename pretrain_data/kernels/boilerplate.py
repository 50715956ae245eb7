"""Removes lines that are about a page and not of its text: reprint notices, credits, reference lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import pyarrow as pa
import yaml


@dataclass(frozen=True)
class Rules:
    """wordlists/boilerplate.yaml, compiled."""

    line: re.Pattern[str]
    max_chars: int
    heading: re.Pattern[str]
    entry: re.Pattern[str]
    min_share: float


@cache
def _rules() -> Rules:
    text = (resources.files("pretrain_data.wordlists") / "boilerplate.yaml").read_text("utf-8")
    data = yaml.safe_load(text)
    patterns = [p for language in ("zh", "en") for p in data["lines"][language]]
    # `(?i)` must stand at the head of a pattern of its own: as a group it holds for its part alone.
    joined = "|".join(f"(?i:{p[4:]})" if p.startswith("(?i)") else f"(?:{p})" for p in patterns)
    tails = data["tails"]
    return Rules(
        re.compile(joined),
        data["lines"]["max_chars"],
        re.compile(tails["headings"]),
        re.compile(tails["entry"]),
        tails["min_share"],
    )


def remove(text: str) -> str:
    """The text without such lines. Applying it twice changes nothing more."""
    rules = _rules()
    lines = text.split("\n")
    kept = [line for line in _without_references(lines, rules) if not _is_boilerplate(line, rules)]
    return text if len(kept) == len(lines) else "\n".join(kept).strip("\n")


def remove_all(text: pa.Array) -> list[str]:
    """`remove` for each document; null is an empty text."""
    return [remove(value or "") for value in text.to_pylist()]


def _is_boilerplate(line: str, rules: Rules) -> bool:
    stripped = line.strip()
    return 0 < len(stripped) <= rules.max_chars and rules.line.search(stripped) is not None


def _without_references(lines: list[str], rules: Rules) -> list[str]:
    """Cut a list of references: its heading and the lines below it, as long as they look like entries."""
    for at, line in enumerate(lines):
        if len(line) > 60 or not rules.heading.match(line):
            continue
        end = at + 1
        misses = entries = 0
        last = at + 1
        while end < len(lines) and misses < 2:
            if lines[end].strip():
                if rules.entry.search(lines[end]):
                    entries += 1
                    misses = 0
                    last = end + 1
                else:
                    misses += 1
            end += 1
        below = sum(1 for candidate in lines[at + 1 : last] if candidate.strip())
        if entries >= 2 and entries >= rules.min_share * below:
            return lines[:at] + _without_references(lines[last:], rules)
    return lines
