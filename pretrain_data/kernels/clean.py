"""Makes any string fit for Parquet and for reading: NFC, no NUL, no surrogates, newlines are \\n."""

from __future__ import annotations

import re
import unicodedata

_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")
_INVISIBLE = re.compile("[\u00ad\u200b\u2060-\u2064\u180e\ufff9-\ufffb]|[\u202a-\u202e\u2066-\u2069]")
_NEWLINES = re.compile("\r\n?|\x85|\u2028|\u2029")
_TRAILING = re.compile(r"[ \t\u00a0\u3000]+$", re.MULTILINE)
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]"
_STACKED = re.compile(f"({_MARK}{{4}}){_MARK}+")
_GAPS = re.compile(r"\n{4,}")


def clean(text: str, keep_invisible: bool = False) -> str:
    """Normalise line ends, drop control characters and lone surrogates, compose (Unicode TR15, NFC).

    Zero-width spaces, soft hyphens, word joiners and direction marks go too unless `keep_invisible`;
    zero-width joiners stay, since scripts and emoji need them. White space at line ends goes, and
    of more than three newlines in a row three stay, and of more than four combining marks on a letter four.
    """
    if text.isascii():
        return _squeeze(_CONTROLS.sub("", _NEWLINES.sub("\n", text)))
    text = _NEWLINES.sub("\n", text)
    text = _CONTROLS.sub("", text)
    if not keep_invisible:
        text = _INVISIBLE.sub("", text)
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return _squeeze(_STACKED.sub(r"\1", text))


def _squeeze(text: str) -> str:
    return _GAPS.sub("\n\n\n", _TRAILING.sub("", text)).strip("\n")
