"""spaCy's way to cut a piece between spaces, with regular expressions: prefixes, suffixes, special cases, infixes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

PUNCTUATION = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
QUOTES = "'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧"
CURRENCY = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"


@lru_cache(maxsize=1)
def classes() -> dict[str, str]:
    """Contents of character classes, with the code points of Unicode's categories."""
    of: dict[str, list[str]] = {}
    for code in range(0x20000):
        char = chr(code)
        category = unicodedata.category(char)
        if category[0] == "L" or category == "So":
            of.setdefault(category, []).append(re.escape(char))
    alpha = {k: "".join(v) for k, v in of.items()}
    uncased = alpha["Lo"] + alpha["Lm"]
    return {
        "icon": alpha["So"],
        "lower": alpha["Ll"] + uncased,
        "upper": alpha["Lu"] + alpha["Lt"] + uncased,
        "alpha": alpha["Ll"] + alpha["Lu"] + alpha["Lt"] + uncased,
    }


@lru_cache(maxsize=1)
def patterns(units: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    c = classes()
    marks, quotes, money = re.escape(PUNCTUATION), re.escape(QUOTES), re.escape(CURRENCY)
    prefix = rf"^(?:[§%=—–{marks}{quotes}{money}{c['icon']}]|\+(?![0-9])|\.\.+|US\$|[CA]\$)"
    suffix = [
        rf"……|[{marks}{quotes}{c['icon']}—–]|\.\.+|['’][sS]|(?<=[0-9])\+|(?<=°[FfCcKk])\.",
        rf"(?<=[0-9])(?:[{money}]|{'|'.join(re.escape(u) for u in sorted(units, key=len, reverse=True)) or '%'}|%)",
        rf"(?<=[0-9{c['lower']}%²\-+|{marks}{quotes}])\.|(?<=[{c['upper']}][{c['upper']}])\.",
    ]
    infix = [
        rf"\.\.+|[…{c['icon']}]|(?<=[0-9])[+\-*^](?=[0-9-])",
        rf"(?<=[{c['lower']}{quotes}])\.(?=[{c['upper']}{quotes}])|(?<=[{c['alpha']}]),(?=[{c['alpha']}])",
        rf"(?<=[{c['alpha']}0-9])(?:---|--|-|–|——|—|~)(?=[{c['alpha']}])",
        rf"(?<=[{c['alpha']}0-9])[:<>=/](?=[{c['alpha']}])",
    ]
    return re.compile(prefix), re.compile("|".join(f"(?:{s})\\Z" for s in suffix)), re.compile("|".join(infix))


@lru_cache(maxsize=1)
def address() -> re.Pattern[str]:
    c = classes()
    host = r"(?:(?:[A-Za-z0-9\u00a1-\uffff][A-Za-z0-9\u00a1-\uffff_-]{0,62})?[A-Za-z0-9\u00a1-\uffff]\.)+"
    scheme = rf"(?:[{c['alpha']}0-9_+.-]{{2,}}://)?"
    return re.compile(rf"{scheme}(?:\S+@)?{host}[{c['lower']}]{{2,63}}(?::[0-9]{{2,5}})?(?:[/?#]\S*)?", re.DOTALL)


def cut(piece: str, specials: Mapping[str, Sequence[str]], units: Sequence[str] = (), merge: bool = True) -> list[str]:
    """The tokens of a piece."""
    find_prefix, find_suffix, find_infix = patterns(tuple(units))
    front: list[str] = []
    back: list[str] = []
    rest, size = piece, -1
    while rest and len(rest) != size and rest not in specials:
        size = len(rest)
        match = find_prefix.search(rest)
        before = match.end() if match else 0
        if before and rest[before:] in specials:
            front.append(rest[:before])
            rest = rest[before:]
            break
        match = find_suffix.search(rest[before:])
        behind = len(match.group()) if match else 0
        if behind:
            back.append(rest[-behind:])
            if rest[:-behind] in specials:
                rest = rest[:-behind]
                break
            rest = rest[:-behind]
        front += [rest[:before]] if before else []
        rest = rest[before:]
    middle = list(specials[rest]) if rest in specials else [rest]
    if rest not in specials and not address().fullmatch(rest):
        middle, start = [], 0
        for match in find_infix.finditer(rest):
            if match.start() == 0:
                continue
            middle += [rest[start : match.start()], match.group()]
            start = match.end()
        middle.append(rest[start:])
    tokens = [token for token in [*front, *middle, *reversed(back)] if token]
    return merged(tokens, specials, units) if merge else tokens


def merged(tokens: list[str], specials: Mapping[str, Sequence[str]], units: Sequence[str]) -> list[str]:
    """Tokens that make up a special case which is kept whole, put together: the longest from each place."""
    result, i = [], 0
    while i < len(tokens):
        longest = 1
        for size in range(2, len(tokens) - i + 1):
            text = "".join(tokens[i : i + size])
            if len(text) > 15:
                break
            whole = list(specials.get(text, ())) == [text] and not text[0].isalnum()
            if whole and cut(text, {}, units, merge=False) == tokens[i : i + size]:
                longest = size
        result.append("".join(tokens[i : i + longest]))
        i += longest
    return result
