"""Whether a matched text is what it looks like: check digits, dates, ranges, and the words around it.

A validator gets the text, the characters before it and those after it, all folded to ASCII forms. Check digits are
python-stdnum's, telephone numbers phonenumbers'.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import ipaddress
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from functools import cache

import phonenumbers
from stdnum import bitcoin, iban, luhn
from stdnum.cn import ric, uscc
from stdnum.exceptions import ValidationError
from stdnum.us import ssn

Validator = Callable[[str, str, str], bool]
VALIDATORS: dict[str, Validator] = {}


def _validator(function: Validator) -> Validator:
    VALIDATORS[function.__name__] = function
    return function


@cache
def _list(name: str) -> tuple[str, ...]:
    from pretrain_data.kernels.pii.types import data

    return tuple(str(item).lower() for item in data()[name])


def _said(name: str, before: str) -> bool:
    """Whether one of the list's words stands before."""
    low = before.lower()
    return any(word in low for word in _list(name))


def _digits(value: str) -> str:
    return re.sub(r"\D", "", value)


def _not_a_number(before: str) -> bool:
    """Whether the number is said to be an order's, a book's and so on."""
    near = before[-10:].lower()
    tail = before.rstrip(" :.#为是No").lower()
    return any(word in near or tail.endswith(word) for word in _list("not_numbers"))


def _letter_follows(after: str) -> bool:
    return after[:1].isascii() and after[:1].isalnum()


@_validator
def email(value: str, before: str, after: str) -> bool:
    """Anything but the top-level domain that no address can have (RFC 2606), which surrogates use."""
    return not value.lower().endswith(".invalid")


@_validator
def id_card(value: str, before: str, after: str) -> bool:
    """GB 11643-1999: check digit, a date that was, a province that is."""
    number = value.upper()
    if number[:2] not in _list("regions"):
        return False
    try:
        born = ric.get_birth_date(number)
    except ValidationError:
        return False
    return born.year >= 1880 and ric.calc_check_digit(number) == number[-1]


@_validator
def id_card_old(value: str, before: str, after: str) -> bool:
    """Fifteen digits, as before 1999: province, date (19yy) and a word that says so, since it has no check digit."""
    if value[:2] not in _list("regions") or not _said("id_words", before):
        return False
    try:
        datetime.date(1900 + int(value[6:8]), int(value[8:10]), int(value[10:12]))
    except ValueError:
        return False
    return True


@_validator
def credit_code(value: str, before: str, after: str) -> bool:
    """GB 32100-2015; one that is an identity number too is left to that."""
    return bool(uscc.is_valid(value)) and value[2:4] in _list("regions")


@_validator
def bank_card(value: str, before: str, after: str) -> bool:
    """ISO/IEC 7812: Luhn digit, and an issuer's first digits or a word before it."""
    digits = _digits(value)
    if not luhn.is_valid(digits) or len(set(digits)) < 4 or _not_a_number(before):
        return False
    if _said("card_words", before):
        return True
    return digits.startswith(_list("card_prefixes")) and len(digits) >= 15 and not _letter_follows(after)


@_validator
def iban_number(value: str, before: str, after: str) -> bool:
    """ISO 13616."""
    return bool(iban.is_valid(value))


VALIDATORS["iban"] = VALIDATORS.pop("iban_number")


