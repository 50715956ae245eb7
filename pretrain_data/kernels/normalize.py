"""Tables that fold a text to what matters for near-duplicates: one look-up a code point, no strings.

Folding is NFKC, then lower case, per code point (full-width to half-width, ligatures and units spelt out); then
each code point is a separator, a token of its own (Chinese, kana, Hangul), or part of a run of letters and
digits that is one token. Combining marks are folded away. On request a traditional Chinese character folds to its
simplified one as well, so that the two editions of a text are alike. Source: Unicode TR15 (NFKC), TR24 (scripts);
OpenCC's table of characters.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SEPARATOR, SINGLE, RUN = 0, 1, 2
LIMIT = 0x30000  # code points above are single tokens of themselves (rare Chinese) or separators
#: Tokens that a byte of text can become at most: U+FDFA, three bytes, is spelt out in fifteen letters.
TOKENS_A_BYTE = 5
VERSION = 1  # of the folding; goes into manifests, since signatures of two versions don't compare


class Tables(NamedTuple):
    """`folded[c]` is the folded code point, or -(i + 1) where it folds to several: `spelt[start[i]:start[i+1]]`.

    `ascii[b]` is the same for a byte b < 128, 0 for a separator and for the bytes of all other code points (256): one
    look-up for most of English.
    """

    folded: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int32]
    spelt: npt.NDArray[np.int32]
    ascii: npt.NDArray[np.uint8]


def name(simplified: bool) -> str:
    """What the folding is called in manifests: signatures of two foldings don't compare."""
    opencc = f"+simplified-opencc-{version('opencc-python-reimplemented')}" if simplified else ""
    return f"nfkc-{VERSION}{opencc}"


@cache
def tables(simplified: bool = False) -> Tables:
    """The folding tables, made once a process (0.2 s; 0.5 s with `simplified`: traditional characters fold too)."""
    folded = np.arange(LIMIT, dtype=np.int32)
    kind = np.zeros(LIMIT, dtype=np.uint8)
    starts, spelt = [0], list[int]()
    for code in range(LIMIT):
        if 0xD800 <= code <= 0xDFFF:
            continue
        character = chr(code)
        kind[code] = _kind(character)
        if code < 0x80:
            folded[code] = ord(character.lower())
            continue
        if 0x3400 <= code <= 0x9FFF or 0xAC00 <= code <= 0xD7A3:
            continue  # most of the table, and none of it folds
        form = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", character).lower())
        form = "".join(c for c in form if not unicodedata.combining(c))
        if len(form) == 1:
            folded[code] = ord(form)
        elif form != character:
            spelt.extend(map(ord, form))
            starts.append(len(spelt))
            folded[code] = -(len(starts) - 1)
    if simplified:
        further = np.arange(LIMIT, dtype=np.int32)
        for one, other in simplified_characters().items():
            further[ord(one)] = ord(other)
        # Last, so that what NFKC folds to a traditional character (a radical, a compatibility form) goes on too.
        folded = np.where(folded >= 0, further[folded], folded).astype(np.int32)
        spelt = further[np.array(spelt, np.int32)].tolist()
    plain = np.zeros(256, np.uint8)
    plain[:128] = np.where(kind[:128] == SEPARATOR, 0, folded[:128])
    return Tables(folded, kind, np.array(starts, np.int32), np.array(spelt or [0], np.int32), plain)


@cache
def simplified_characters() -> dict[str, str]:
    """Traditional characters with their simplified ones, one for one, as OpenCC has them."""
    import opencc

    # OpenCC looks at each character on its own for 0.5 s; only keys of its tables can change.
    tables = sorted((Path(opencc.__file__).parent / "dictionary").glob("TS*.txt"))
    if not tables:
        raise FileNotFoundError(
            f"{opencc.__file__}: no dictionary/TS*.txt beside it; install opencc-python-reimplemented"
        )
    keys = {line.partition("\t")[0] for path in tables for line in path.read_text(encoding="utf-8").splitlines()}
    han = sorted(key for key in keys if len(key) == 1 and _may_convert(ord(key)))
    converted = opencc.OpenCC("t2s").convert("\n".join(han)).split("\n")
    return {one: other for one, other in zip(han, converted, strict=True) if one != other and len(other) == 1}


def _may_convert(code: int) -> bool:
    return 0x3400 <= code < 0xA000 or 0x20000 <= code < LIMIT


def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if category[0] not in "LNM":
        return SEPARATOR
    code = ord(character)
    if category == "Lo" and (
        0x2E80 <= code <= 0x9FFF or 0xAC00 <= code <= 0xD7A3 or 0xF900 <= code <= 0xFAFF or code >= 0x20000
    ):
        return SINGLE
    return RUN
