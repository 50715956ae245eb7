"""Winnowed n-grams, the runs that they make and where these stand, against plain Python."""

from __future__ import annotations

import itertools
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_minhash import ALPHABET, tokens

from pretrain_data.kernels import substrings

TEXTS = st.lists(
    st.text(alphabet=st.sampled_from("abC 1，中文ＡＢﬁ½㍿\n'-\u0301\ufe0f"), max_size=40), min_size=1, max_size=5
)
#: Few words, so that equal grams and equal neighbours are many.
REPETITIVE = st.lists(
    st.lists(st.sampled_from(["a", "b", "中", "文 "]), max_size=60).map(" ".join), min_size=1, max_size=4
)


def every_gram(texts: list[str], n: int) -> list[list[tuple[str, ...]]]:
    found = [tokens(text, False) for text in texts]
    return [[tuple(t[i : i + n]) for i in range(len(t) - n + 1)] for t in found]


@settings(max_examples=150, deadline=None)
@given(st.one_of(TEXTS, REPETITIVE), st.integers(1, 5), st.sampled_from([pa.string(), pa.large_string()]))
def test_equal_grams_and_no_others_have_equal_hashes(texts: list[str], n: int, kind: pa.DataType) -> None:
    found = substrings.grams(pa.array(["pad", *texts], kind).slice(1), n, 1)
    expected = [(i, at, gram) for i, grams in enumerate(every_gram(texts, n)) for at, gram in enumerate(grams)]
    assert list(zip(found.row.tolist(), found.token.tolist(), strict=True)) == [e[:2] for e in expected]
    said: dict[tuple[str, ...], int] = {}
    for h, (*_, gram) in zip(found.hash.tolist(), expected, strict=True):
        assert said.setdefault(gram, h) == h
    assert len(set(said.values())) == len(said)


@settings(max_examples=200, deadline=None)
@given(st.one_of(TEXTS, REPETITIVE), st.integers(1, 4), st.integers(1, 9))
def test_chosen_is_the_rightmost_least_of_each_window(texts: list[str], n: int, window: int) -> None:
    every = substrings.grams(pa.array(texts), n, 1)
    expected = []
    for row in range(len(texts)):
        hashes = every.hash[every.row == row].astype(np.uint64).tolist()
        width = min(window, len(hashes))
        chosen = set()
        for start in range(len(hashes) - width + 1) if hashes else ():
            part = hashes[start : start + width]
            chosen.add(start + max(i for i in range(width) if part[i] == min(part)))
        expected += [(row, at, hashes[at]) for at in sorted(chosen)]
    found = substrings.grams(pa.array(texts), n, window)
    got = zip(found.row.tolist(), found.token.tolist(), found.hash.astype(np.uint64).tolist(), strict=True)
    assert list(got) == expected


def test_two_in_a_window_and_one_are_chosen_on_average() -> None:
    rng = np.random.default_rng(5)
    text = " ".join(f"w{i}" for i in rng.integers(0, 10**9, 40_000))
    for window in (8, 50):
        share = len(substrings.grams(pa.array([text]), 50, window).row) / 40_000
        assert share == pytest.approx(2 / (window + 1), rel=0.06)


@settings(max_examples=300)
@given(st.data())
def test_runs_are_what_gone_grams_cover_and_kept_ones_do_not(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 4))
    rows, places, gone, kept, counts = [], [], [], [], []
    expected = []
    for row in range(data.draw(st.integers(1, 3))):
        some = data.draw(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("gk-"), st.integers(2, 9))))
        grams = sorted({at: (at, what, count) for at, what, count in some}.values())
        rows += [row] * len(grams)
        places += [at for at, *_ in grams]
        gone += [what == "g" for _, what, _ in grams]
        kept += [what == "k" for _, what, _ in grams]
        counts += [count for *_, count in grams]
        # A gone gram joins what it overlaps or touches: as cells, and the borders between them.
        cells = [any(w == "g" and at <= x < at + n for at, w, _ in grams) for x in range(40)]
        free = [c and not any(w == "k" and at <= x < at + n for at, w, _ in grams) for x, c in enumerate(cells)]
        x = 0
        while x < 40:
            end = x
            while end < 40 and free[end]:
                end += 1
            if end - x >= n:
                least = min(c for at, w, c in grams if w == "g" and at < end and at + n > x)
                expected.append((row, x, end, least))
            x = max(end, x + 1)
    found = substrings.Grams(np.array(rows, np.int64), np.array(places, np.int64), np.zeros(len(rows), np.int64))
    got = substrings.runs(found, np.array(gone, bool), np.array(kept, bool), np.array(counts, np.int64), n)
    assert list(zip(*(array.tolist() for array in got), strict=True)) == expected


