"""HTML to main text and title, over resiliparse's DOM (lexbor)."""

from __future__ import annotations

from dataclasses import dataclass

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

#: Deeper trees are parsed but not walked: extraction recurses on the C stack.
MAX_DEPTH = 2000
#: Tags that need no end tag, so that their number says nothing of depth.
_VOID = frozenset(
    [
        "br",
        "img",
        "hr",
        "input",
        "meta",
        "link",
        "p",
        "li",
        "td",
        "tr",
        "th",
        "dt",
        "dd",
        "wbr",
        "area",
        "base",
        "col",
        "optio",
    ]
)


@dataclass(frozen=True)
class Page:
    """Main text and title of a page."""

    text: str
    title: str | None


def extract(html: str) -> Page | None:
    """Main text of a page; None where it nests so deeply that walking it isn't safe."""
    if _depth_bound(html) > MAX_DEPTH:
        return None
    tree = HTMLTree.parse(html)
    title = (tree.title or "").strip() or None
    text = extract_plain_text(tree, main_content=True, alt_texts=False, links=False)
    if len(text) < 100:  # main-content rules found nothing: a page without a known layout
        whole = extract_plain_text(tree, main_content=False, alt_texts=False, links=False)
        text = whole if len(whole) > 2 * len(text) else text
    return Page(text, title)


def _depth_bound(html: str) -> int:
    """More than MAX_DEPTH only if so many tags could stand inside each other."""
    if html.count("<") < 2 * MAX_DEPTH:
        return 0
    depth = deepest = at = 0
    while (at := html.find("<", at)) >= 0:
        following = html[at + 1 : at + 2]
        if following == "/":
            depth = max(0, depth - 1)
        elif following.isalpha() and html[at + 1 : at + 6].lower().split(" ")[0].rstrip(">/") not in _VOID:
            depth += 1
            deepest = max(deepest, depth)
            if deepest > 20 * MAX_DEPTH:
                break
        at += 1
    return deepest
