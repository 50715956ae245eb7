"""The rule language: what it means, and what it refuses."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pretrain_data.errors import ConfigError
from pretrain_data.rules.expression import NUMBER, STRING, Vocabulary, parse

NAMES = Vocabulary(
    {
        "signals.words": NUMBER,
        "signals.zh_share": NUMBER,
        "signals.chars": NUMBER,
        "signals.lines": NUMBER,
        "lang": STRING,
        "url": STRING,
        "quality_score": NUMBER,
    }
)
BATCH = {
    "signals.words": np.array([10, 50, 90], np.int32),
    "signals.zh_share": np.array([0.1, 0.5, 0.9], np.float32),
    "signals.chars": np.array([100, 0, 1000], np.int32),
    "signals.lines": np.array([1, 2, 4], np.int32),
    "lang": pa.array(["en", "zh", None]),
    "url": pa.array(["http://a.com/x", None, "https://b.cn"]),
    "quality_score": np.array([0.5, np.nan, 0.9], np.float32),
}


def rows(text: str, **parameters: float | str) -> list[bool]:
    return parse(text, NAMES, "here", parameters).test(BATCH).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("signals.words < 50", [True, False, False]),
        ("signals.words <= 50", [True, True, False]),
        ("50 > signals.words", [True, False, False]),
        ('signals.zh_share < 0.6 and lang == "zh"', [False, True, False]),
        ('signals.words < 50 or lang == "zh"', [True, True, False]),
        ("not signals.words < 50", [False, True, True]),
        ("20 < signals.words < 80", [False, True, False]),
        ("signals.zh_share > 0.1", [False, True, True]),  # 0.1 in 32 bits is not above 0.1
        ("signals.zh_share == 0.1", [True, False, False]),
        ("signals.words / signals.chars > 0.08", [True, False, True]),  # x / 0 is never above
        ("signals.words / signals.chars != 0", [True, False, True]),
        ("signals.words * 2 - 10 >= signals.chars - 10 + 0", [False, True, False]),
        ("-signals.words < -60", [False, False, True]),
        ("per_thousand(signals.words) > 90", [True, False, False]),
        ("per_line(signals.words) >= 23", [False, True, False]),
        ("min(signals.words, 20) == 20", [False, True, True]),
        ("max(signals.words, 60) > 60", [False, False, True]),
        ("abs(signals.words - 50) > 0", [True, False, True]),
        ('lang in ["en", "zh"]', [True, True, False]),
        ('lang not in ["en"]', [False, True, False]),  # null: not known, so not judged
        ('lang != "en"', [False, True, False]),
        ("signals.words in [10, 90]", [True, False, True]),
        ('startswith(url, "http://")', [True, False, False]),
        ('endswith(url, ".cn")', [False, False, True]),
        ('contains(url, "a.")', [True, False, False]),
        ("quality_score < 0.6", [True, False, False]),
        ("quality_score != 0.5", [False, False, True]),
        ("true", [True, True, True]),
        ("signals.words < 50 and true", [True, False, False]),
        ("signals.words\n  < 50", [True, False, False]),
    ],
)
def test_meaning(text: str, expected: list[bool]) -> None:
    assert rows(text) == expected


def test_parameters() -> None:
    assert rows("signals.words < least", least=60) == [True, True, False]
    assert rows("lang == which", which="zh") == [False, True, False]


def test_evidence_is_the_first_comparison_that_holds() -> None:
    rule = parse("signals.words > 80 or signals.zh_share < 0.6 and signals.chars >= 0", NAMES, "here")
    value, threshold = rule.evidence(BATCH, rule.test(BATCH))
    assert value.tolist() == pytest.approx([0.1, 0.5, 90])
    assert threshold.tolist() == [0.6, 0.6, 80]
    rule = parse('not (3 <= signals.lines) and lang == "zh"', NAMES, "here")
    value, threshold = rule.evidence(BATCH, rule.test(BATCH))
    assert (value[1], threshold[1]) == (2, 3)
    assert np.isnan(value[[0, 2]]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("signals.word < 50", "unknown signal signals.word; did you mean signals.words?"),
        ("lnag == 'zh'", "unknown column or parameter lnag; did you mean lang?"),
        ("signals.words", "is a number, not a condition"),
        ("lang", "is a string, not a condition"),
        ("signals.words < 'a'", "compares a number with a string"),
        ("lang < 'zh'", "can only be == or !="),
        ("lang + 1 > 2", "is a string where a number is needed"),
        ("signals.words and true", "is a number where a true or false is needed"),
        ("1 < 2", "compares two constants"),
        ("signals.words <", "can't be read"),
        ("__import__('os').system('true')", "isn't a function of the rule language"),
        ("().__class__", "isn't part of the rule language"),
        ("lambda: 1", "isn't part of the rule language"),
        ("[x for x in lang]", "isn't part of the rule language"),
        ("signals.words ** 9 > 1", "isn't part of the rule language"),
        ("signals.words.real > 1", "isn't part of the rule language"),
        ("contains(lang, url)", "takes a column and a literal"),
        ("abs(signals.words, 1) > 0", "takes 1 argument"),
        ("lang in 'en zh'", "needs a list of literals"),
        ("lang in [1]", "list of literals that are strings"),
        ("signals.words is 1", "isn't part of the rule language"),
        ("signals.words < 1j", "isn't a number, a string"),
        ("(" * 300 + "true" + ")" * 300, "can't be read"),
        (" and ".join(["not " * 2000 + "true"]), "here: "),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="here: ") as error:
        parse(text, NAMES, "here")
    assert message in str(error.value)


def test_a_predicate_must_be_text() -> None:
    with pytest.raises(ConfigError, match="is text such as"):
        parse(True, NAMES, "here")
