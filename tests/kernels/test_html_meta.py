"""Title, author and day of a page, wherever it says them."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.kernels.html import extract
from pretrain_data.kernels.html.meta import day

BODY = "<p>" + "正文 text, with words enough to be one. " * 10 + "</p>"


def page(head: str = "", body: str = "") -> tuple[str | None, str | None, date | None]:
    found = extract(f"<html><head>{head}</head><body>{body}{BODY}</body></html>")
    assert found is not None
    return found.title, found.author, found.published


def ld(text: str) -> str:
    return f'<script type="application/ld+json">{text}</script>'


def test_json_ld_goes_first() -> None:
    head = (
        "<title>新闻标题 - 某某网</title><meta name='author' content='某某网编辑部'>"
        "<meta property='article:published_time' content='2025-12-01'>"
        + ld(
            '{"@context": "https://schema.org", "@graph": [{"@type": "WebPage", "datePublished": "2020-01-01"},'
            '{"@type": ["NewsArticle"], "headline": "新闻标题", "author": [{"@type": "Person", "name": "张三"},'
            '{"@type": "Person", "name": "李四"}], "datePublished": "2026-01-31T08:00:00+08:00"}]}'
        )
    )
    assert page(head) == ("新闻标题", "张三, 李四", date(2026, 1, 31))


def test_meta_elements() -> None:
    head = (
        "<title>How it works | Site</title><meta property='og:title' content='How it works'>"
        "<meta name='byl' content='By Jane Doe'><meta itemprop='datePublished' content='2024-02-29'>"
    )
    assert page(head) == ("How it works", "Jane Doe", date(2024, 2, 29))
    head = "<meta name='DC.creator' content='王五'><meta name='citation_date' content='2019/3/7'>"
    assert page(head)[1:] == ("王五", date(2019, 3, 7))


def test_what_a_page_shows() -> None:
    body = "<h1>标题在这里</h1><div><span class='author'>作者：赵六</span><time>2026年1月5日 09:30</time></div>"
    assert page("", body) == ("标题在这里", "赵六", date(2026, 1, 5))
    body = (
        "<aside><time datetime='2001-01-01'></time><span class='author'>Somebody Else</span></aside>"
        "<div id='comments'><span class='author'>A Reader</span></div>"
        "<a rel='author' href='/jo'>Jo March</a><span class='entry-date'>January 31st, 2026</span>"
    )
    assert page("<title>T</title>", body) == ("T", "Jo March", date(2026, 1, 31))


def test_what_is_none_is_passed_over() -> None:
    head = (
        "<meta name='author' content='https://facebook.com/site'><meta name='date' content='0001-01-01'>"
        "<meta name='pubdate' content='2026-02-30'>" + ld("{broken") + ld('"text"') + ld("[[[]]]") + ld('{"@type": 7}')
    )
    assert page(head) == (None, None, None)
    assert page("<meta name='author' content=' , '><meta property='og:title' content=''>")[:2] == (None, None)


def test_a_title_that_only_the_site_has_does_not_replace_the_pages_own() -> None:
    head = "<title>第三章 语料</title><meta property='og:title' content='某某网首页'>"
    assert page(head)[0] == "第三章 语料"
    assert page("<meta property='og:title' content='Only here'>")[0] == "Only here"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T23:59:59Z", date(2026, 1, 31)),
        ("20260131", date(2026, 1, 31)),
        ("20260131T101500", date(2026, 1, 31)),
        ("发布于 2026年 1月31日", date(2026, 1, 31)),
        ("31 January 2026", date(2026, 1, 31)),
        ("Jan. 31, 2026 at noon", date(2026, 1, 31)),
        ("Sat, 31st of nothing", None),
        ("January 2026", None),
        ("2026-13-01", None),
        ("12026-01-011", None),
        ("1700000000", None),
        ("", None),
    ],
)
def test_days(text: str, expected: date | None) -> None:
    assert day(text) == expected


@given(st.text(max_size=300))
def test_no_text_makes_a_day_fail(text: str) -> None:
    day(text)


@given(
    st.recursive(
        st.none() | st.text(max_size=8) | st.integers(),
        lambda s: (
            st.lists(s, max_size=3)
            | st.dictionaries(
                st.sampled_from(["@type", "@graph", "author", "name", "headline", "datePublished"]), s, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_ld_makes_a_page_fail(value: object) -> None:
    import json

    text = json.dumps(value).replace("<", "\\u003c")
    page("", f'<script type="application/ld+json">{text}</script>')
    page(ld(json.dumps({"@type": "Article", "author": value, "headline": value}).replace("<", "\\u003c")))