@_validator
def ip(value: str, before: str, after: str) -> bool:
    """A public address, and not a version or a section; full IPv6 ones unless private."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    word = before.rstrip(" :=").lower()
    if any(word.endswith(w) for w in _list("not_before_ip")):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if value.count(":") == 7:
            return not address.is_private and not address.is_multicast
        # Times, ratios and hexadecimal offsets have colons too: an address has a letter or a real prefix.
        return address.is_global and not _letter_follows(after) and "::" in value and len(value) >= 8
    if _letter_follows(after) and not re.search(r"(?i)\bip|地址|address|server|host|from|来自", before):
        return False
    return address.is_global and not address.is_multicast


@_validator
def mac(value: str, before: str, after: str) -> bool:
    """A burnt-in address: not all zeros or ones, not a multicast one, not a date or a time."""
    digits = re.sub(r"[^0-9A-Fa-f]", "", value)
    number = int(digits, 16)
    plain = (digits.isdigit() or "." in value) and not re.search(r"(?i)\bmac|ether|物理地址|網卡|网卡", before)
    return 0 < number < (1 << 48) - 1 and not number >> 40 & 1 and not plain


@_validator
def us_ssn(value: str, before: str, after: str) -> bool:
    """SSA: areas 000, 666 and 900 up, and zeros in a group, were never given."""
    return bool(ssn.is_valid(value)) and not _letter_follows(after)


@cache
def _segments() -> frozenset[str]:
    return frozenset(" ".join(_list("mobile_segments")).split())


@_validator
def mobile(value: str, before: str, after: str) -> bool:
    """A Chinese mobile number of a segment in use; glued to letters only where a word says what it is."""
    number = _digits(value)[-11:]
    if _not_a_number(before) or number[:3] not in _segments() or len(set(number)) < 3:
        return False
    return not _letter_follows(after) or _said("phone_words", before)


@_validator
def landline(value: str, before: str, after: str) -> bool:
    """Area code, and seven or eight digits; glued to letters only where a word says what it is."""
    if _not_a_number(before):
        return False
    return not _letter_follows(after) or _said("phone_words", before)


@_validator
def landline_glued(value: str, before: str, after: str) -> bool:
    """Without a sign behind the area code only where a word says what it is."""
    return _said("phone_words", before) and not _not_a_number(before)


@_validator
def service_phone(value: str, before: str, after: str) -> bool:
    """400 and 800 numbers; bare digits only where a word says what they are."""
    return not _not_a_number(before) and ("-" in value or _said("phone_words", before))


@_validator
def international_phone(value: str, before: str, after: str) -> bool:
    """A number that can be under its country's plan (ITU E.164)."""
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(value))
    except phonenumbers.NumberParseException:
        return False


@_validator
def us_phone(value: str, before: str, after: str) -> bool:
    """Area and exchange codes begin with 2 to 9 (the pattern sees to it)."""
    return not _not_a_number(before)


@_validator
def named_phone(value: str, before: str, after: str) -> bool:
    """Any grouped number behind a word for telephone: seven to twelve digits, not a date."""
    digits = _digits(value)
    return 7 <= len(digits) <= 12 and not re.fullmatch(r"[12]\d{3}-\d{2}-\d{2}", value)


@_validator
def handle(value: str, before: str, after: str) -> bool:
    """An account's name and not a word: a digit or a sign in it, or long enough."""
    return any(c.isdigit() or c in "_-" for c in value) or len(value) >= 6


def _entropy(value: str) -> float:
    """Shannon entropy of its characters, in bits a character."""
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())


@_validator
def api_key(value: str, before: str, after: str) -> bool:
    """As good as random, with a digit: not a word, a placeholder or a name in snake case."""
    body = re.sub(r"^(?:[a-z]{2,12}[-_])+", "", value)
    return len(body) >= 12 and any(c.isdigit() for c in body) and _entropy(body) >= 3.0


@_validator
def jwt(value: str, before: str, after: str) -> bool:
    """RFC 7519: a header in base64url that is a JSON object and names its algorithm."""
    head = value.split(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return False
    return isinstance(header, dict) and "alg" in header


@_validator
def wallet(value: str, before: str, after: str) -> bool:
    """Bitcoin and Tron by their checksums; the forty hexadecimal digits of Ethereum only behind a word for it."""
    if value.startswith("0x"):
        return _said("wallet_words", before)
    if value.startswith("T"):
        return _tron(value)
    return bool(bitcoin.is_valid(value))


def _tron(value: str) -> bool:
    """Base58Check with the version byte 0x41."""
    try:
        raw = bitcoin.b58decode(value)
    except (ValueError, KeyError, ValidationError):
        return False
    import hashlib

    body, check = raw[:-4], raw[-4:]
    return len(raw) == 25 and raw[0] == 0x41 and hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4] == check


@_validator
def address_zh(value: str, before: str, after: str) -> bool:
    """Long enough to lead to a door."""
    return len(value) >= 8


@_validator
def address_en(value: str, before: str, after: str) -> bool:
    """A number, and a street: not a year before a title."""
    number = value.split(" ", 1)[0]
    year = len(number) == 4 and 1800 <= int(number) <= 2100
    named = re.search(r"(?i)\b(?:at|address|live[sd]?|located|to|of|on|in)\W{0,3}$", before) is not None
    detail = re.search(r"(?i)\b(?:apt|apartment|suite|ste|unit|room|flat)\b", value) is not None
    return detail or named or not year
