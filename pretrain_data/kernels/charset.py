"""Bytes to text: the encoding is chosen by evidence, of which labels are only a part.

A byte-order mark decides. Valid UTF-8 with multi-byte characters decides, whatever the labels say (other
encodings almost never make valid UTF-8 by chance). Else the labels and the usual suspects decode the page
and the reading that looks most like text wins. Labels are mapped as the WHATWG Encoding Standard does.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([-\w:.]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([-\w:.]{2,40})", re.IGNORECASE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHINESE = ("gb18030", "big5hkscs")
#: Python's decoders for WHATWG labels that differ from their names: the superset that pages really use.
_DECODERS = {
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "big5": "big5hkscs",
    "iso-8859-1": "cp1252",
    "x-user-defined": "latin-1",
}

SAMPLE = 1 << 16  # bytes that are looked at to choose between readings
LABEL_BONUS = 0.05  # of a reading's score, for an encoding that the page names itself


@dataclass(frozen=True)
class Decoded:
    """Text, the encoding it was read by, and the share of characters that could not be read."""

    text: str
    encoding: str
    bad_share: float


def decode(body: bytes, label: str = "") -> Decoded:
    """Decode a page of `body` bytes; `label` is the charset of its HTTP header, if any. Never raises."""
    for bom, name in _BOMS:
        if body.startswith(bom):
            return _read(body[len(bom) :], name)
    if body[:4096].count(0) > len(body[:4096]) // 5:
        return _read(body, "utf-16-le" if body[1:2] == b"\0" else "utf-16-be")
    head = body[:SAMPLE]
    if b"\x1b$" in head or b"\x1b(" in head:
        return _read(body, "iso-2022-jp")
    try:
        return Decoded(body.decode("utf-8"), "utf-8", 0.0)
    except UnicodeDecodeError as error:
        if error.start > 0 and _mostly_utf8(head):
            return _read(body, "utf-8")
    labels = _labels(body, label)
    guess = _known(detect_encoding(head))
    names = list(dict.fromkeys([*labels, *([guess] if guess else []), *_CHINESE]))
    best = max(names, key=lambda name: (_likeness(head, name) + LABEL_BONUS * (name in labels), -names.index(name)))
    return _read(body, best)


def _labels(body: bytes, label: str) -> list[str]:
    found = [label]
    for pattern in (_META, _XML):
        match = pattern.search(body[:4096])
        if match:
            found.append(match[1].decode("ascii", "ignore"))
    return [name for name in (_known(f) for f in found) if name and not name.startswith("utf-16")]


@cache
def _known(label: str | None) -> str | None:
    """Python's codec for a label, None where there is none."""
    if not label:
        return None
    standard = map_encoding_to_html5(label.strip().lower(), fallback_utf8=False)
    if standard is None:  # no label of the web's: Python knows codecs that aren't encodings of text
        return None
    name = standard.lower()
    name = _DECODERS.get(name, name)
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):  # unknown, or with a NUL in it
        return None
    return info.name if getattr(info, "_is_text_encoding", True) else None


def _read(body: bytes, name: str) -> Decoded:
    text = body.decode(name, "replace")
    return Decoded(text, name, text.count("\ufffd") / max(1, len(text)))


def _mostly_utf8(head: bytes) -> bool:
    """A few broken bytes in a page of UTF-8: cut-off characters, an injected advert."""
    text = head.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    good = sum(1 for c in text if c > "\x7f") - bad
    return good > 20 * bad


def _likeness(head: bytes, name: str) -> float:
    """How much like written text a reading looks: about 1 for real text, below 0 for rubbish.

    Counts the non-ASCII characters: common Chinese ones and kana count 1, others that letters or
    punctuation are 0.5, unreadable ones -5, private use and controls -2.
    """
    text = head.decode(name, "replace")
    common = _common()
    score, count = 0.0, 0
    for character in text:
        if character < "\x80":
            continue
        count += 1
        if character in common:
            score += 1.0
        elif character == "\ufffd":
            score -= 5.0
        elif "\ue000" <= character <= "\uf8ff" or character < "\xa0":
            score -= 2.0
        elif "\u4e00" <= character <= "\u9fff":
            score += 0.3
        elif "\xc0" <= character <= "\u024f" or "\u0370" <= character <= "\u05ff":
            score += 0.55
        elif "\uac00" <= character <= "\ud7a3":
            score += 0.6
        else:
            score += 0.2
    return score / count if count else 0.0


@cache
def _common() -> frozenset[str]:
    """Characters that make up most of any Chinese or Japanese page."""
    text = (resources.files("pretrain_data.wordlists") / "common_characters.txt").read_text("utf-8")
    return frozenset("".join(line for line in text.splitlines() if not line.startswith("#")))
