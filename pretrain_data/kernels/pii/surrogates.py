"""Made-up values in the places of real ones: the same for the same value and key, of the same form, and nobody's.

Every surrogate lies where no real value can, so that it never hits a person and is never found again (scrubbing twice
is scrubbing once): reserved networks and domains (RFC 2606, 3849, 5737), segments and area codes that aren't given out,
letters that plates don't use, check digits that are wrong, names that nobody bears.
"""

from __future__ import annotations

import hashlib
import random
import re
import string
from collections.abc import Callable

from stdnum import iban, luhn
from stdnum.cn import ric, uscc

from pretrain_data.kernels.pii.types import data

HASH_CHARS = 16


def keyed(value: str, key: bytes, kind: str) -> int:
    """A number from the value, its type and the key (BLAKE2b, 128 bits)."""
    return int.from_bytes(hashlib.blake2b(f"{kind}\0{value}".encode(), key=key[:64], digest_size=16).digest(), "big")


def digest(value: str, key: bytes, kind: str) -> str:
    """The value's keyed hash in hexadecimal digits, for joins that must not show it."""
    return f"{keyed(value, key, kind):032x}"[:HASH_CHARS]


def surrogate(value: str, key: bytes, kind: str) -> str:
    """The value's made-up twin. Raises KeyError for a type without one (see `TYPES`)."""
    return TYPES[kind](value, random.Random(keyed(value, key, kind)))


def _like(value: str, rng: random.Random) -> str:
    """Other digits for digits, other letters for letters; signs stay."""
    kinds = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
    return "".join(next((rng.choice(kind) for kind in kinds if char in kind), char) for char in _ascii(value))


def _ascii(value: str) -> str:
    return value.translate({code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)})


def _put(value: str, digits: str) -> str:
    """`value` with its first digits replaced by `digits`."""
    out, rest = [], list(digits)
    for char in value:
        out.append(rest.pop(0) if rest and char.isdigit() else char)
    return "".join(out)


def _phone(value: str, rng: random.Random) -> str:
    made = _like(value, rng)
    digits = [c for c in made if c.isdigit()]
    if value.lstrip().startswith(("+", "＋")):
        return _put(made, "999")  # a country code in reserve
    # No Chinese number begins with 12 or 0 0, no American exchange with 0.
    return _put(made, "12") if len(digits) == 11 else _put(made, "000" if len(digits) < 10 else "0000")


def _landline(value: str, rng: random.Random) -> str:
    """The area code goes too: 000 is none."""
    return _put(_like(value, rng), "0000")


def _id_card(value: str, rng: random.Random) -> str:
    born = f"{rng.randrange(1920, 2010)}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}"
    body = f"000000{born}{rng.randrange(1000):03}"  # no region begins with 00
    if len(value) == 15:
        return body[:6] + body[8:17]
    right = ric.calc_check_digit(body)
    return body + rng.choice([c for c in string.digits if c != right])


def _wrong_luhn(value: str, rng: random.Random) -> str:
    """Zeros in front are nobody's, and so is a wrong check digit."""
    made = _put(_like(value, rng), "0000")
    digits = "".join(c for c in made if c.isdigit())
    last = rng.choice([c for c in string.digits if c != luhn.calc_check_digit(digits[:-1])])
    at = max(i for i, c in enumerate(made) if c.isdigit())
    return made[:at] + last + made[at + 1 :]


def _email(value: str, rng: random.Random) -> str:
    name = "".join(rng.choice(string.ascii_lowercase) for _ in range(8))
    return f"{name}@mail.invalid"


def _ip(value: str, rng: random.Random) -> str:
    if ":" in value:
        return "2001:db8::" + ":".join(f"{rng.randrange(1, 1 << 16):x}" for _ in range(3))
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}"


def _plate(value: str, rng: random.Random) -> str:
    return value[0] + "I" + _like(value[2:], rng)


