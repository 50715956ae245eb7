"""Lines of PDF pages to running text: headers and footers go, words and paragraphs are joined again.

Pure functions over the lines that a PDF library gives, in reading order.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

EDGE = 2  # lines looked at on either edge of a page
REPEATS = 3  # pages that must share a line, numbers aside, for it to be a header or footer
NEIGHBOURS = 3  # pages within which it must come again: running heads change with the chapter
FULL_LINE = 0.75  # of the page's usual longest line; a line as long goes on in the next

_NUMBER = re.compile(r"\d+|\b[ivxlc]{1,7}\b", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_PAGE_NUMBER = re.compile(
    r"^[\W_]*(page|seite|p\.|第)?[\W_]*(\d{1,4}|[ivxlc]{1,7})[\W_]*((of|/|von|页|頁|共)[\W_]*\d*[\W_]*(页|頁)?)?[\W_]*$",
    re.I,
)
_HYPHENS = "-\u00ad\u2010\ufffe\x02"
_WIDE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u30ff\u201c\u201d\u2018\u2019\u2014\u2026]")
_FONT_FORMS = re.compile("[\u2e80-\u2fdf\ufb00-\ufb06]")
_NEW_ITEM = re.compile(
    r"^([•●▪◦‣·∙*–—-]\s|\(?\d{1,3}[.)、]\s?|\d+(\.\d+)+\s|[a-z][.)]\s|[（(][一二三四五六七八九十\d]+[）)]|第.{1,4}[章节節条條])"
)
_END = re.compile(r"[.!?。！？:：;；]['\"”’）)]*$")
_LEADERS = re.compile(r"(\s*\.){4,}\s*([ivxlc\d]+)?\s*$")  # and page number, of a table of contents


def running_text(pages: list[list[str]]) -> list[str]:
    """The text of each page without headers, footers and page numbers, its paragraphs one line each.

    Lines that aren't full (headings, code, tables, verse) stay lines of their own.
    """
    return [_unified(_join(lines)) for lines in without_running_heads(pages)]


def _unified(text: str) -> str:
    """Radicals and ligatures that fonts put in place of characters, as the characters (NFKC)."""
    return text if text.isascii() else _FONT_FORMS.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)


def without_running_heads(pages: list[list[str]]) -> list[list[str]]:
    """Pages without the lines on their edges that neighbouring pages have too, numbers aside."""
    places: dict[str, list[int]] = {}
    for index, lines in enumerate(pages):
        for line in {_key(lines[i]) for i in _edges(len(lines))}:
            places.setdefault(line, []).append(index)
    heads = {key for key, at in places.items() if len(at) >= REPEATS and _close(at)}
    numbered = sum(any(_PAGE_NUMBER.match(lines[i]) for i in _edges(len(lines))) for lines in pages)
    numbers = numbered >= REPEATS and 2 * numbered >= len(pages)
    kept = []
    for lines in pages:
        edges = _edges(len(lines))
        bad = {i for i in edges if _key(lines[i]) in heads or (numbers and _PAGE_NUMBER.match(lines[i]))}
        kept.append([line for i, line in enumerate(lines) if i not in bad])
    return kept


def _edges(count: int) -> set[int]:
    return {*range(min(EDGE, count)), *range(max(0, count - EDGE), count)}


def _key(line: str) -> str:
    return _SPACE.sub(" ", _NUMBER.sub("#", line)).strip().lower()


def _close(at: list[int]) -> bool:
    """Whether most of these pages have another one near."""
    near = sum(b - a <= NEIGHBOURS for a, b in pairwise(at))
    return 2 * near >= len(at) - 1


def _join(lines: list[str]) -> str:
    lines = [_LEADERS.sub("", line).rstrip(" \t") for line in lines]
    lengths = sorted((_width(line) for line in lines), reverse=True)
    # The longest lines but a few: one that sticks out doesn't make all others short.
    usual = lengths[len(lengths) // 10] if lengths else 0
    parts: list[str] = []
    open_end = False
    for line in lines:
        if parts and line and open_end and not _NEW_ITEM.match(line.lstrip()):
            parts[-1] = _glue(parts[-1], line.lstrip())
        else:
            parts.append(line)
        open_end = _goes_on(line, usual)
    return "\n".join(parts).strip("\n")


def _width(line: str) -> int:
    return len(line) + len(_WIDE.findall(line))


def _goes_on(line: str, usual: int) -> bool:
    if not line:
        return False
    if line[-1] in _HYPHENS and len(line) > 1 and line[-2].isalpha():
        return True
    if "  " in line.strip() or "\t" in line:
        return False  # columns of a table, or code
    full = _width(line) >= FULL_LINE * usual
    return full and usual >= 30 and not (_END.search(line) and _width(line) < 0.95 * usual)


def _glue(before: str, after: str) -> str:
    if before[-1] in _HYPHENS and len(before) > 1 and before[-2].isalpha():
        if after[:1].islower():
            soft = before[-1] != "-" or not _compound(before)
            return (before[:-1] if soft else before) + after
        return (before if before[-1] == "-" else before[:-1]) + after
    if _WIDE.match(before[-1]) and _WIDE.match(after[:1]):
        return before + after
    return before + " " + after


def _compound(before: str) -> bool:
    """Whether the word cut at the line's end has another hyphen: then the last one is its own."""
    return "-" in before[:-1].rsplit(None, 1)[-1]
