"""Lines and paragraphs by the hash of what they say, and texts without some, against plain Python."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from test_minhash import tokens

from pretrain_data.kernels import passages

LINES = st.sampled_from(
    ["", " ", "\u3000\t", "one two", "One,  TWO!", "版权所有", "版權所有 请勿转载", "……", "a b c d", "ｏｎｅ"]
)
TEXTS = st.lists(st.lists(LINES, max_size=8).map("\n".join), min_size=1, max_size=5)


def by_definition(text: str, lines: bool, paragraphs: bool, least: int) -> list[tuple[int, int, tuple[str, ...], int]]:
    """(start, end, tokens, kind) of each passage, in characters; a paragraph behind its lines."""
    out = []
    at = 0
    block: list[tuple[int, int]] = []
    for line in [*text.split("\n"), ""]:
        if line.strip(" \t\r\u00a0\u3000"):
            block.append((at, at + len(line)))
            found = tokens(line, False)
            if lines and len(found) >= least:
                out.append((at, at + len(line), tuple(found), passages.LINE))
        elif block:
            start, end = block[0][0], block[-1][1]
            found = tokens(text[start:end], False)
            if paragraphs and len(found) >= least and (len(block) > 1 or not lines):
                out.append((start, end, tuple(found), passages.PARAGRAPH))
            block = []
        at += len(line) + 1
    return out


@settings(max_examples=150)
@given(TEXTS, st.booleans(), st.booleans(), st.integers(1, 3), st.sampled_from([pa.string(), pa.large_string()]))
def test_passages_are_those_of_the_definition(
    texts: list[str], lines: bool, paragraphs: bool, least: int, kind: pa.DataType
) -> None:
    column = pa.array(["pad", *texts], kind).slice(1)
    found = passages.find(column, lines, paragraphs, least)
    expected = [(i, *p) for i, t in enumerate(texts) for p in by_definition(t, lines, paragraphs, least)]
    got = zip(found.row.tolist(), found.start.tolist(), found.end.tolist(), found.kind.tolist(), strict=True)
    in_bytes = [(i, len(texts[i][:a].encode()), len(texts[i][:b].encode()), k) for i, a, b, _, k in expected]
    assert list(got) == in_bytes
    said = {}
    for h, (*_, what, _) in zip(found.hash.tolist(), expected, strict=True):
        assert said.setdefault(what, h) == h, "what says the same has the same hash"
    assert len(set(said.values())) == len(said), "and what doesn't, has not"
    outer = found.where(passages.outermost(found))
    start, end = passages.places(column, outer)
    inner = [(i, a, b) for i, a, b, *_ in expected]
    alone = sorted(
        x for x in set(inner) if not any(x != y and x[0] == y[0] and y[1] <= x[1] and x[2] <= y[2] for y in inner)
    )
    assert list(zip(outer.row.tolist(), start.tolist(), end.tolist(), strict=True)) == alone


@settings(max_examples=200)
@given(TEXTS, st.data())
def test_what_stays_are_the_other_lines_in_order(texts: list[str], data: st.DataObject) -> None:
    column = pa.array(texts, pa.large_string())
    found = passages.find(column, True, True, 1)
    some = data.draw(st.lists(st.booleans(), min_size=len(found.row), max_size=len(found.row)))
    gone = found.where(np.array(some, np.bool_))
    gone = gone.where(passages.outermost(gone))
    left = passages.without(column, gone).to_pylist()
    for i, text in enumerate(texts):
        cuts = [(a, b) for r, a, b in zip(gone.row, gone.start, gone.end, strict=True) if r == i]
        if not cuts:
            assert left[i] == text
            continue
        at, kept = 0, []
        for line in text.split("\n"):
            if not any(a <= at < b or (a == at == b) for a, b in cuts):
                kept.append(line)
            at += len(line.encode()) + 1
        filled = [line for line in kept if line.strip(" \t\r\u00a0\u3000")]
        assert [line for line in left[i].split("\n") if line.strip(" \t\r\u00a0\u3000")] == filled
        assert not left[i].endswith("\n") or text.endswith("\n")


def test_blank_lines_close_up_where_something_went() -> None:
    cases = {
        "a\n\nX\n\nb": "a\n\nb",
        "a\nX\nb": "a\nb",
        "a\nX\n\nb": "a\n\nb",
        "a\n\nX\nb": "a\n\nb",
        "X\n\nb": "b",
        "a\n\nX": "a",
        "a\nX\n": "a",
        "X": "",
        "a\n\n\n\nb\nX": "a\n\n\n\nb",
        "版权\nX\n正文": "版权\n正文",
    }
    texts = pa.array([t.replace("X", "x y z") for t in cases])
    found = passages.find(texts, True, False, 3)
    assert passages.without(texts, found).to_pylist() == list(cases.values())


def test_traditional_lines_are_simplified_ones_on_request() -> None:
    texts = pa.array(["版權所有，請勿轉載", "版权所有 请勿转载！"])
    apart, alike = (passages.find(texts, True, True, 1, simplified).hash for simplified in (False, True))
    assert apart[0] != apart[1]
    assert alike[0] == alike[1]


def test_keys_tell_ids_apart_and_are_not_negative() -> None:
    ids = [f"{i:032x}" for i in range(2000)]
    found = passages.keys(pa.array(ids))
    assert len(set(found.tolist())) == len(ids)
    assert found.min() >= 0
    assert passages.keys(pa.array(ids[::-1]))[::-1].tolist() == found.tolist()
    words = [re.sub("0", "a", i) for i in ids]
    assert not set(passages.keys(pa.array(words)).tolist()) & set(found.tolist())
