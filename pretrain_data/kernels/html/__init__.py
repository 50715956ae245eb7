"""HTML to main text: a page becomes a flat list of blocks, of which the main ones are kept.

blocks.py walks the DOM once and lists blocks of text and the containers around them; hints.py says what the
words in tags, classes and ids promise; select.py finds the container of the main text and what to leave out
of it; render.py writes the blocks that stay; meta.py
reads title, author and day.
"""

from pretrain_data.kernels.html.page import MAX_DEPTH, Page, extract

__all__ = ["MAX_DEPTH", "Page", "extract"]
