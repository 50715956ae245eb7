"""What a page says of itself: title, author and day of publication.

Each is looked for where it is most reliable first: JSON-LD (schema.org), meta elements (Open Graph, Dublin Core,
what news sites use), microdata, then what the page shows. What can't be one (a URL for an author, a
day before the web or in the far future) is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

LISTS = Path(__file__).parent.parent.parent / "wordlists" / "page_meta.yaml"
AUTHOR_CHARS = 120
TITLE_CHARS = 1000
JSON_CHARS = 200_000  # of one JSON-LD element
FIRST_YEAR, LAST_YEAR = 1990, 2100

_TYPES = re.compile(
    r"(article|posting|newsarticle|webpage|report|creativework|techarticle|recipe|book)$", re.IGNORECASE
)
_ISO = re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_COMPACT = re.compile(r"^\s*(\d{4})(\d{2})(\d{2})(?:$|[T ]?\d{4,6})")
_CHINESE = re.compile(r"(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*日")
_MONTHS = {m: i for i, m in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_ENGLISH = re.compile(
    r"(?i)\b(?:(\d{1,2})(?:st|nd|rd|th)?\s+)?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s+"
    r"(?:(\d{1,2})(?:st|nd|rd|th)?\s*,?\s+)?(\d{4})\b"
)
#: Elements that may show a byline or a time.
_SHOWING = ("span", "a", "div", "p", "address", "li", "em")


@dataclass(frozen=True)
class Meta:
    """What was found; None for what was not."""

    title: str | None = None
    author: str | None = None
    published: date | None = None


def describe(root: Any) -> Meta:
    """Title, author and day of publication of a page, given its root element (lxml)."""
    named: dict[str, list[str]] = {}
    scripts, times, titles = [], [], []
    for element in root.iter("meta", "script", "time", "title"):
        match element.tag:
            case "meta":
                name = element.get("property") or element.get("name") or element.get("itemprop")
                content = element.get("content")
                if name and content and content.strip():
                    named.setdefault(name.strip().lower(), []).append(content)
            case "script":
                scripts.append(element)
            case "time":
                times.append(element)
            case "title":
                titles.append(element)
    about = next(iter(sorted(_json_ld(scripts), key=_rank)), {})
    author, published = _author(named, about), _published(named, about, times)
    if author is None or published is None:
        shown = [element for element in root.iter(*_SHOWING) if _patterns().showing.search(_name_of(element))]
        author = author or _shown_author(shown)
        published = published or _shown_day(shown, times)
    return Meta(_title(root, titles, named, about), author, published)


def day(text: str) -> date | None:
    """The first day written in a text: ISO 8601, 20260131, 2026年1月31日, 31 January 2026, January 31, 2026."""
    text = text[:200]
    found = _COMPACT.match(text) or _ISO.search(text) or _CHINESE.search(text)
    if found:
        return _date(int(found[1]), int(found[2]), int(found[3]))
    english = _ENGLISH.search(text)
    if english and (english[1] or english[3]):
        return _date(int(english[4]), _MONTHS[english[2].lower()], int(english[1] or english[3]))
    return None


# --- each of them ---------------------------------------------------------------------------------


def _title(root: Any, titles: list[Any], named: dict[str, list[str]], about: dict[str, Any]) -> str | None:
    own = next((text for element in titles if (text := _text_of(element))), None)
    given = [about.get("headline"), *(named[name][0] for name in _lists()["titles"] if name in named)]
    # The element title often adds the site's name; a given title that stands in it is the same without that.
    for text in given:
        if isinstance(text, str) and (clean := " ".join(text.split())) and (not own or clean in own):
            return clean[:TITLE_CHARS]
    own = own or next((text for h in root.iter("h1") if (text := _text_of(h))), None)
    return own[:TITLE_CHARS] if own else None


def _author(named: dict[str, list[str]], about: dict[str, Any]) -> str | None:
    names = _names(about.get("author")) or _names(about.get("creator"))
    return _people(names) or next(
        (found for name in _lists()["authors"] if name in named and (found := _people(named[name]))), None
    )


def _published(named: dict[str, list[str]], about: dict[str, Any], times: list[Any]) -> date | None:
    candidates = [about.get("datePublished"), about.get("dateCreated"), about.get("uploadDate")]
    candidates += [text for name in _lists()["dates"] for text in named.get(name, [])]
    for element in times:
        if element.get("pubdate") is not None or "published" in (element.get("itemprop") or "").lower():
            candidates.append(element.get("datetime") or _text_of(element))
    return next((found for text in candidates if isinstance(text, str) and (found := day(text))), None)


def _shown_author(shown: list[Any]) -> str | None:
    named = [element for element in shown if element.get("rel") == "author"]
    named += [element for element in shown if _patterns().author.search(_name_of(element))]
    named = [element for element in named if not _is_elsewhere(element)]
    texts = (text for element in named if (text := _text_of(element)) and len(text) <= 2 * AUTHOR_CHARS)
    return next((found for text in texts if (found := _people([text]))), None)


def _shown_day(shown: list[Any], times: list[Any]) -> date | None:
    texts = [e.get("datetime") or _text_of(e) for e in times if not _is_elsewhere(e)][:1]
    dated = (e for e in shown if _patterns().date.search(_name_of(e)) and not _is_elsewhere(e))
    texts += [_text_of(element) for element in islice(dated, 3)]
    return next((found for text in texts if text and (found := day(text))), None)


# --- inside ---------------------------------------------------------------------------------------


def _json_ld(scripts: list[Any]) -> Iterator[dict[str, Any]]:
    """Objects of the page's JSON-LD that have a type of writing."""
    for element in scripts:
        if "ld+json" not in (element.get("type") or "") or not element.text or len(element.text) > JSON_CHARS:
            continue
        try:
            value = json.loads(element.text, strict=False)
        except (ValueError, RecursionError):
            continue
        pending = [value]
        for _ in range(200):
            if not pending:
                break
            item = pending.pop(0)
            if isinstance(item, list):
                pending[:0] = item
            elif isinstance(item, dict):
                pending += [v for key in ("@graph", "mainEntity", "mainEntityOfPage") if (v := item.get(key))]
                if _TYPES.search(_kind(item)):
                    yield item


