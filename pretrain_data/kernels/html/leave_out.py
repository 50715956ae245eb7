"""What is not the main text: boilerplate by its names, captions, cards, lists of links, what labels head."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from itertools import accumulate

import yaml

from pretrain_data.kernels.html.blocks import Block, Container
from pretrain_data.kernels.html.hints import BOILERPLATE, CAPTION, COMMENTS, QUOTED

#: A container that promises boilerplate and holds more of the page's text than this is not believed; nor, where
#: too little would remain, one that holds more than the second share.
BELIEVED = (0.5, 0.3)
#: Too little: bytes of text, and a share of the page's.
ENOUGH, REST = 250, 0.1
#: With a smaller share of the page's text than this outside of comments, the comments are what it is about.
FORUM = 0.05
#: Bytes above which a caption is text.
CAPTION_BYTES = 600
#: A card: bytes of text beside its links at most, bytes of its headline at least, and of what stands before that.
CARD_BYTES, HEADLINE, AHEAD = 400, 15, 60
#: Of elements alike this share must be cards, and with more of the page's text than the second share they are it.
ALIKE, LISTING = 0.7, 0.6
#: What a label heads is left out up to this share of the text, if it is few bytes or has this many in links to one
#: outside of them.
LABELLED, FEW, LINKS = 0.25, 400, 0.3
_CARD_TAGS = frozenset(("div", "li", "article", "section"))
_BOXES = frozenset(("ul", "ol", "dl", "div", "section", "table", "td", "li", "p", "center"))
_LISTS = frozenset(("ul", "ol", "dl", "table"))


def within(count: int, containers: list[Container]) -> list[bool]:
    """For each of `count` blocks, whether any of the containers holds it."""
    change = [0] * (count + 1)
    for container in containers:
        if container.end > container.start:
            change[container.start] += 1
            change[container.end] -= 1
    return [level > 0 for level in accumulate(change[:count])]


def boilerplate(blocks: list[Block], containers: list[Container], sizes: list[int]) -> list[bool]:
    """For each block, whether it lies in what its names call boilerplate or comments, as far as that's believed.

    `sizes` are the running sums of the blocks' bytes outside of links, from 0.
    """
    total, count = sizes[-1], len(blocks)
    named = [c for c in containers if c.hint in (BOILERPLATE, COMMENTS)]
    comments = within(
        count, [c for c in named if c.hint == COMMENTS and sizes[c.end] - sizes[c.start] <= BELIEVED[0] * total]
    )
    quoted = within(count, [c for c in containers if c.hint == QUOTED])
    captions = _captions(blocks, containers)
    for limit in BELIEVED:
        bad = within(
            count, [c for c in named if c.hint == BOILERPLATE and sizes[c.end] - sizes[c.start] <= limit * total]
        )
        bad = [(b or c) and not q for b, c, q in zip(bad, captions, quoted, strict=True)]
        content = talk = 0
        for block, out, comment in zip(blocks, bad, comments, strict=True):
            if not out:
                if comment:
                    talk += block.size - block.linked
                else:
                    content += block.size - block.linked
        if content < FORUM * (content + talk):
            comments = [False] * count
            content += talk
        if content >= max(min(ENOUGH, 0.5 * total), REST * total):
            return [b or c for b, c in zip(bad, comments, strict=True)]
    return comments


def _captions(blocks: list[Block], containers: list[Container]) -> list[bool]:
    """For each block, whether it is a picture's caption; captions of code and of tables aren't."""
    found = []
    for c in containers:
        if (c.hint == CAPTION or c.tag == "figcaption") and 0 < c.end - c.start <= 4:
            around = containers[c.parent]
            figure = around if around.tag == "figure" else c
            size = sum(b.size for b in blocks[c.start : c.end])
            if size <= CAPTION_BYTES and all(b.kind not in ("pre", "cell") for b in blocks[figure.start : figure.end]):
                found.append(c)
    return [c or b.kind == "caption" for c, b in zip(within(len(blocks), found), blocks, strict=True)]


def cards(blocks: list[Block], containers: list[Container], out: list[bool], sizes: list[int]) -> list[bool] | None:
    """For each block, whether it is part of a card: one of several elements alike, each a linked headline and
    perhaps a few words below. None where there are none, or where they are what the page is about."""
    groups: dict[tuple[str, str | None], list[Container]] = {}
    for c in containers:
        if (
            c.tag in _CARD_TAGS
            and (c.name or c.tag == "article")
            and 0 < c.end - c.start <= 8
            and sizes[c.end] - sizes[c.start] < CARD_BYTES
        ):
            groups.setdefault((c.tag, c.name), []).append(c)
    found = []
    for group in groups.values():
        if len(group) >= 3 and sum(_is_card(blocks, c) for c in group) >= ALIKE * len(group):
            found += group
    if not found:
        return None
    card = within(len(blocks), found)
    inside = offered = 0
    for block, is_card, o in zip(blocks, card, out, strict=True):
        if not o:
            offered += block.size - block.linked
            inside += (block.size - block.linked) * is_card
    return card if inside <= LISTING * offered else None


def _is_card(blocks: list[Block], container: Container) -> bool:
    """Whether it begins with a linked headline."""
    ahead = 0
    for i in range(container.start, container.end):
        block = blocks[i]
        if block.linked > 0.8 * block.size and block.size >= HEADLINE:
            return True
        ahead += block.size - block.linked
        if ahead > AHEAD:
            return False
    return False


def drop_link_lists(blocks: list[Block], keep: list[bool], containers: list[Container], start: int, end: int) -> None:
    """Leave out lists, tables and boxes that are made of links."""
    size = [0, *accumulate(block.size for block in blocks)]
    linked = [0, *accumulate(block.linked for block in blocks)]
    for container in containers:
        first, last = container.start, container.end
        if first < start or last > end or last <= first or (first, last) == (start, end):
            continue
        if container.tag in _BOXES:
            share = (linked[last] - linked[first]) / max(1, size[last] - size[first])
            if share > 0.8 or (share > 0.6 and container.tag in _LISTS):
                for i in range(first, last):
                    if blocks[i].linked > 0:
                        keep[i] = False


def drop_labelled(blocks: list[Block], keep: list[bool], containers: list[Container], start: int, end: int) -> None:
    """Leave out lines such as "Related articles" with the box that they head, or the links below them."""
    longest, pattern = _labels()
    heads = [
        i for i in range(start, end) if keep[i] and len(blocks[i].text) <= longest and pattern.match(blocks[i].text)
    ]
    if not heads:
        return
    plain = [0, *accumulate(b.size - b.linked for b in blocks)]
    linked = [0, *accumulate(b.linked for b in blocks)]
    limit = LABELLED * (plain[end] - plain[start])
    boxes: dict[int, int] = {}
    for c in containers:  # outer ones come first
        text = plain[c.end] - plain[c.start]
        light = text <= FEW or linked[c.end] - linked[c.start] >= LINKS * text
        if start <= c.start < c.end <= end and text <= limit and light:
            boxes.setdefault(c.start, c.end)
    for i in heads:
        last = boxes.get(i, i + 1)
        while last < end and blocks[last].linked > 0.5 * blocks[last].size:
            last += 1
        keep[i:last] = [False] * (last - i)


@cache
def _labels() -> tuple[int, re.Pattern[str]]:
    """wordlists/page_labels.yaml: the most characters of a label, and what it begins with."""
    data = yaml.safe_load((resources.files("pretrain_data.wordlists") / "page_labels.yaml").read_text("utf-8"))
    phrases = "|".join(re.sub(r"\|\s+", "|", group.strip()) for group in data["headings"].values())
    # No letter of an alphabet may follow: "Tags" is no beginning of "Tagsüber", but 推荐阅读 is one of 推荐阅读更多.
    return data["max_chars"], re.compile(rf"[\W_]*(?:{phrases})(?![^\W\d_\u3000-\uffff])", re.IGNORECASE)