def _chinese(value: str) -> bool:
    return any("㐀" <= char <= "鿿" for char in value)


def _stems(rng: random.Random) -> str:
    return "".join(rng.sample(data()["pseudonyms"]["stems"], 2))


def _unnamed(rng: random.Random) -> str:
    return "-".join(rng.sample(data()["pseudonyms"]["unnamed"], 2))


def _person(value: str, rng: random.Random) -> str:
    words = data()["pseudonyms"]
    if _chinese(value):
        return f"{rng.choice(words['surnames'])}某{_stems(rng)}"
    return f"{rng.choice(words['given'])} {_unnamed(rng)}"


def _address(value: str, rng: random.Random) -> str:
    """Without a number, so that it is none to a pattern."""
    return f"某市某区某路{_stems(rng)}号" if _chinese(value) else f"{_unnamed(rng)} House, Nowhere"


def _birth_date(value: str, rng: random.Random) -> str:
    """A day of the first millennium."""

    def figures(found: re.Match[str]) -> str:
        if len(found[0]) == 4:
            return f"0{rng.randrange(1000):03}"
        return f"{rng.randrange(1, 10 if len(found[0]) == 1 else 13):0{len(found[0])}}"

    def month(found: re.Match[str]) -> str:
        name: str = rng.choice(data()["pseudonyms"]["months"])
        return name if len(found[0]) > 3 else name[:3]

    return re.sub(r"[0-9]+", figures, re.sub(r"[A-Z][a-z]{2,8}", month, _ascii(value)))


def _wallet(value: str, rng: random.Random) -> str:
    """With a letter that none of the alphabets has."""
    known = next(len(start) for start in ("0x", "bc1", "") if value.startswith(start)) or 1
    return value[:known] + "I" + _like(value[known + 1 :], rng)


def pseudonym() -> str:
    """A regular expression (RE2) for the names and addresses made here."""
    words = data()["pseudonyms"]
    stems, unnamed = f"[{words['stems']}]{{2}}", f"(?:{'|'.join(words['unnamed'])})"
    return rf"[{words['surnames']}]某{stems}|某路{stems}号|\b{unnamed}-{unnamed}\b"


def _checked(valid: Callable[[str], bool]) -> Callable[[str, random.Random], str]:
    def make(value: str, rng: random.Random) -> str:
        made = _like(value, rng)
        while valid(made):
            made = _like(value, rng)
        return made

    return make


def _mac(value: str, rng: random.Random) -> str:
    """A group address: no card has one of its own."""
    made = "".join(rng.choice("0123456789abcdef") if c.isalnum() else c for c in value)
    return made[0] + "1" + made[2:]


#: What makes the surrogate of each type that has one.
TYPES: dict[str, Callable[[str, random.Random], str]] = {
    "PERSON": _person,
    "BIRTH_DATE": _birth_date,
    "TRAVEL_PERMIT": lambda value, rng: "I" + _like(value[1:], rng),
    "CRYPTO_WALLET": _wallet,
    "ADDRESS": _address,
    "EMAIL": _email,
    "PHONE": _phone,
    "PHONE_LANDLINE": _landline,
    "PHONE_SERVICE": lambda value, rng: _put(_like(value, rng), "000"),
    "ID_CARD": _id_card,
    "CREDIT_CODE": _checked(uscc.is_valid),
    "BANK_CARD": _wrong_luhn,
    "IBAN": _checked(iban.is_valid),
    "IP": _ip,
    "MAC": _mac,
    "US_SSN": lambda value, rng: _put(_like(value, rng), "000"),
    "PLATE": _plate,
    "QQ": lambda value, rng: _put(_like(value, rng), "0"),
    "WECHAT": lambda value, rng: "_" + _like(value, rng)[1:],
    "HANDLE": lambda value, rng: "_" + _like(value, rng)[1:],
    "PASSPORT": lambda value, rng: "0" + _like(value, rng)[1:-1] + "I",
}
