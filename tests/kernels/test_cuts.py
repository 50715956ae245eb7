"""Spans cut out of texts: what stays, how it closes up, and spans that overlapped."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_minhash import tokens

from pretrain_data.kernels import cuts

#: What is cut stands in brackets.
BY_HAND = {
    "a [x y] b": "a b",
    "a[x]b": "a b",
    "甲[乙丙]丁": "甲丁",
    "甲 [乙 丙]丁": "甲 丁",
    "a中[文 x]b": "a中b",
    "甲乙。[丙丁]。戊": "甲乙。戊",
    "甲乙[丙丁]。戊": "甲乙。戊",
    "He said. [Shared words]. Next": "He said. Next",
    "He said [shared words], then": "He said, then",
    "He said [shared\nwords], then": "He said\nthen",
    "He said [shared\n\nwords] and": "He said\n\nand",
    "Title\n[shared words]. Next": "Title\nNext",
    "Title\n\n[shared words]\n\nNext": "Title\n\nNext",
    "a\n\n\n\nb [x]": "a\n\n\n\nb",
    "[x y]. b": "b",
    "a [x y].": "a.",
    "a. [x y].": "a.",
    "[x] [y]": "",
    "a [x] [y] b": "a b",
    "a [x]\n[y] b": "a\nb",
    "a [x], [y] b": "a, b",
    "a\n[x]\n    b": "a\n    b",
    "\u3000\u3000甲[乙]": "\u3000\u3000甲",
    "ＡＢ[Ｃ中]Ｄ": "ＡＢ Ｄ",
    "none": "none",
    "  none \n": "  none \n",
}


def spans(marked: list[str]) -> tuple[pa.Array, np.ndarray, np.ndarray, np.ndarray]:
    """Texts without their brackets, and row, start and end of what these enclosed."""
    rows, starts, ends, texts = [], [], [], []
    for row, text in enumerate(marked):
        plain = b""
        for part in re.split(r"([\[\]])", text):
            if part == "[":
                rows.append(row)
                starts.append(len(plain))
            elif part == "]":
                ends.append(len(plain))
            else:
                plain += part.encode()
        texts.append(plain.decode())
    return pa.array(texts, pa.large_string()), *(np.array(x, np.int64) for x in (rows, starts, ends))


def test_what_stays_closes_up() -> None:
    text, *where = spans(list(BY_HAND))
    assert cuts.without(text, *where).to_pylist() == list(BY_HAND.values())
    assert (
        cuts.without(text.slice(3), *(x[3:] - (3 if i == 0 else 0) for i, x in enumerate(where))).to_pylist()
        == list(BY_HAND.values())[3:]
    ), "a slice"


PARTS = st.lists(st.sampled_from(["a", "b1", "中", "文", "，", ".", " ", "\n", "\n\n", "\u3000", "(", "ﬁ"]), max_size=8)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(st.tuples(PARTS.map("".join), PARTS.map("".join)), max_size=4), min_size=1, max_size=3))
def test_words_that_stay_are_the_others_in_order(documents: list[list[tuple[str, str]]]) -> None:
    marked = ["".join(f"{stays}[{goes}]" if goes else stays for stays, goes in d) for d in documents]
    text, *where = spans(marked)
    for new, document in zip(cuts.without(text, *where).to_pylist(), documents, strict=True):
        runs, run = [], ""  # what stays, joined where nothing goes between
        for stays, goes in document:
            run += stays
            if goes:
                runs.append(run)
                run = ""
        runs.append(run)
        assert tokens(new, False) == [t for part in runs for t in tokens(part, False)]
        if len(runs) > 1:
            assert not re.search("^[ \n\u3000]", new) or runs[0].strip() != ""
            assert len(new.encode()) <= sum(len(s.encode()) + len(g.encode()) for s, g in document)


@settings(max_examples=300)
@given(st.text(alphabet="ab 中\n", min_size=12, max_size=30), st.data())
def test_apart_is_the_union_and_whole_ones_stay_whole(text: str, data: st.DataObject) -> None:
    size = len(text)
    edges = sorted(data.draw(st.sets(st.integers(0, size), max_size=6)))
    whole = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    edges = sorted(data.draw(st.sets(st.integers(0, size), max_size=6)))
    others = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    every = whole + others
    at = [0, *np.cumsum([len(c.encode()) for c in text]).tolist()]
    which, start, end = cuts.apart(
        pa.array(["pad", text]),
        np.ones(len(every), np.int64),
        np.array([at[a] for a, _ in every], np.int64),
        np.array([at[b] for _, b in every], np.int64),
        np.array([True] * len(whole) + [False] * len(others), bool),
    )
    got = [(at.index(a), at.index(b)) for a, b in zip(start.tolist(), end.tolist(), strict=True)]
    assert got == sorted(got)
    assert all(b <= c for (_, b), (c, _) in itertools.pairwise(got)), "apart"
    union = {x for a, b in every for x in range(a, b)}
    found = {x for a, b in got for x in range(a, b)}
    assert found <= union
    assert all(text[x].isspace() for x in union - found)
    for i, span in zip(which.tolist(), got, strict=True):
        assert span == every[i] if i < len(whole) else every[i][0] <= span[0] < span[1] <= every[i][1]
    inside = [w for w in whole if any(o[0] <= w[0] and w[1] <= o[1] for o in others)]
    assert {every[i] for i in which.tolist() if i < len(whole)} >= set(whole) - set(inside)


@pytest.mark.parametrize(
    ("text", "lines"),
    [("a\n\nX\n\nb", "a\n\nb"), ("a\nX\nb", "a\nb"), ("a\nX\n\nb", "a\n\nb"), ("X\n\nb", "b"), ("a\nX\n", "a")],
)
def test_whole_lines_go_as_they_do_alone(text: str, lines: str) -> None:
    marked, *where = spans([text.replace("X", "[x y z]")])
    assert cuts.without(marked, *where).to_pylist() == [lines]
