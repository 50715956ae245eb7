"""Removes lines that are about a page and not of its text: reprint notices, credits, reference lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml


@dataclass(frozen=True)
class Rules:
    """wordlists/boilerplate.yaml, compiled."""

    line: re.Pattern[str]
    edge: re.Pattern[str]
    max_chars: int
    heading: re.Pattern[str]
    entry: re.Pattern[str]
    min_share: float


@cache
def _rules() -> Rules:
    text = (resources.files("pretrain_data.wordlists") / "boilerplate.yaml").read_text("utf-8")
    data = yaml.safe_load(text)
    tails = data["tails"]
    return Rules(
        _joined([p for language in ("zh", "en") for p in data["lines"][language]]),
        _joined(data["edges"]),
        data["lines"]["max_chars"],
        re.compile(tails["headings"]),
        re.compile(tails["entry"]),
        tails["min_share"],
    )


def _joined(patterns: list[str]) -> re.Pattern[str]:
    # `(?i)` may only head a whole pattern; as a group it holds for its part alone.
    return re.compile("|".join(f"(?i:{p[4:]})" if p.startswith("(?i)") else f"(?:{p})" for p in patterns))


def remove(text: str) -> str:
    """The text without such lines. Applying it twice changes nothing more."""
    rules = _rules()
    lines = text.split("\n")
    kept = [line for line in _without_references(lines, rules) if not _matches(line, rules.line, rules)]
    kept = _without_edges(kept, rules)
    return text if len(kept) == len(lines) else "\n".join(kept).strip("\n")


def _matches(line: str, pattern: re.Pattern[str], rules: Rules) -> bool:
    stripped = line.strip()
    return 0 < len(stripped) <= rules.max_chars and pattern.search(stripped) is not None


def _without_edges(lines: list[str], rules: Rules) -> list[str]:
    """Cut such lines from both ends, until a line that is none."""
    filled = [i for i, line in enumerate(lines) if line.strip()]
    while filled and _matches(lines[filled[0]], rules.edge, rules):
        filled.pop(0)
    while filled and _matches(lines[filled[-1]], rules.edge, rules):
        filled.pop()
    whole = len(filled) == sum(1 for line in lines if line.strip())
    return lines if whole else lines[filled[0] : filled[-1] + 1] if filled else []


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
