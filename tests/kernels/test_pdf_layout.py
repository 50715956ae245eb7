"""Lines of pages to running text: what repeats on the edges goes, what was cut is joined."""

from __future__ import annotations

from pretrain_data.kernels.pdf_layout import running_text, without_running_heads

FULL = "this line of running prose fills the column of the page to its right edge"


def test_running_heads_and_page_numbers_go() -> None:
    words = ["alpha", "beta", "gamma", "delta", "epsilon"]
    pages = [
        ["Chapter 2. Methods", f"{i} / 40", f"Text of {word} here.", f"More on {word}", f"- {i} -"]
        for i, word in enumerate(words, 7)
    ]
    assert without_running_heads(pages) == [[f"Text of {w} here.", f"More on {w}"] for w in words]
    assert without_running_heads(pages[:2]) == pages[:2], "two pages are no pattern"


def test_a_line_that_returns_far_away_is_text() -> None:
    pages = [[f"opening of page {chr(97 + i)}", "body", "body two", "x", f"close {chr(97 + i)}"] for i in range(20)]
    for i in (0, 9, 19):
        pages[i][0] = "Note"
    kept = without_running_heads(pages)
    assert [i for i, lines in enumerate(kept) if "Note" in lines] == [0, 9, 19]


def test_paragraphs_are_joined_and_short_lines_stay() -> None:
    (text,) = running_text(
        [["1 Heading", FULL, FULL, "and ends here.", "• an item", FULL[:-10] + ".", "Next paragraph"]]
    )
    assert text.split("\n") == [
        "1 Heading",
        f"{FULL} {FULL} and ends here.",
        "• an item",
        FULL[:-10] + ".",
        "Next paragraph",
    ]


def test_chinese_lines_are_joined_without_a_space() -> None:
    line = "这一行文字写满了整个版面的宽度所以它的下一行是同一段话的继续"
    (text,) = running_text([[line, line, "到这里结束。", "新的一段"]])
    assert text.split("\n") == [line + line + "到这里结束。", "新的一段"]


def test_hyphens() -> None:
    start = "this line of running prose fills the column of the page and ends in an exam-"
    (text,) = running_text([[start, "ple of a word", "well-known and state-of-the-", "art"]])
    assert "an example of a word" in text
    (text,) = running_text([["it is the state-of-the-", "art in this field of work and it goes on and on and on"]])
    assert "state-of-the-art" in text
    (text,) = running_text([["soft cut\ufffe", "ting"]])
    assert text == "soft cutting"


def test_contents_lose_their_dots_and_fonts_their_radicals() -> None:
    (text,) = running_text([["1.2 Setup . . . . . . . . 17", "2 用⽂字 ........ 99", "ofﬁce"]])
    assert text.split("\n") == ["1.2 Setup", "2 用文字", "office"]
