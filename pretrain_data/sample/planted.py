"""What is planted in the sample: personal data with valid check digits, edits of known similarity."""

from __future__ import annotations

import random
import unicodedata

from stdnum import luhn
from stdnum.cn import ric

_REGIONS = ("110101", "310104", "330106", "440305", "510107", "320102")
_SEGMENTS = ("130", "138", "139", "150", "158", "176", "186", "189", "199")
_AREAS = ("010", "021", "028", "0571", "0755")
_NAMES = ("lin.xia", "zhou.wei", "m.ortega", "anna.fenwick", "jlind", "p.marsh", "chen.yu", "garden.club")
_HOSTS = ("example.com", "example.org", "mail.example.net")


def values(seed: str) -> dict[str, tuple[str, str]]:
    """Invented personal data for one page: placeholder -> (type, value), the same for the same seed."""
    rng = random.Random(seed)

    def digits(count: int) -> str:
        return "".join(str(rng.randrange(10)) for _ in range(count))

    birth = f"{rng.randrange(1950, 2005)}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}"
    identity = rng.choice(_REGIONS) + birth + digits(3)
    card = "622848" + digits(12)
    return {
        "phone": ("PHONE", rng.choice(_SEGMENTS) + digits(8)),
        "usphone": ("PHONE", f"{rng.randrange(210, 980)}-{rng.randrange(210, 980)}-{digits(4)}"),
        "landline": ("PHONE_LANDLINE", f"{rng.choice(_AREAS)}-{rng.randrange(2, 9)}{digits(7)}"),
        "email": ("EMAIL", f"{rng.choice(_NAMES)}{rng.randrange(10, 99)}@{rng.choice(_HOSTS)}"),
        "id": ("ID_CARD", identity + ric.calc_check_digit(identity + "0")),
        "bank": ("BANK_CARD", card + luhn.calc_check_digit(card)),
        "ip": (
            "IP",
            f"{rng.randrange(60, 99)}.{rng.randrange(1, 255)}.{rng.randrange(1, 255)}.{rng.randrange(1, 255)}",
        ),
        "plate": ("PLATE", f"京A{digits(3)}K{digits(1)}"),
        "wechat": ("WECHAT", f"reader_{digits(4)}"),
        "qq": ("QQ", f"{rng.randrange(1, 10)}{digits(8)}"),
        "ssn": ("US_SSN", f"{rng.randrange(101, 650)}-{rng.randrange(11, 99)}-{rng.randrange(1001, 9999)}"),
    }


def edited(text: str, lang: str, edits: int, seed: str) -> str:
    """The text with that many words (characters of Chinese) replaced, spread over it; a near-duplicate."""
    rng = random.Random(seed)
    units = list(text) if lang == "zh" else text.split(" ")
    letters = [i for i, unit in enumerate(units) if any(c.isalpha() for c in unit)]
    for at in rng.sample(letters, min(edits, len(letters))):
        units[at] = (
            rng.choice("东南西北春夏秋冬山水") if lang == "zh" else rng.choice(("amber", "quiet", "seven", "river"))
        )
    return ("" if lang == "zh" else " ").join(units)


def jaccard(one: str, other: str, lang: str) -> float:
    """Exact similarity of two texts: sets of character 5-grams (zh) or word 5-grams (en) of folded text.

    Folded: NFKC, lower case, letters and digits only; in Chinese without any space, in English as words.
    """
    sets = []
    for text in (one, other):
        folded = unicodedata.normalize("NFKC", text).lower()
        spaced = "".join(c if unicodedata.category(c)[0] in "LN" else " " for c in folded)
        units = list(spaced.replace(" ", "").replace("\n", "")) if lang == "zh" else spaced.split()
        sets.append({tuple(units[i : i + 5]) for i in range(max(1, len(units) - 4))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])
