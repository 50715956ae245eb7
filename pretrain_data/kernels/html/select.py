"""Which blocks are the main text: every block is weighed, then the container with the greatest weight wins."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate

from pretrain_data.kernels.html.blocks import Block, Container, Walk
from pretrain_data.kernels.html.hints import LEAD, MAIN
from pretrain_data.kernels.html.leave_out import (
    ENOUGH,
    boilerplate,
    cards,
    drop_labelled,
    drop_link_lists,
    within,
)

#: A choice with a smaller share of what the page offers is not believed.
THIN = 0.05
#: A container that promises main text and has this share of the weight of the one around it goes before it.
NARROW = 0.6
#: Cards with a smaller share than this of the chosen text are left out of it.
CARDS = 0.3
#: How many blocks before the text its title is looked for: the page's own, and any other heading.
TITLE_BACK, HEADING_BACK = 40, 12
#: Bytes of a lead: where its name says so, and where only its place does.
NAMED_LEAD, PLAIN_LEAD = 40, 80
_STOPS = '.!?。！？…;；:："”’)）」』'
_COMMAS = (",", "，", "、", "。", ". ")


def choose(walk: Walk) -> list[Block]:
    """The main blocks, in order."""
    blocks, containers = walk.blocks, walk.containers
    if not blocks:
        return []
    sizes = [0, *accumulate(block.size - block.linked for block in blocks)]
    out = boilerplate(blocks, containers, sizes)
    card = cards(blocks, containers, out, sizes)
    main = within(len(blocks), [c for c in containers if c.hint == MAIN])
    light = [o or c for o, c in zip(out, card, strict=True)] if card else out
    weights = [0.0, *accumulate(map(_weight, blocks, light, main))]
    best = _best(containers, weights)
    start, end = (best.start, best.end) if best else (0, len(blocks))
    keep = [not o for o in out]
    drop_link_lists(blocks, keep, containers, start, end)
    if card:
        _drop_cards(blocks, keep, card, out, start, end)
    drop_labelled(blocks, keep, containers, start, end)
    kept = sum(b.size for b, k in zip(blocks[start:end], keep[start:end], strict=True) if k)
    offered = sum(b.size for b, o in zip(blocks, out, strict=True) if not o)
    if kept < THIN * offered or kept < ENOUGH:
        return _lenient(blocks, containers, out, offered)
    start = _with_lead(blocks, keep, containers, start)
    return [block for block, k in zip(blocks[start:end], keep[start:end], strict=True) if k]


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
    if kind in ("h", "h1"):
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


def _drop_cards(blocks: list[Block], keep: list[bool], card: list[bool], out: list[bool], start: int, end: int) -> None:
    """Leave cards out of a text that is made of other things; a list of them is a text of its own."""
    inside = whole = 0
    for i in range(start, end):
        if not out[i]:
            plain = blocks[i].size - blocks[i].linked
            whole += plain
            inside += plain * card[i]
    if inside < CARDS * whole:
        for i in range(start, end):
            keep[i] &= not card[i]


def _with_lead(blocks: list[Block], keep: list[bool], containers: list[Container], start: int) -> int:
    """Where the text begins when the paragraphs between the page's title and `start` belong to it.

    A lead is told by its name, where only one element has it, or by its place below the title.
    """
    names = Counter(c.name for c in containers if c.hint == LEAD and c.start < start)
    named = within(len(blocks), [c for c in containers if c.hint == LEAD and names[c.name] == 1]) if names else None
    title = next((i for i in range(start - 1, max(-1, start - TITLE_BACK), -1) if blocks[i].kind == "h1"), None)
    near = max(0, start - HEADING_BACK)
    if title is None:
        title = next((i for i in range(start - 1, near, -1) if blocks[i].kind == "h" and keep[i]), None)
    first = start
    for i in range(near if title is None else title + 1, start):
        block = blocks[i]
        lead = named is not None and named[i] and block.size >= NAMED_LEAD
        prose = title is not None and keep[i] and block.size >= PLAIN_LEAD and block.text[-1] in _STOPS
        keep[i] = (lead or prose) and block.linked < 0.3 * block.size
        if keep[i]:
            first = min(first, i)
    return first


def _lenient(blocks: list[Block], containers: list[Container], out: list[bool], offered: int) -> list[Block]:
    """Of a page with hardly any prose: all that isn't boilerplate, lists of links too."""
    sums = [0, *accumulate(0 if o else b.size for b, o in zip(blocks, out, strict=True))]
    start, end = 0, len(blocks)
    for container in containers:
        inside = sums[container.end] - sums[container.start]
        if container.hint == MAIN and inside > 0.3 * offered and container.end - container.start < end - start:
            start, end = container.start, container.end
    return [block for block, o in zip(blocks[start:end], out[start:end], strict=True) if not o]
