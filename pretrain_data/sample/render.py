"""Written pages as HTML, in the manner of four kinds of site."""

from __future__ import annotations

import html
import re

from pretrain_data.sample.pages import Written

_WORDS = {
    "zh": "首页 频道 登录 注册 搜索 热门推荐 关于我们 网站地图 广告合作".split(" "),
    "en": "Home|Sections|Log in|Register|Search|Popular|About us|Site map|Advertise".split("|"),
}


def body_html(text: str) -> str:
    """The light markup of the written pages: # headings, - items, | tables |, fenced code; else paragraphs."""
    out: list[str] = []
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            end = next(i for i in range(at + 1, len(lines)) if lines[i].startswith("```"))
            out.append("<pre><code>" + html.escape("\n".join(lines[at + 1 : end])) + "</code></pre>")
            at = end + 1
            continue
        group = []
        kind = line[:2] if line[:2] in ("- ", "| ") else ""
        while kind and at < len(lines) and lines[at].startswith((kind, "|-")):
            group.append(lines[at])
            at += 1
        if kind == "- ":
            out.append("<ul>" + "".join(f"<li>{html.escape(item[2:])}</li>" for item in group) + "</ul>")
        elif kind == "| ":
            out.append("<table>" + "".join(_row(row) for row in group if not row.startswith("|-")) + "</table>")
        else:
            out.append(f"<h2>{html.escape(line[2:])}</h2>" if line.startswith("# ") else f"<p>{html.escape(line)}</p>")
            at += 1
    return "\n".join(out)


def _row(line: str) -> str:
    cells = [html.escape(cell.strip()) for cell in line.strip("|").split("|")]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def page_html(page: Written, charset: str | None) -> str:
    """The whole page; `charset` is what its meta element says, None for none."""
    words = _WORDS[page.lang]
    title = html.escape(page.title)
    meta = f'<meta charset="{charset}">' if charset else ""
    nav = "".join(f'<li><a href="/{i}">{word}</a></li>' for i, word in enumerate(words[:5]))
    body = f"<p>{page.body}</p>" if page.kind == "blank" else body_html(page.body)
    side = "".join(f'<li><a href="/hot/{i}">{word} {i}</a></li>' for i, word in enumerate(words[5:9]))
    head = f'<html lang="{page.lang}"><head>{meta}<title>{title}</title></head>'
    style = sum(map(ord, page.id)) % 4
    if style == 0:
        middle = f"<header><nav><ul>{nav}</ul></nav></header><main><article><h1>{title}</h1>{body}</article></main>"
        middle += f"<aside><ul>{side}</ul></aside>"
    elif style == 1:
        middle = f'<div id="top" class="navbar"><ul>{nav}</ul></div><div class="wrap">'
        middle += f'<div class="sidebar"><ul>{side}</ul></div>'
        middle += f'<div id="content" class="article-content"><h1>{title}</h1>{body}</div></div>'
    elif style == 2:
        middle = f'<table class="layout"><tr><td class="menu"><ul>{nav}</ul></td><td class="main"><div class="post">'
        middle += f'<h1>{title}</h1><div class="entry">{body}</div></div></td></tr></table>'
    else:
        middle = f'<div class="menu">{re.sub("<li>|</li>", " ", nav)}</div>'
        middle += f'<div class="post-body"><h1>{title}</h1>{body}</div>'
        middle += f'<div class="related"><ul>{side}</ul></div>'
    foot = f'<footer><p><a href="/about">{words[6]}</a> | <a href="/ad">{words[8]}</a></p></footer>'
    return f"<!DOCTYPE html>\n{head}<body>{middle}{foot}</body></html>\n"
