"""Chinese script of a text: simplified or traditional, by the characters that only one of them uses.

A character is traditional where OpenCC's table turns it into another simplified one, simplified where it
turns into another traditional one; most characters are common to both and say nothing.
"""

from __future__ import annotations

import re
from functools import cache

from pretrain_data.kernels.normalize import simplified_characters

SIMPLIFIED, TRADITIONAL, MIXED = "hans", "hant", "mixed"
HEAD = 4000  # characters looked at
MAIN_SHARE = 0.8  # of the telling characters, above which they decide
MIN_TELLING = 1


def script(text: str) -> str | None:
    """`hans`, `hant` or `mixed`; None where no character tells."""
    simplified_only, traditional_only = _patterns()
    sample = text[:HEAD]
    simplified, traditional = len(simplified_only.findall(sample)), len(traditional_only.findall(sample))
    total = simplified + traditional
    if total < MIN_TELLING:
        return None
    if simplified >= MAIN_SHARE * total:
        return SIMPLIFIED
    return TRADITIONAL if traditional >= MAIN_SHARE * total else MIXED


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    from opencc import OpenCC

    han = [chr(c) for c in range(0x3400, 0xA000)]
    to_traditional = OpenCC("s2t").convert("\n".join(han)).split("\n")
    traditional = simplified_characters().keys() & set(han)
    simplified = {c for c, other in zip(han, to_traditional, strict=True) if c != other}
    both = traditional & simplified
    return tuple(re.compile(f"[{''.join(sorted(chars - both))}]") for chars in (simplified, traditional))  # type: ignore[return-value]
