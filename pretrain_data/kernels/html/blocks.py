"""One walk over the DOM: blocks of text in reading order, and the containers that hold them."""

from __future__ import annotations

from typing import Any

from pretrain_data.kernels.html.hints import BOILERPLATE, CAPTION, COMMENTS, MAIN, MATHS, NONE, SKIP, hint

#: Elements nested deeper than this are taken as one block of their text.
MAX_WALK = 150

_SKIPPED = frozenset(
    "script style noscript template iframe object embed applet svg canvas video audio select datalist textarea "
    "button input head meta link base title map progress meter frameset frame option".split()
)
#: Where their end tag is missing or misplaced, the rest of the page lies inside of them.
_SWALLOWING = frozenset("noscript object applet canvas video audio select button map svg textarea iframe".split())
_PARAGRAPHS = ("p", "table", "article", "section", "ul")
_INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr q rp rt ruby s samp "
    "small span strike strong sub sup time tt u var wbr img picture source blink annotation semantics".split()
)
_NAVIGATION = frozenset(("nav", "footer", "aside", "menu", "dialog"))
_MAIN_TAGS = frozenset(("article", "main"))
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))


class Block:
    """A run of text without a block element in it.

    size and linked are UTF-8 bytes of its text and of the text inside of links: a Chinese character says
    about as much as three letters.
    """

    __slots__ = ("cell", "kind", "linked", "row", "size", "text")

    def __init__(self, text: str, kind: str, linked: int, row: int, cell: int) -> None:
        self.text = text
        self.kind = kind  # "p", "h", "li", "pre", "quote", "cell", "dt" ...
        self.size = len(text.encode("utf-8", "ignore"))
        self.linked = min(linked, self.size)
        self.row = row
        self.cell = cell


class Container:
    """An element that holds blocks[start:end]; `parent` is the number of the container around it, -1 for none."""

    __slots__ = ("end", "hint", "name", "parent", "start", "tag")

    def __init__(self, tag: str, name: str | None, start: int, parent: int, hinted: int) -> None:
        self.tag = tag
        self.name = name
        self.start = start
        self.end = start
        self.parent = parent
        self.hint = hinted


