"""What class and id words promise about an element: main text, its lead, a caption, boilerplate, comments …"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources

import yaml

NONE, MAIN, BOILERPLATE, COMMENTS, SKIP, MATHS, LEAD, CAPTION, QUOTED = range(9)
_KINDS = {
    "main": MAIN,
    "boilerplate": BOILERPLATE,
    "comments": COMMENTS,
    "skip": SKIP,
    "maths": MATHS,
    "lead": LEAD,
    "caption": CAPTION,
    "quoted": QUOTED,
}
_STRONGEST_FIRST = (SKIP, MATHS, QUOTED, COMMENTS, CAPTION, MAIN, LEAD, BOILERPLATE)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[\u4e00-\u9fff]+")


@lru_cache(maxsize=1 << 16)
def hint(name: str) -> int:
    """Kind of an element by a value of its class or id; the strongest of its names counts."""
    kinds = {_one(part) for part in name.split()[:12]}
    for kind in _STRONGEST_FIRST:
        if kind in kinds:
            return kind
    return NONE


@lru_cache(maxsize=1 << 16)
def _one(name: str) -> int:
    """Kind of one class name such as `post-content` or `relatedPosts`."""
    whole, words = _lists()
    lowered = name.lower().replace("_", "-")
    if lowered in whole:
        return whole[lowered]
    kinds = [words.get(word.lower(), NONE) for word in _WORDS.findall(name[:80])]
    for kind in (BOILERPLATE, COMMENTS, CAPTION, LEAD):
        if kind in kinds:
            return kind
    return NONE


@cache
def _lists() -> tuple[dict[str, int], dict[str, int]]:
    """Whole names, and words within names, each with its kind."""
    text = (resources.files("pretrain_data.wordlists") / "page_parts.yaml").read_text("utf-8")
    data = yaml.safe_load(text)
    whole, words = (
        {name: _KINDS[kind] for kind, names in data[key].items() for name in names.split()}
        for key in ("names", "words")
    )
    return whole, words
