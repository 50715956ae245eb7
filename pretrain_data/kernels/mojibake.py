"""Text that was decoded wrongly before it came to us: repaired where that is certain, measured elsewhere."""

from __future__ import annotations

import re

_BROKEN = re.compile("[\ufffd\ue000-\uf8ff]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")
HEAD = 20_000  # characters measured
MIN_BEYOND_ASCII = 50


def repair(text: str) -> str:
    """UTF-8 that was read as Latin-1 or Windows-1252 and stored again, read right; else the text itself.

    Only a text of which every character fits comes into question, and only one whose bytes are valid UTF-8
    throughout is changed: Latin text hardly ever is by chance.
    """
    if text.isascii():
        return text
    for encoding in ("latin-1", "cp1252"):
        try:
            return text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return text


def broken_share(text: str) -> float:
    """Replacement and private-use characters, as a share of those beyond ASCII; 0 where these are few."""
    head = text[:HEAD]
    if head.isascii():
        return 0.0
    beyond = len(_BEYOND_ASCII.findall(head))
    return len(_BROKEN.findall(head)) / beyond if beyond >= MIN_BEYOND_ASCII else 0.0
