"""The way from a page's HTML to its main text, title, author and day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from lxml import etree

from pretrain_data.kernels.html.blocks import Walk
from pretrain_data.kernels.html.meta import describe
from pretrain_data.kernels.html.render import render
from pretrain_data.kernels.html.select import choose

#: Deeper trees are not walked.
MAX_DEPTH = 2000

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
#: Elements without content, or whose end tag may be left out: their number says nothing of depth.
_FLAT = frozenset(
    "area base br col embed hr img input link meta source track wbr p li dt dd td th tr option tbody thead".split()
)
#: Control characters, which XML has no room for.
_UNFIT = bytes([*range(9), 11, 12, *range(14, 32), 127])
_DECLARED = re.compile(r"^\s*<\?xml[^>]*\?>")


@dataclass(frozen=True)
class Page:
    """Main text of a page, and what it says of itself."""

    text: str
    title: str | None
    author: str | None = None
    published: date | None = None


def extract(html: str) -> Page | None:
    """Main text of a page; None where it nests so deeply that walking it isn't safe. Never raises."""
    if _depth(html) > MAX_DEPTH:
        return None
    root = _parse(html)
    if root is None:
        return Page("", None)
    body = root.find("body")
    walk = Walk(root if body is None else body)
    meta = describe(root)
    return Page(render(choose(walk)), meta.title, meta.author, meta.published)


def _parse(html: str) -> Any:
    """The root element; None where there is nothing."""
    raw = _DECLARED.sub("", html, count=1).encode("utf-8", "ignore").translate(None, _UNFIT)
    if not raw.strip():
        return None
    try:
        return etree.fromstring(raw, _parser())
    except etree.XMLSyntaxError:  # no element in it at all
        return None


@cache
def _parser() -> etree.HTMLParser:
    return etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)


def _depth(html: str) -> int:
    """About how deeply elements nest, counted from the tags; 0 where there are too few to nest deeply."""
    if html.count("<") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for match in _TAG.finditer(html):
        if match[2].lower() in _FLAT:
            continue
        depth = max(0, depth - 1) if match[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest
