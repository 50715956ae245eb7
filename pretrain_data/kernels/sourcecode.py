"""Files of source trees: their language, and whether somebody wrote them here.

Copies of others' work and what generators wrote make up much of what repositories hold. Names, folders and words
that tell are data: wordlists/programming_languages.yaml and wordlists/source_trees.yaml.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent.parent / "wordlists"
FILES = (FOLDER / "programming_languages.yaml", FOLDER / "source_trees.yaml")
TOLD_CHARS = 50_000  # looked at to tell languages apart
HEAD_CHARS = 20_000  # looked at for a generator's words
LINE_CHARS = 400
_INTERPRETER = re.compile(r"^#!\s*(\S+)(?:\s+(?:-\S+\s+)*(\S+))?")


@dataclass(frozen=True)
class Languages:
    """By suffix, by whole name, by interpreter; and what tells apart the languages that share a suffix."""

    suffixes: dict[str, str]
    names: dict[str, str]
    interpreters: dict[str, str]
    told_apart: dict[str, list[tuple[str, re.Pattern[str]]]]


@dataclass(frozen=True)
class Rules:
    """What is a copy, and what a program wrote."""

    dependencies: re.Pattern[str]
    vendored: re.Pattern[str]
    vendored_names: re.Pattern[str]
    generated_names: re.Pattern[str]
    generated: re.Pattern[str]
    comment: re.Pattern[str]
    generated_lines: int
    minified_line: int
    minified_share: float


def language(path: str, text: str = "") -> str | None:
    """Programming language of a file by its name and its content; None where neither tells."""
    known = languages()
    name = path.rpartition("/")[2]
    if name in known.names:
        return known.names[name]
    suffix = Path(name).suffix.lower()
    if suffix in known.told_apart:
        head = text[:TOLD_CHARS]
        return next((n for n, p in known.told_apart[suffix] if p.search(head)), known.suffixes.get(suffix))
    if suffix in known.suffixes:
        return known.suffixes[suffix]
    return interpreter_language(text[:LINE_CHARS])


def interpreter_language(first: str) -> str | None:
    """Language of a script by its first line (`#!`)."""
    found = _INTERPRETER.match(first)
    if not found:
        return None
    program = found[1].rpartition("/")[2]
    if program == "env" and found[2]:
        program = found[2]
    known = languages().interpreters
    return known.get(program) or known.get(program.rstrip("0123456789."))


def vendored(path: str, code: bool) -> str | None:
    """The part of a path (with `/`) that says that the file is a copy of others' work; None where none does.

    Of files that aren't `code` only those in folders of package managers are taken for copies.
    """
    found = rules().dependencies.search(path)
    if found is None and code:
        found = rules().vendored.search(path) or rules().vendored_names.fullmatch(path.rpartition("/")[2])
    return found[0].strip("/") if found else None


def generated_by_name(path: str) -> str | None:
    """The name of a file that is one which programs write; None where it isn't."""
    name = path.rpartition("/")[2]
    return name if rules().generated_names.fullmatch(name) else None


def generated(text: str) -> str | None:
    """The words in the comments at its top that say that a program wrote a file; None where none do."""
    known = rules()
    lines = text[:HEAD_CHARS].split("\n", known.generated_lines)[: known.generated_lines]
    comments = [line[:LINE_CHARS].strip() for line in lines if known.comment.match(line)]
    found = known.generated.search(" ".join(comments))
    return " ".join(found[0].split())[:200] if found else None


def share_in_long_lines(text: str) -> float:
    """Share of the characters that stand in lines longer than any that people write."""
    limit = rules().minified_line
    if len(text) <= limit:
        return 0.0
    return sum(len(line) for line in text.split("\n") if len(line) > limit) / len(text)


@cache
def languages() -> Languages:
    """The lists of wordlists/programming_languages.yaml."""
    raw = _load(FILES[0])
    kinds: dict[str, dict[str, str]] = {"suffixes": {}, "names": {}, "interpreters": {}}
    for name, entry in raw["languages"].items():
        for kind, listed in entry.items():
            kinds[kind] |= dict.fromkeys(listed, name)
    told = {
        suffix: [(name, re.compile(pattern, re.MULTILINE)) for name, pattern in entry["patterns"].items()]
        for suffix, entry in raw["told_apart"].items()
    }
    kinds["suffixes"] |= {suffix: entry["default"] for suffix, entry in raw["told_apart"].items()}
    return Languages(**kinds, told_apart=told)


@cache
def rules() -> Rules:
    """The lists of wordlists/source_trees.yaml."""
    raw = _load(FILES[1])
    return Rules(
        dependencies=_folders(raw["dependencies"]),
        vendored=_folders(raw["vendored"]),
        vendored_names=_any_of(raw["vendored_names"]),
        generated_names=_any_of(raw["generated_names"]),
        generated=_any_of(raw["generated"]),
        comment=re.compile(raw["comment"], re.IGNORECASE),
        generated_lines=raw["generated_lines"],
        minified_line=raw["minified_line"],
        minified_share=raw["minified_share"],
    )


def _folders(names: list[str]) -> re.Pattern[str]:
    return re.compile(rf"(?:^|(?<=/))({'|'.join(map(re.escape, names))})/")


def _any_of(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