def _kind(item: dict[str, Any]) -> str:
    kind = item.get("@type")
    return str(kind[0] if isinstance(kind, list) and kind else kind)


def _rank(item: dict[str, Any]) -> int:
    """An article goes before the page that holds it."""
    return int(_kind(item).lower().endswith("webpage"))


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return _names(value.get("name"))
    if isinstance(value, list):
        return [name for item in value[:20] for name in _names(item)]
    return []


def _people(names: list[str]) -> str | None:
    """Those that are names, without `By` and the like, parted by commas."""
    return ", ".join(dict.fromkeys(name for raw in names if (name := _person(raw))))[:AUTHOR_CHARS] or None


def _person(raw: str) -> str | None:
    parts = " ".join(raw.split()).split("|")
    name = next((part for part in parts if _patterns().byline.match(part)), parts[0])
    name = _patterns().byline.sub("", name).strip(" ,;，；、-–—:：")
    if not name or len(name) > AUTHOR_CHARS or "://" in name or name.startswith(("www.", "@", "{")) or day(name):
        return None
    return name if any(c.isalpha() for c in name) and name.lower() not in _lists()["nobody"] else None


def _name_of(element: Any) -> str:
    return element.get("class") or element.get("itemprop") or element.get("rel") or ""


def _is_elsewhere(element: Any) -> bool:
    for above in element.iterancestors():
        if above.tag in ("aside", "footer", "nav") or _patterns().elsewhere.search(
            f"{above.get('class')} {above.get('id')}"
        ):
            return True
    return False


def _text_of(element: Any) -> str | None:
    if element is None:
        return None
    return " ".join("".join(element.itertext()).split()) or None


def _date(year: int, month: int, number: int) -> date | None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        return date(year, month, number)
    except ValueError:
        return None


@cache
def _lists() -> dict[str, list[str]]:
    found: dict[str, list[str]] = yaml.safe_load(LISTS.read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True)
class _Patterns:
    """The page's words of wordlists/page_meta.yaml, compiled."""

    byline: re.Pattern[str]
    showing: re.Pattern[str]
    author: re.Pattern[str]
    date: re.Pattern[str]
    elsewhere: re.Pattern[str]


@cache
def _patterns() -> _Patterns:
    words = {name: "|".join(found) for name, found in _lists().items()}
    return _Patterns(
        byline=re.compile(rf"(?i)^\s*(?:{words['bylines']})\s*"),
        showing=re.compile(words["showing"]),
        author=re.compile(rf"(?i)(?:^|[\s_-])(?:{words['shown_author']})(?:$|\s)"),
        date=re.compile(rf"(?i)(?:^|[\s_-])(?:{words['shown_date']})(?:$|\s)"),
        elsewhere=re.compile(rf"(?i){words['elsewhere']}"),
    )
