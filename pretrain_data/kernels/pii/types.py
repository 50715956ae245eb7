"""The types of personal data, compiled from wordlists/pii.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import yaml

from pretrain_data.kernels.multipattern import Machine, compile_groups
from pretrain_data.kernels.pii.validators import VALIDATORS, Validator

#: Types that are found by other means than a pattern.
OTHERS = ("PERSON",)


@dataclass(frozen=True)
class Entry:
    """One pattern of a type. Its matches have `longest` characters at most."""

    name: str
    type: str
    group: str
    scan: str
    lead: int
    pattern: re.Pattern[str]
    longest: int
    validator: Validator | None


@dataclass(frozen=True)
class Patterns:
    """Some entries, in the order in which they are tried, and the machine that finds their places."""

    entries: tuple[Entry, ...]
    machine: Machine
    names: tuple[str, ...]  # of their types
    places: tuple[int, ...]  # of each entry's type in `names`


@cache
def data() -> dict[str, Any]:
    """The content of wordlists/pii.yaml."""
    text = (resources.files("pretrain_data.wordlists") / "pii.yaml").read_text("utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


@cache
def known_types() -> tuple[str, ...]:
    """Names of all types, those of patterns in the order in which they are tried."""
    return tuple(dict.fromkeys([entry.get("type", name) for name, entry in data()["types"].items()] + list(OTHERS)))


def weak_types() -> tuple[str, ...]:
    """Types that a place alone doesn't make personal."""
    return tuple(data()["weak"])


def secret_types() -> tuple[str, ...]:
    """Types that never stay in clear."""
    return tuple(data()["secrets"])


def entries(types: Iterable[str] | None = None, disguised: bool = True) -> tuple[Entry, ...]:
    """The entries of these types; default: of all. `disguised`: those too that are written to escape machines."""
    wanted = known_types() if types is None else tuple(types)
    found = (_entry(name) for name, entry in data()["types"].items() if disguised or not entry.get("disguised"))
    return tuple(entry for entry in found if entry.type in wanted)


@cache
def patterns(types: tuple[str, ...] | None = None, disguised: bool = True) -> Patterns:
    """Entries of these types with their machine; built once a process (about a second for all)."""
    chosen = entries(types, disguised)
    names = tuple(dict.fromkeys(entry.type for entry in chosen))
    groups: dict[str, list[tuple[int, str]]] = {}
    for bit, entry in enumerate(chosen):
        groups.setdefault(entry.group, []).append((bit, entry.scan))
    machine = compile_groups(list(groups.values()), len(chosen))
    return Patterns(chosen, machine, names, tuple(names.index(entry.type) for entry in chosen))


@cache
def _entry(name: str) -> Entry:
    entry = data()["types"][name]
    pattern = re.sub(r"<<(\w+)>>", lambda match: "|".join(_words(match[1])), entry["pattern"])
    longest = int(_parser.parse(pattern).getwidth()[1])
    if longest > 10_000:
        raise ValueError(f"{name}: a repeat without a bound")
    validator = VALIDATORS[entry["validator"]] if "validator" in entry else None
    kind, lead = entry.get("type", name), entry.get("lead", 0)
    return Entry(name, kind, entry["group"], entry["scan"], lead, re.compile(pattern), longest, validator)


def _words(name: str) -> list[str]:
    """A list's words, the longer ones first, so that none hides a longer one; regular expressions as they stand."""
    words: list[str] = data()["lists"][name]
    return words if any("[" in word for word in words) else sorted(words, key=lambda word: (-len(word), word))
