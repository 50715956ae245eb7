"""Which blocks are the main text: every block is weighed, then the container with the greatest weight wins."""

from __future__ import annotations

from itertools import accumulate

from pretrain_data.kernels.html.blocks import Block, Container, Walk
from pretrain_data.kernels.html.hints import BOILERPLATE, COMMENTS, MAIN

#: A container that promises boilerplate and holds more of the page's text than this is not believed.
BELIEVED = 0.5
#: Bytes of text under which a choice is not believed either.
ENOUGH = 250
#: With a smaller share of the page's text than this outside of comments, the comments are what it is about.
FORUM = 0.1
#: A choice with a smaller share of what the page offers is not believed.
THIN = 0.05
#: A container that promises main text and has this share of the weight of the one around it goes before it.
NARROW = 0.65
_STOPS = '.!?。！？…;；:："”’)）」』'
_COMMAS = (",", "，", "、", "。", ". ")


def choose(walk: Walk) -> list[Block]:
    """The main blocks, in order."""
    blocks, containers = walk.blocks, walk.containers
    if not blocks:
        return []
    sizes = [0, *accumulate(block.size - block.linked for block in blocks)]
    out = _left_out(blocks, containers, sizes)
    main = _within(len(blocks), [c for c in containers if c.hint == MAIN])
    weights = [0.0, *accumulate(map(_weight, blocks, out, main))]
    best = _best(containers, weights)
    start, end = (best.start, best.end) if best else (0, len(blocks))
    keep = [not o for o in out[start:end]]
    chosen = blocks[start:end]
    _drop_link_lists(chosen, keep, containers, start, end)
    kept = sum(b.size for b, k in zip(chosen, keep, strict=True) if k)
    offered = sum(b.size for b, o in zip(blocks, out, strict=True) if not o)
    if kept < THIN * offered or kept < ENOUGH:
        return _lenient(blocks, containers, out, offered)
    return [block for block, kept in zip(chosen, keep, strict=True) if kept]


def _left_out(blocks: list[Block], containers: list[Container], sizes: list[int]) -> list[bool]:
    """For each block, whether it lies in what its names call boilerplate or comments, as far as that's believed."""
    total = sizes[-1]
    small = [c for c in containers if sizes[c.end] - sizes[c.start] <= BELIEVED * total]
    boilerplate = _within(len(blocks), [c for c in small if c.hint == BOILERPLATE])
    comments = _within(len(blocks), [c for c in small if c.hint == COMMENTS])
    content = talk = 0
    for block, bad, comment in zip(blocks, boilerplate, comments, strict=True):
        if not bad:
            if comment:
                talk += block.size - block.linked
            else:
                content += block.size - block.linked
    if content < FORUM * (content + talk):
        comments = [False] * len(blocks)
        content += talk
    if content < min(ENOUGH, 0.5 * total):
        return comments
    return [bad or comment for bad, comment in zip(boilerplate, comments, strict=True)]


def _lenient(blocks: list[Block], containers: list[Container], out: list[bool], offered: int) -> list[Block]:
    """Of a page with hardly any prose: all that isn't boilerplate, lists of links too."""
    sums = [0, *accumulate(0 if o else b.size for b, o in zip(blocks, out, strict=True))]
    start, end = 0, len(blocks)
    for container in containers:
        inside = sums[container.end] - sums[container.start]
        if container.hint == MAIN and inside > 0.3 * offered and container.end - container.start < end - start:
            start, end = container.start, container.end
    return [block for block, o in zip(blocks[start:end], out[start:end], strict=True) if not o]


def _within(count: int, containers: list[Container]) -> list[bool]:
    """For each of `count` blocks, whether any of the containers holds it."""
    change = [0] * (count + 1)
    for container in containers:
        if container.end > container.start:
            change[container.start] += 1
            change[container.end] -= 1
    return [level > 0 for level in accumulate(change[:count])]


def _weight(block: Block, out: bool, main: bool) -> float:
    """Weight of a block as part of the main text, in bytes of text: prose adds, links and labels take away."""
    size, linked = block.size, block.linked
    if out:
        return -0.2 * size
    kind = block.kind
    if kind == "pre":
        return 0.7 * size
    if linked > 0.5 * size:
        return -0.1 * linked if main else -0.5 * linked - 5
    plain = size - linked
    if kind == "h":
        return 0.3 * plain
    if size < 30:
        return 0.1 * plain if main or kind == "cell" else -5.0
    if size < 80:
        return 0.5 * plain if main or block.text[-1] in _STOPS else 0.1 * plain
    return float(plain) if any(comma in block.text for comma in _COMMAS) else 0.5 * plain


def _best(containers: list[Container], weights: list[float]) -> Container | None:
    """The container with the greatest weight; of two alike the inner one; one that promises main text first."""
    best: Container | None = None
    most = 0.0
    for container in containers:
        weight = weights[container.end] - weights[container.start]
        if container.hint == MAIN:
            weight *= 1.25
        if weight >= most and weight > 0:
            best, most = container, weight
    if best is None:
        return None
    for container in containers:
        if (
            container.hint == MAIN
            and best.start <= container.start
            and container.end <= best.end
            and weights[container.end] - weights[container.start] >= NARROW * (weights[best.end] - weights[best.start])
        ):
            best = container
    return best


def _drop_link_lists(chosen: list[Block], keep: list[bool], containers: list[Container], start: int, end: int) -> None:
    """Leave out lists, tables and boxes that are made of links."""
    size = [0, *accumulate(block.size for block in chosen)]
    linked = [0, *accumulate(block.linked for block in chosen)]
    for container in containers:
        first, last = container.start - start, container.end - start
        if first < 0 or last > end - start or last <= first or (first, last) == (0, end - start):
            continue
        if container.tag in ("ul", "ol", "dl", "div", "section", "table", "td", "li", "p", "center"):
            total = size[last] - size[first]
            share = (linked[last] - linked[first]) / max(1, total)
            if share > 0.8 or (share > 0.6 and container.tag in ("ul", "ol", "dl", "table")):
                for i in range(first, last):
                    if chosen[i].linked > 0:
                        keep[i] = False
