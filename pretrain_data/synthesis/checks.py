"""Whether an answer may stand for a document: a rule's name, the measured value and the threshold where it may not.

What the checks can't see is whether the text is true: they catch the failures that are cheap to catch (cut off, talk
with the user, another language, invented or lost numbers, personal data, copies).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import pyarrow as pa

from pretrain_data.kernels import language, pii

#: A run of characters without spaces (Chinese) is looked at by characters, the rest by words.
NGRAM = {"zh": 13, "en": 8}
_TOKENS = {"zh": re.compile(r"[^\W_]"), "en": re.compile(r"[^\W_]+")}
_NUMBER = re.compile(r"(?<![A-Za-z\d.])\d+(?:,\d{3})+(?:\.\d+)?|(?<![A-Za-z\d])\d+(?:\.\d+)?")
_CHINESE = re.compile(r"[〇零一二两三四五六七八九十百千万亿]{2,}")
_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_LARGE = {"万": 10**4, "亿": 10**8}


@dataclass(frozen=True)
class Bounds:
    """What an answer must keep to."""

    min_ratio: float
    max_ratio: float
    max_copied: float
    max_invented: int
    min_kept: float


@dataclass(frozen=True)
class Fault:
    """Why an answer may not stand; `value` and `threshold` where the rule has them."""

    rule: str
    value: float | None = None
    threshold: float | None = None


def check(answer: str, finish_reason: str, original: str, lang: str, bounds: Bounds) -> Fault | None:
    """The first fault of an answer, None where there is none. `lang` is the original's, zh or en."""
    text = answer.strip()
    if finish_reason not in ("stop", ""):
        return Fault("cut_off")
    if not text or _talks(text):
        return Fault("talk")
    ratio = len(text) / max(1, len(original))
    if not bounds.min_ratio <= ratio <= bounds.max_ratio:
        return Fault("length_ratio", ratio, bounds.min_ratio if ratio < bounds.min_ratio else bounds.max_ratio)
    if language.detect(text)[0] != lang:
        return Fault("other_language")
    spans = pii.find(pa.array([text], pa.large_string()))
    if personal := int((~spans.of(pii.weak_types())).sum()):
        return Fault("personal_data", float(personal), 0.0)
    ours, theirs = numbers(text), numbers(original)
    if len(ours - theirs) > bounds.max_invented:
        return Fault("invented_numbers", float(len(ours - theirs)), float(bounds.max_invented))
    kept = len(ours & theirs) / len(theirs) if theirs else 1.0
    if kept < bounds.min_kept:
        return Fault("lost_numbers", kept, bounds.min_kept)
    share = copied(text, original, lang)
    if share > bounds.max_copied:
        return Fault("copied", share, bounds.max_copied)
    return None


def _talks(text: str) -> bool:
    head = unicodedata.normalize("NFKC", text[:60]).lower().replace("’", "'").lstrip("#*\"'“‘ ")
    return head.startswith(_refusals()) or text.startswith("```")


@lru_cache(maxsize=1)
def _refusals() -> tuple[str, ...]:
    lines = (files("pretrain_data.synthesis") / "refusals.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def numbers(text: str) -> set[str]:
    """The numbers of a text from ten on and all with a fraction: full-width and Chinese ones in ASCII digits, thousands
    unparted, no zeros at the end of a fraction. Smaller ones count paragraphs as often as things."""
    text = unicodedata.normalize("NFKC", text)
    found = set()
    for match in _NUMBER.finditer(text):
        value = match[0].replace(",", "")
        if "." in value:
            value = value.rstrip("0").rstrip(".")
        value = value.lstrip("0") or "0"
        if "." in value or len(value) > 1:
            found.add(value)
    for match in _CHINESE.finditer(text):
        number = chinese_number(match[0])
        if number is not None and number >= 10:
            found.add(str(number))
    return found


def chinese_number(text: str) -> int | None:
    """二〇二四 → 2024, 三百零五 → 305, 一万二千 → 12000; None for a run that is no number."""
    if all(c in _DIGITS for c in text):
        return int("".join(str(_DIGITS[c]) for c in text))
    total = section = 0
    digit: int | None = None
    for c in text:
        if c in _DIGITS:
            if digit:
                return None
            digit = _DIGITS[c]
        elif c in _UNITS:
            section += (1 if digit is None and c == "十" else digit or 0) * _UNITS[c]
            digit = None
        else:
            section += digit or 0
            # 亿 lifts all that came before it, 万 what came since.
            total = (total + section) * _LARGE[c] if c == "亿" else total + section * _LARGE[c]
            section, digit = 0, None
    return total + section + (digit or 0)


def copied(text: str, original: str, lang: str) -> float:
    """Share of the text's n-grams (8 words, in Chinese 13 characters) that stand in the original; case aside."""
    ours, theirs = (_ngrams(t, lang) for t in (text, original))
    return sum(gram in theirs for gram in ours) / len(ours) if ours else 0.0


def _ngrams(text: str, lang: str) -> set[tuple[str, ...]]:
    size = NGRAM[lang]
    tokens = _TOKENS[lang].findall(unicodedata.normalize("NFKC", text).lower())
    return {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}
