"""Keywords against a plain search, and the folding, boundaries and separators they see through."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.kernels import keywords


def hits(text: str, *terms: str) -> int:
    found, _ = keywords.count(pa.array([text]), keywords.compile_keywords({"t": terms}))
    return int(found[0, 0])


@pytest.mark.parametrize(
    ("text", "term", "times"),
    [
        ("请加微信购买", "加微信", 1),
        ("请加 微*信购买", "加微信", 1),
        ("加·微-信", "加微信", 1),
        ("加\u200b微信", "加微信", 1),  # zero-width space
        ("加。微信", "加微信", 0),  # a sentence ends between
        ("加\n微信", "加微信", 0),
        ("澳門賭場", "澳门赌场", 1),  # traditional
        ("澳门赌场", "澳門賭場", 1),
        ("ＣＡＳＩＮＯ", "casino", 1),  # full width
        ("Casino bonus", "casino", 1),
        ("casinos", "casino", 0),
        ("c.a.s.i.n.o now", "casino", 1),
        ("c a s i n o", "casino", 1),
        ("a cas ino", "casino", 0),
        ("赌场casino赌场", "casino", 1),  # Chinese beside Latin is a boundary
        ("free   spins", "free spins", 1),
        ("free-spins", "free spins", 1),
        ("freespins", "free spins", 0),
        ("free, spins", "free spins", 0),
        ("加QQ群", "加qq", 1),
        ("加QQX", "加QQ", 0),
        ("pk10开奖", "pk10", 1),
        ("pk100", "pk10", 0),
        ("加微信加微信", "加微信", 2),
    ],
)
def test_one_term(text: str, term: str, times: int) -> None:
    assert hits(text, term) == times


def test_the_longest_counts() -> None:
    matcher = keywords.compile_keywords({"short": ["赌博"], "long": ["赌博网站", "网站"]})
    found, _ = keywords.count(pa.array(["赌博网站和赌博", "网站"]), matcher)
    assert found.tolist() == [[1, 0], [1, 1]]


def test_a_term_of_two_categories_counts_for_both() -> None:
    matcher = keywords.compile_keywords({"a": ["广告"], "b": ["广告", "推广"]})
    found, lines = keywords.count(pa.array(["广告\n广告广告\n推广"]), matcher)
    assert found.tolist() == [[3], [4]]
    assert lines.tolist() == [[2], [3]]


@pytest.mark.parametrize("terms", [["a"], [""], ["x" * 65], [" 的 "]])
def test_terms_that_cannot_be(terms: list[str]) -> None:
    with pytest.raises(ValueError, match="needs 2 to 64"):
        keywords.compile_keywords({"t": terms})


def test_too_many_categories() -> None:
    with pytest.raises(ValueError, match="at most 32"):
        keywords.compile_keywords({f"c{i}": ["ab"] for i in range(33)})


TERMS = st.lists(st.text("甲乙丙丁", min_size=2, max_size=4), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.text("甲乙丙丁。", max_size=60), TERMS)
def test_chinese_like_an_alternation(text: str, terms: list[str]) -> None:
    longest_first = sorted(set(terms), key=len, reverse=True)
    expected = len(re.findall("|".join(longest_first), text))
    assert hits(text, *terms) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["ab", "abc", "b", "a", " ", ", "]), max_size=30).map("".join),
    st.lists(st.sampled_from(["ab", "abc", "ab ab", "ba", "b abc"]), min_size=1),
)
def test_english_like_whole_words(text: str, terms: list[str]) -> None:
    if re.search(r"(?<![ab])[ab] +[ab](?![ab])", text):
        return  # spelled-out letters are seen through
    longest_first = sorted(set(terms), key=len, reverse=True)
    pattern = "|".join(t.replace(" ", " +") + r"(?![abc])" for t in longest_first)
    expected = len(re.findall(f"(?<![abc])(?:{pattern})", text))
    assert hits(text, *terms) == expected


def test_fold_keeps_the_length() -> None:
    text = "ＡＢＣ漢字ﬁ㈠Ⅷ①é賭"
    assert len(keywords.fold(text)) == len(text)
    assert keywords.fold("ＡＢ漢賭") == "ab汉赌"
