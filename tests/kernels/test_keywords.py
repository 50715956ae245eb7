"""Keywords against a plain search, and the folding, boundaries and separators they see through."""

from __future__ import annotations

import random
import re
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opencc import OpenCC

from pretrain_data.kernels import keywords

to_traditional = OpenCC("s2t").convert


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


def synthetic_terms(seed: int) -> dict[str, list[str]]:
    """5,000 terms, half Chinese of two to five characters and half English of one to three words."""
    drawn = random.Random(seed)
    zh = bytes(b for high in range(0xB0, 0xC0) for low in range(0xA1, 0xFF) for b in (high, low)).decode("gb2312")
    words = ["".join(drawn.choices("abcdefghij", k=drawn.randint(1, 9))) for _ in range(1500)]
    chinese = {"".join(drawn.choices(zh, k=drawn.randint(2, 5))) for _ in range(2500)}
    english = {" ".join(drawn.choices(words, k=drawn.randint(1, 3))) for _ in range(4000)}
    terms = sorted(chinese) + sorted(t for t in english if len(t) > 1)[:2500]
    return {f"c{k}": terms[k::7] for k in range(7)}


def written(term: str, drawn: random.Random) -> str:
    """A term as spammers write it: traditional, full width, upper case, with separators or invisible characters."""
    way = drawn.randrange(7)
    if way == 0:
        return to_traditional(term)
    if way == 1:
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in term)
    if way == 2:
        return term.upper()
    if way == 3 and len(term.replace(" ", "")) == len(term):
        return drawn.choice(["*", " ", "·", "-", "  ", "\u3000"]).join(term)
    if way == 4:
        return drawn.choice(["\u200b", "\u00ad"]).join(term)
    return term.replace(" ", drawn.choice([" ", "  ", "-", "_", "\u00a0"]))


def plain_count(text: str, masks: dict[tuple[str, ...], set[str]], longest: int) -> Counter[str]:
    """Matches by category by trying every length at every place of the folded text, in plain Python."""
    invisible = "\u200b\u00ad"
    folded: list[str] = []
    for c in keywords.fold(text):
        c = " " if c in keywords.SEPARATORS else c
        if c not in invisible and not (c == " " and folded and folded[-1] == " "):
            folded.append(c)

    def kind(i: int) -> int:
        c = folded[i] if 0 <= i < len(folded) else "\n"
        return 2 if "\u3400" <= c <= "\u9fff" else int(c.isalpha() or c.isdecimal())

    def ends(i: int) -> dict[int, tuple[str, ...]]:
        """Where reading from i may end, with what was read; separators may be read or be seen through."""
        reached, found = [(i, ())], {}
        while reached:
            j, read = reached.pop()
            if len(read) >= longest or j >= len(folded):
                continue
            if read and folded[j] == " " and (*read, " ") not in prefixes:
                between = kind(j - 1), kind(j + 1)
                alone = (j - i == 1 or kind(j - 2) != 1) and kind(j + 2) != 1
                if between == (2, 2) or (between == (1, 1) and alone):
                    reached.append((j + 1, read))
                continue
            read = (*read, folded[j])
            if read in prefixes:
                found[j + 1] = read
                reached.append((j + 1, read))
        return found

    prefixes = {term[:k] for term in masks for k in range(1, len(term) + 1)}
    counts: Counter[str] = Counter()
    i = 0
    while i < len(folded):
        best = i
        if not (kind(i) == 1 and kind(i - 1) == 1):
            for end, read in ends(i).items():
                if read in masks and not (kind(end - 1) == 1 and kind(end) == 1):
                    best = max(best, end)
            if best > i:
                counts.update(masks[ends(i)[best]])
        i = max(best, i + 1)
    return counts


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_thousands_of_terms_like_a_plain_search(seed: int) -> None:
    terms = synthetic_terms(seed)
    assert sum(map(len, terms.values())) == 5000
    masks: dict[tuple[str, ...], set[str]] = {}
    for category, own in terms.items():
        for term in own:
            masks.setdefault(tuple(keywords.fold(term)), set()).add(category)
    longest = max(map(len, masks))
    drawn = random.Random(seed + 100)
    everything = [t for own in terms.values() for t in own]
    fillers = ["，", "。", " ", "\n", "x", "的", "1", "é", "Ⓐ", ", ", "字母", "word ", "_", "½"]
    texts = [
        "".join(
            written(drawn.choice(everything), drawn) if drawn.random() < 0.6 else drawn.choice(fillers)
            for _ in range(drawn.randint(0, 40))
        )
        for _ in range(60)
    ]
    found, _ = keywords.count(pa.array(texts), keywords.compile_keywords(terms))
    wanted = [plain_count(text, masks, longest) for text in texts]
    assert found.T.tolist() == [[counts[c] for c in terms] for counts in wanted]
    assert found.sum() > 300


def test_fold_keeps_the_length() -> None:
    text = "ＡＢＣ漢字ﬁ㈠Ⅷ①é賭"
    assert len(keywords.fold(text)) == len(text)
    assert keywords.fold("ＡＢ漢賭") == "ab汉赌"
