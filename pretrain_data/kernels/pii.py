"""Finds personal data in texts and replaces it; what it looks like is data (wordlists/pii.yaml).

RE2 scans the Arrow buffers for places that could hold a type at all; only documents that have one meet Python's
`re` (which knows look-around) and the validators. Offsets are code points of the text as it is given.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from stdnum import luhn
from stdnum.cn import ric
from stdnum.exceptions import ValidationError
from stdnum.us import ssn

CONTEXT = 24  # characters before a span that may hold its context

#: Full-width ASCII to ASCII, one code point for one, so that offsets stay.
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_FULL_WIDTH = re.compile("[\uff01-\uff5e]")


class Span(NamedTuple):
    """[start, end) in code points, and the type."""

    start: int
    end: int
    type: str


@dataclass(frozen=True)
class Type:
    """One type of personal data, compiled."""

    name: str
    scan: str
    pattern: re.Pattern[str]
    validator: Callable[[str, str], bool] | None


@cache
def _data() -> dict[str, Any]:
    text = (resources.files("pretrain_data.wordlists") / "pii.yaml").read_text("utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


@cache
def known_types() -> tuple[str, ...]:
    """Names of all types, in the order in which they are tried."""
    return tuple(_data()["types"])


@cache
def _type(name: str) -> Type:
    entry = _data()["types"][name]
    validator = VALIDATORS[entry["validator"]] if "validator" in entry else None
    return Type(name, entry["scan"], re.compile(entry["pattern"]), validator)


def find(text: pa.Array, types: Iterable[str] | None = None) -> list[list[Span]]:
    """The spans of each document, sorted, without overlaps; null has none."""
    wanted = [_type(name) for name in (types if types is not None else known_types())]
    found: list[list[Span]] = [[] for _ in range(len(text))]
    wide = _scan(text, _data()["full_width"])
    hits = {t.name: _scan(text, t.scan) | wide for t in wanted}
    rows = np.flatnonzero(np.logical_or.reduce(list(hits.values()))) if hits else np.zeros(0, np.int64)
    for row, value in zip(rows.tolist(), text.take(pa.array(rows, pa.int64())).to_pylist(), strict=True):
        found[row] = find_in(value, [t for t in wanted if hits[t.name][row]])
    return found


def _scan(text: pa.Array, pattern: str) -> Any:
    """For each document whether the RE2 pattern occurs in it (bool)."""
    return pc.fill_null(pc.match_substring_regex(text, pattern), False).to_numpy(zero_copy_only=False)


def find_in(text: str, types: Iterable[Type]) -> list[Span]:
    """The spans of one text."""
    narrow = text.translate(_NARROW) if _FULL_WIDTH.search(text) else text
    spans: list[Span] = []
    taken: list[tuple[int, int]] = []
    for kind in types:
        for match in kind.pattern.finditer(narrow):
            start, end = match.span("value") if "value" in match.groupdict() else match.span()
            if any(start < high and low < end for low, high in taken):
                continue
            if kind.validator is not None and not kind.validator(
                narrow[start:end], narrow[max(0, start - CONTEXT) : start]
            ):
                continue
            taken.append((start, end))
            spans.append(Span(start, end, kind.name))
    return sorted(spans)


def scrub(text: str, spans: Iterable[Span], replacement: Callable[[Span, str], str]) -> str:
    """The text with each span replaced; all else stays, code point by code point."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], replacement(span, text[span.start : span.end])]
        at = span.end
    return "".join([*parts, text[at:]])


# --- validators: (matched text, text before it) -> whether it is what it looks like -----------------


def _id_card(value: str, before: str) -> bool:
    """Check digit and a date that was; not the region, since codes come and go with the districts."""
    number = value.upper()
    try:
        ric.get_birth_date(number)
    except ValidationError:
        return False
    return ric.calc_check_digit(number) == number[-1]


def _bank_card(value: str, before: str) -> bool:
    digits = re.sub(r"\D", "", value)
    if not luhn.is_valid(digits) or len(set(digits)) < 4 or _not_a_number(before):
        return False
    data = _data()
    named = any(word in before for word in data["card_words"])
    return named or (digits.startswith(tuple(data["card_prefixes"])) and len(digits) >= 15)


def _ip(value: str, before: str) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    word = before.rstrip(" :=：").lower()
    if any(word.endswith(w) for w in _data()["not_before_ip"]):
        return False
    if isinstance(address, ipaddress.IPv6Address) and value.count(":") == 7:
        return not address.is_private
    return address.is_global


def _us_ssn(value: str, before: str) -> bool:
    return bool(ssn.is_valid(value))


@cache
def _segments() -> frozenset[str]:
    return frozenset(" ".join(_data()["mobile_segments"]).split())


def _phone(value: str, before: str) -> bool:
    if _not_a_number(before):
        return False
    digits = re.sub(r"\D", "", value)
    domestic = re.sub(r"^(?:00)?86(?=1\d{10}$)", "", digits)
    if len(domestic) == 11 and domestic[0] == "1" and domestic[1] in "3456789":
        return domestic[:3] in _segments()
    if value.startswith("+"):
        try:
            return phonenumbers.is_possible_number(phonenumbers.parse(value))
        except phonenumbers.NumberParseException:
            return False
    return True


def _handle(value: str, before: str) -> bool:
    return any(c.isdigit() or c in "_-" for c in value) or len(value) >= 6


def _not_a_number(before: str) -> bool:
    tail = before.rstrip(" :：#.为是No")
    return any(tail.endswith(word) or (word in before[-10:]) for word in _data()["not_numbers"])


VALIDATORS: dict[str, Callable[[str, str], bool]] = {
    "id_card": _id_card,
    "bank_card": _bank_card,
    "ip": _ip,
    "us_ssn": _us_ssn,
    "phone": _phone,
    "handle": _handle,
}
