"""The special cases of English words (wordlists/english_cut.yaml), spelled out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import yaml
from pydantic import BaseModel, ConfigDict

from pretrain_data.rules.wordlists import BUNDLED

PATH = BUNDLED / "english_cut.yaml"


class Heads(BaseModel):
    """Heads before tails; see the file."""

    model_config = ConfigDict(extra="forbid")

    heads: list[str]
    tails: list[str]
    bare: bool = True
    capital: bool = True


class EnglishCut(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")

    cut: list[Heads]
    never: list[str]
    whole: list[str]
    units: str


@lru_cache(maxsize=1)
def load() -> tuple[dict[str, list[str]], list[str]]:
    """Special cases by text with the tokens that each is cut into, and the units."""
    file = EnglishCut.model_validate(yaml.safe_load(PATH.read_text(encoding="utf-8")))
    found: dict[str, list[str]] = {}
    for entry in file.cut:
        for parts in _spelled(entry):
            text = "".join(parts)
            if text.lower() not in file.never:
                found[text] = parts
    for line in file.whole:
        for word in line.split():
            for text in (word, word.replace("'", "’")):
                found[text] = [text]
    return found, file.units.split()


def _spelled(entry: Heads) -> Iterator[list[str]]:
    for head in entry.heads:
        for first in (head, head.capitalize()) if entry.capital else (head,):
            for tail in entry.tails:
                parts = [first, *tail.split()]
                yield parts
                yield [part.replace("'", "’") for part in parts]
                if entry.bare:
                    yield [part.replace("'", "") for part in parts]