class Walk:
    """Blocks and containers of a page, in document order."""

    def __init__(self, root: Any) -> None:
        self.blocks: list[Block] = []
        self.containers: list[Container] = []
        self._parts: list[str] = []
        self._linked = 0
        self._links = 0  # nesting of <a>
        self._kind = "p"
        self._row = 0
        self._rows = 0
        self._cell = 0
        self._around = -1
        self._element(root, 0)
        self._flush()

    # --- inside -------------------------------------------------------------------------------------

    def _flush(self) -> None:
        parts = self._parts
        if parts:
            text = "".join(parts)
            if "\n" in text and "\v" not in text:
                text = " ".join(text.split())
            else:
                text = "\n".join(" ".join(line.split()) for line in text.split("\v")).strip()
            if text:
                self.blocks.append(Block(text, self._kind, self._linked, self._row, self._cell))
            parts.clear()
            self._linked = 0

    def _text(self, text: str) -> None:
        self._parts.append(text)
        if self._links:
            self._linked += len(text.strip().encode("utf-8", "ignore"))

    def _children(self, element: Any, depth: int) -> None:
        text = element.text
        if text and (self._parts or not text.isspace()):
            self._text(text)
        for child in element:
            self._element(child, depth + 1)
            text = child.tail
            if text and (self._parts or not text.isspace()):
                self._text(text)

    def _element(self, element: Any, depth: int) -> None:
        tag = element.tag
        if tag in _SKIPPED:
            if tag == "script" and "math/tex" in (element.get("type") or ""):
                display = "mode=display" in element.get("type")
                mark = "$$" if display else "$"
                self._text(f"{mark}{(element.text or '').strip()}{mark}")
            if tag not in _SWALLOWING or next(element.iter(*_PARAGRAPHS), None) is None:
                return
        if tag in _INLINE:
            self._inline(element, tag, depth)
            return
        if tag == "br":
            self._parts.append("\v")
            return
        if type(tag) is not str:  # a comment or a processing instruction
            return
        if depth > MAX_WALK:
            self._flush()
            self._text(" ".join(element.itertext()))
            self._flush()
            return
        if tag == "pre":
            self._flush()
            self._pre(element)
            return
        if tag == "math":
            self._math(element)
            return
        if self._parts:
            self._flush()
        hinted = _hint(element, tag)
        if hinted == SKIP:
            return
        if hinted == MATHS:
            self._maths(element, depth)
            return
        around = self._around
        container = Container(tag, element.get("class"), len(self.blocks), around, hinted)
        self._around = len(self.containers)
        self.containers.append(container)
        kind, row, cell = self._kind, self._row, self._cell
        if tag in _HEADINGS:
            self._kind = "h1" if tag == "h1" else "h"
        elif tag == "li":
            self._kind = "li"
        elif tag in ("blockquote", "dd", "dt", "figcaption"):
            self._kind = tag
        elif tag == "tr":
            self._rows += 1
            self._row = self._rows
        elif tag in ("td", "th"):
            self._kind = "cell"
            self._cell = len(self.containers)
        elif tag == "table":
            self._row = 0
        elif tag == "p" and kind[0] == "h":
            self._kind = "p"
        self._children(element, depth)
        if self._parts:
            self._flush()
        self._kind, self._row, self._cell, self._around = kind, row, cell, around
        container.end = len(self.blocks)

    def _inline(self, element: Any, tag: str, depth: int) -> None:
        if depth > MAX_WALK:
            self._text(" ".join(element.itertext()))
            return
        name = element.get("class")
        if name is not None or tag == "img":
            kind = hint(name) if name else NONE
            if kind == SKIP:
                return
            if kind == MATHS or tag == "img":
                self._maths(element, depth)
                return
            if kind == BOILERPLATE and tag == "a" and "headerlink" in str(name):
                return
            if kind == CAPTION and tag != "a":
                self._flush()
                around, self._kind = self._kind, "caption"
                self._children(element, depth)
                self._flush()
                self._kind = around
                return
        if tag == "a" and element.get("href"):
            self._links += 1
            self._children(element, depth)
            self._links -= 1
        else:
            self._children(element, depth)

    def _maths(self, element: Any, depth: int) -> None:
        """Formulas given as an image with LaTeX in its alt text, or as MathML with an annotation."""
        if element.tag == "img":
            name = f"{element.get('class') or ''} {element.get('src') or ''}".lower()
            alt = element.get("alt")
            if alt and ("latex" in name or "math" in name or "/tex" in name or " tex" in f" {name}"):
                self._text(f"${alt.strip().strip('$')}$")
            return
        math = element.find(".//math")
        if math is not None:
            self._math(math)
        else:
            self._children(element, depth)

    def _math(self, element: Any) -> None:
        for annotation in element.iter("annotation"):
            if "tex" in (annotation.get("encoding") or ""):
                mark = "$$" if element.get("display") == "block" else "$"
                self._text(f"{mark}{(annotation.text or '').strip()}{mark}")
                return
        alt = element.get("alttext")
        self._text(f"${alt.strip()}$" if alt else " ".join("".join(element.itertext()).split()))

    def _pre(self, element: Any) -> None:
        """Preformatted text keeps its lines and indentation."""
        parts: list[str] = []
        skipped: Any = None
        for event, node in _events(element):
            if skipped is not None:
                if event == "end" and node is skipped:
                    skipped = None
                    parts.append(node.tail or "")
                continue
            if event == "start":
                name = node.get("class")
                out = type(node.tag) is not str or node.tag in _SKIPPED or (name and hint(name) == SKIP)
                if out and node is not element:
                    skipped = node
                    continue
                if node.tag in ("br", "div", "li", "tr", "p") and parts and not parts[-1].endswith("\n"):
                    parts.append("\n")
                parts.append(node.text or "")
            elif node is not element:
                parts.append(node.tail or "")
        text = "\n".join(line.rstrip() for line in "".join(parts).expandtabs(4).splitlines()).strip("\n")
        if text.strip():
            self.blocks.append(Block(text, "pre", 0, self._row, self._cell))


def _events(element: Any) -> Any:
    from lxml.etree import iterwalk

    return iterwalk(element, events=("start", "end"))


def _hint(element: Any, tag: str) -> int:
    """What an element's tag, class, id, role and visibility promise."""
    if tag in _NAVIGATION:
        return BOILERPLATE
    kind = NONE
    attributes = element.attrib
    if attributes:
        get = attributes.get
        value = get("class")
        if value:
            kind = hint(value)
        value = get("id")
        if value:
            other = hint(value)
            if other and (kind == NONE or other in (SKIP, COMMENTS)):
                kind = other
        value = get("itemprop")
        if value and value in ("articleBody", "text", "blogPost"):
            return MAIN
        value = get("style")
        if value and "display" in value and "none" in value and "display:none" in value.replace(" ", ""):
            return BOILERPLATE
        value = get("role")
        if value and value in ("navigation", "banner", "contentinfo", "complementary", "search", "dialog"):
            return BOILERPLATE
        if get("hidden") is not None:
            return BOILERPLATE
    if kind == NONE and tag in _MAIN_TAGS:
        return MAIN
    return kind
