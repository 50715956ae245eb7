"""Main text of pages: the article comes out, menus don't, and nothing makes extraction fall over."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.kernels.html import extract

ARTICLE = "".join(
    f"<p>这是正文的第{i}段，里面有足够的文字，说明它是文章而不是菜单。It also has some English.</p>" for i in range(6)
)
PAGE = (
    "<html><head><title> 标题 &amp; title </title><script>var x='脚本';</script></head><body>"
    "<nav><ul><li><a href='/'>首页菜单</a></li><li><a href='/a'>频道菜单</a></li></ul></nav>"
    f"<article><h1>大标题</h1>{ARTICLE}<pre><code>if x:\n    return 1</code></pre></article>"
    "<footer><a href='/about'>关于页脚</a></footer></body></html>"
)


def test_the_article_and_not_the_menu() -> None:
    page = extract(PAGE)
    assert page is not None
    assert page.title == "标题 & title"
    for i in range(6):
        assert f"正文的第{i}段" in page.text
    for other in ("脚本", "首页菜单", "频道菜单", "关于页脚"):
        assert other not in page.text
    assert "if x:\n    return 1" in page.text


def test_deep_trees_are_left_alone() -> None:
    assert extract("<html><body>" + "<div>" * 100_000 + "x") is None
    wide = extract("<html><body>" + "<p>一段文字。</p>" * 20_000)
    assert wide is not None
    assert wide.text.count("一段文字") == 20_000


TAGS = st.sampled_from(
    "<p> </p> <div> </div <!-- --> <script> <table><tr> &#0; &#xD800; 文 a \x00 <![CDATA[ <title> <svg>".split(" ")
)


@settings(max_examples=150, deadline=None)
@given(st.lists(TAGS, max_size=60).map("".join))
def test_no_markup_makes_it_fail(html: str) -> None:
    page = extract(html)
    assert page is not None
    page.text.encode("utf-8", "surrogatepass")
