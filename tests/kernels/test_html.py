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


def _text(body: str) -> str:
    page = extract(f"<html><body>{body}</body></html>")
    assert page is not None
    return page.text


def test_captions_go_and_captions_of_code_and_tables_stay() -> None:
    text = _text(
        f"<article>{ARTICLE}<figure><img src='a.jpg'><figcaption>图为会场外景，记者摄。</figcaption></figure>"
        "<p class='wp-caption-text'>Photo: The hall by night.</p>"
        "<figure><figcaption>listing.py</figcaption><pre>x = 1</pre></figure>"
        "<table><caption>人口变化</caption><tr><td>2020</td><td>1400</td></tr></table></article>"
    )
    assert "记者摄" not in text
    assert "by night" not in text
    assert "listing.py" in text
    assert "人口变化" in text


def test_the_lead_above_the_body_belongs_to_the_text() -> None:
    lead = "这是导语，它用一句话说明整篇文章讲的是什么事情，发生在什么地方，以及为什么重要。"
    teaser = "A short teaser of what the article says, in one sentence that is long enough to be one."
    body = f"<div class='article-body'>{ARTICLE}</div>"
    assert lead in _text(f"<main><h1>标题</h1><p>{lead}</p><div class='toolbar'>字号 打印</div>{body}</main>")
    assert teaser in _text(f"<main><h2>Title</h2><div class='teaser-text'>{teaser}</div>{body}</main>")
    several = "".join(f"<div class='teaser-text'>{teaser} {i}</div>" for i in range(3))
    assert teaser not in _text(f"<main><h2>More</h2>{several}{body}</main>")


def test_what_a_label_heads_goes_in_any_language() -> None:
    for label in ("Related articles", "相关阅读：", "Das könnte Sie auch interessieren", "Lire aussi", "関連記事"):
        links = "".join(f"<li><a href='/{i}'>Another story, number {i}</a></li>" for i in range(4))
        text = _text(f"<article>{ARTICLE}<div><h3>{label}</h3><ul>{links}</ul></div><p>{ARTICLE[3:60]}。</p></article>")
        assert label not in text
        assert "Another story" not in text
        assert text.count("正文的第0段") == 2, "what follows the box stays"


def test_a_heading_that_only_begins_like_a_label_keeps_its_section() -> None:
    prose = "<p>Set the limit to ten, and the time to sixty seconds; then start the server again.</p>" * 10
    text = _text(f"<article>{ARTICLE * 3}<section><h2>Recommended settings</h2>{prose}</section></article>")
    assert text.count("sixty seconds") == 10
    assert "Tagsüber" in _text(f"<article>{ARTICLE}<p>Tagsüber scheint die Sonne.</p></article>")


def test_cards_below_an_article_go_and_a_page_of_cards_keeps_them() -> None:
    card = "<div class='item'><h3><a href='/{0}'>Headline number {0} of the day</a></h3><p>What it says, {0}.</p></div>"
    several = "".join(card.format(i) for i in range(6))
    text = _text(f"<div class='story'>{ARTICLE}</div><div class='grid'>{several}</div>")
    assert "正文的第5段" in text
    assert "Headline" not in text
    assert "What it says" not in text
    assert _text(f"<nav><a href='/'>Home</a></nav><div class='grid'>{several * 5}</div>").count("Headline") == 30


def test_quoted_posts_stay() -> None:
    post = "<blockquote class='twitter-tweet'><p>Yes this is real, and it cost half a million.</p></blockquote>"
    assert "half a million" in _text(f"<article>{ARTICLE}<div class='social-embed'>{post}</div></article>")


def test_boilerplate_is_not_believed_where_it_would_take_the_page() -> None:
    text = _text(f"<div class='sidebar'>{ARTICLE * 2}</div><div class='widget'>{ARTICLE}</div><h1>标题在这里</h1>")
    assert text.count("正文的第3段") >= 2
