"""HTML to main text and title, over resiliparse's DOM (lexbor)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

#: Deeper trees are not walked: extraction recurses on the C stack.
MAX_DEPTH = 2000
#: With less main text than this (code points) a page is taken for one without a known layout.
MIN_MAIN_TEXT = 100

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
#: Elements without content, or whose end tag may be left out: their number says nothing of depth.
_FLAT = frozenset(
    "area base br col embed hr img input link meta source track wbr p li dt dd td th tr option tbody thead".split()
)


@dataclass(frozen=True)
class Page:
    """Main text and title of a page."""

    text: str
    title: str | None


def extract(html: str) -> Page | None:
    """Main text of a page; None where it nests so deeply that walking it isn't safe."""
    if _depth(html) > MAX_DEPTH:
        return None
    tree = HTMLTree.parse(html)
    title = (tree.title or "").strip() or None
    text = extract_plain_text(tree, main_content=True, alt_texts=False, links=False)
    if len(text) < MIN_MAIN_TEXT:
        whole = extract_plain_text(tree, main_content=False, alt_texts=False, links=False)
        text = whole if len(whole) > 2 * len(text) else text
    return Page(text, title)


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