def joined(text: str) -> list[bool]:
    """Whether each token can't be parted from the one before it: by the rules, character by character."""
    spans: list[tuple[int, int]] = []
    run = False
    for i, raw in enumerate(text):
        form = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", raw).lower())
        form = "".join(c for c in form if not unicodedata.combining(c))
        if not form and spans and spans[-1][1] == i:
            spans[-1] = (spans[-1][0], i + 1)
        for c in form:
            found = tokens(c, False)
            if not found:
                run = False
            elif run and tokens("x" + c, False) == ["x" + c]:
                spans[-1] = (spans[-1][0], i + 1)
            else:
                spans.append((i, i + 1))
                run = tokens("x" + c, False) == ["x" + c]
    assert len(spans) == len(tokens(text, False))
    out = [False]
    for (_, before), (start, _) in itertools.pairwise(spans):
        between = text[before:start] if start >= before else "'"
        digits = text[max(before - 1, 0)].isdigit() and text[start].isdigit() and text[start].isascii()
        out.append(
            between in ("'", "’", "-")
            or (between in (".", ",") and digits and text[before - 1].isascii())
            or (not between and text[start] == "\ufe0f")
        )
    return out[: len(spans)]


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet=st.sampled_from(ALPHABET + "㍿\u0301\ufe0f’.12\ufdfa"), max_size=40), st.data())
def test_a_run_is_cut_where_words_and_characters_end(text: str, data: st.DataObject) -> None:
    every = tokens(text, False)
    if not every:
        return
    first = data.draw(st.integers(0, len(every) - 1))
    last = data.draw(st.integers(first + 1, len(every)))
    run = substrings.Runs(*(np.array([x], np.int64) for x in (1, first, last, 2)))
    start, end = (int(x[0]) for x in substrings.places(pa.array(["pad", text]), run))
    apart = [*(not j for j in joined(text)), True]
    edges = [x for x in range(first, last + 1) if apart[x]]
    if len(edges) < 2:
        assert (start, end) == (0, 0)
        return
    before, within, after = (
        part.decode() for part in (text.encode()[:start], text.encode()[start:end], text.encode()[end:])
    )
    assert tokens(within, False) == every[edges[0] : edges[-1]]
    assert tokens(before, False) == every[: edges[0]]
    assert tokens(after, False) == every[edges[-1] :]
    assert not unicodedata.combining((after or " ")[0]) or (before + within)[-1] in " \n\t,.，。！'’_-—\u0301"


def test_places_by_hand() -> None:
    cases = [
        ("He didn't see it", 1, 3, "didn't"),
        ("He didn't see it", 2, 4, "see"),
        ("costs 3.14 now and 10,000 then", 1, 3, "3.14"),
        ("costs 3.14 now and 10,000 then", 2, 6, "now and"),
        ("one,two", 0, 1, "one"),
        ("甲乙ＡＢＣ丙", 1, 3, "乙ＡＢＣ"),
        ("㍿が来た", 1, 6, "が来"),
        ("が\u3099き", 0, 1, "が\u3099"),
        ("état civil", 0, 1, "état"),
        ("葛\ufe00城", 0, 2, "葛\ufe00"),
    ]
    texts = pa.array([text for text, *_ in cases])
    run = substrings.Runs(
        np.arange(len(cases)), *(np.array([c[i] for c in cases], np.int64) for i in (1, 2)), np.full(len(cases), 2)
    )
    start, end = substrings.places(texts, run)
    got = [c[0].encode()[a:b].decode() for c, a, b in zip(cases, start, end, strict=True)]
    assert got == [c[3] for c in cases]
