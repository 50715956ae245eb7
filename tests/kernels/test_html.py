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


def test_comments_and_share_bars_stay_out_and_table_rows_are_lines() -> None:
    page = extract(
        f"<body><div class='post-content'>{ARTICLE}<table><tr><th>年份</th><th>人口</th></tr>"
        "<tr><td>2020</td><td>1400</td></tr></table><ul><li>第一项</li><li>第二项</li></ul>"
        "<p>勾股 <script type='math/tex'>a^2+b^2=c^2</script></p><div class='share-bar'>分享到微博</div></div>"
        "<div id='comments'><p>沙发，写得真好，谢谢楼主的分享，学习了。</p></div></body>"
    )
    assert page is not None
    assert "年份 | 人口\n2020 | 1400" in page.text
    assert "- 第一项\n- 第二项" in page.text
    assert "$a^2+b^2=c^2$" in page.text
    assert "沙发" not in page.text
    assert "微博" not in page.text


def test_a_page_of_links_alone_keeps_them() -> None:
    links = "".join(f"<li><a href='/{i}'>Chapter {i} of the manual</a></li>" for i in range(30))
    page = extract(f"<body><nav><a href='/'>Home</a></nav><div class='body'><ul>{links}</ul></div></body>")
    assert page is not None
    assert page.text.count("of the manual") == 30
    assert "Home" not in page.text
