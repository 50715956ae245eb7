"""Blocks to text: paragraphs apart by an empty line, list items and table rows a line each."""

from __future__ import annotations

from pretrain_data.kernels.html.blocks import Block

_LINES = frozenset(("li", "dt", "dd"))
CELL = 200  # a longer cell is a paragraph


def render(blocks: list[Block]) -> str:
    """Text of blocks in order; cells of a row are put on one line where each is one short block."""
    parts: list[str] = []
    last = ""
    i = 0
    while i < len(blocks):
        block = blocks[i]
        text, kind = block.text, block.kind
        if kind == "cell" and block.row:
            row = [block]
            while i + len(row) < len(blocks) and blocks[i + len(row)].row == block.row:
                row.append(blocks[i + len(row)])
            if len({b.cell for b in row}) == len(row) and all(b.size <= CELL for b in row):
                text, kind = " | ".join(b.text.replace("\n", " ") for b in row), "row"
                i += len(row) - 1
        if kind == "li":
            text = f"- {text}"
        if parts:
            parts.append("\n" if kind == last and (kind in _LINES or kind == "row") else "\n\n")
        parts.append(text)
        last = kind
        i += 1
    return "".join(parts)
