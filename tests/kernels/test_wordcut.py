"""Pieces cut into tokens: against spaCy's way in regular expressions, and against what spaCy itself gave."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wordcut_oracle import cut

from pretrain_data.kernels import wordcut
from pretrain_data.rules import englishcut

SPECIALS, UNITS = englishcut.load()
TABLES = wordcut.compile_cut(SPECIALS, UNITS)
ALPHABET = "abMz.Z09'’-–—~:/=<>()[]{}\"“”,;!?…_#*&%$€+^\\|@°éЖא한ｆ①²µ😀\u0301\u200b→·"
PIECES = st.one_of(
    st.text(st.sampled_from(ALPHABET), min_size=1, max_size=16),
    st.lists(
        st.sampled_from(
            [*"().,:;-'\"/=", "...", "--", "word", "Word", "US", "3", "km", "a.com", "http://", "x@y.org", *SPECIALS]
        ),
        min_size=1,
        max_size=6,
    ).map("".join),
)

#: What spaCy 3.8.18 (`spacy.blank("en")`) makes of these.
SPACY = {
    "(word),": "( word ) ,",
    "don't": "do n't",
    "Don’t.": "Do n’t .",
    "\"it's": "\" it 's",
    "well-known": "well - known",
    "O'Brien's": "O'Brien 's",
    "\\mathcal{O}_X": "\\mathcal{O}_X",
    "f(x):": "f(x ):",
    "record\\-sets.": "record\\-sets .",
    "http://a.com/b-c).": "http://a.com/b-c ) .",
    "me@example.org,": "me@example.org ,",
    "U.S.": "U.S.",
    "Mr.": "Mr.",
    "mat.": "mat .",
    "end.Next": "end . Next",
    "3.14": "3.14",
    "1,000": "1,000",
    "10am.": "10 am .",
    "5km/h": "5 km/h",
    "$5": "$ 5",
    "50%": "50 %",
    "a--b": "a -- b",
    "F-16": "F-16",
    "1990-2000": "1990 - 2000",
    "wait...what": "wait ... what",
    "=====": "= = = = =",
    "-----": "-----",
    ":)": ":)",
    "cannot": "can not",
    "<unk>": "< unk >",
    "and/or": "and/or",
    "either/or": "either / or",
    "snake_case_": "snake_case _",
}


@pytest.mark.parametrize("piece", SPACY)
def test_as_spacy_cuts(piece: str) -> None:
    assert wordcut.tokens_of(piece, TABLES) == SPACY[piece].split()


@settings(max_examples=1500, deadline=None)
@given(PIECES)
def test_as_the_oracle_cuts(piece: str) -> None:
    got = wordcut.tokens_of(piece, TABLES)
    assert "".join(got) == piece
    assert got == cut(piece, SPECIALS, UNITS)


@pytest.mark.parametrize("piece", ["." * 3_000_000, "(" * 3_000_000, "a@" * 1_000_000, "a.b-" * 500_000 + ".com"])
def test_time_does_not_grow_with_the_square(piece: str) -> None:
    assert "".join(wordcut.tokens_of(piece, TABLES)) == piece  # minutes, were each mark to cost the whole length


def test_special_cases_must_add_up() -> None:
    with pytest.raises(ValueError, match="don't make it up"):
        wordcut.compile_cut({"don't": ["do", "not"]})
    with pytest.raises(ValueError, match="1 to 4 characters"):
        wordcut.compile_cut({}, ["furlong"])
