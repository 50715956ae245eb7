"""Notices and lists of references go; articles about them stay."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pretrain_data.kernels import boilerplate


def remove(text: str) -> str:
    (new,) = boilerplate.remove(pa.array([text], pa.large_string()))[0].to_pylist()
    assert new == boilerplate.remove_in(text)
    return str(new)


ARTICLE = (
    "印刷术的传播改变了知识的面貌。\n"
    "版权制度正是在这之后逐步形成的，它规定作者在一定期限内享有哪些权利，又在什么情况下必须让位于公众的利益，各国学"
    "者对此争论了三百多年，至今没有一致的看法，而每一次技术变革都会让同样的问题以新的面目重新出现，从誊抄到铅印、从"
    "铅印到复印机，再到今天的网络与模型训练，问题的核心始终是激励与传播之间的平衡，任何一方走得太远都会损害另一方，"
    "这也是本文想要讨论的主要内容之一。"
)


@pytest.mark.parametrize(
    "line",
    [
        "本文转载自《江城晚报》，版权归原作者所有，如有侵权请联系删除。",
        "未经授权不得转载",
        "（责任编辑：刘晓明）",
        "转载请注明出处",
        "京ICP备12345678号-1",
        "扫一扫关注我们的微信公众号",
        "轉載請註明出處",
        "（責任編輯：劉曉明）",
        "未經授權，不得轉載。",
        "长按识别下方二维码",
        "上一篇：没有了",
        "This article was originally published in The Valley Courier and is reprinted with permission.",
        "© 2024 Valley Courier. All rights reserved.",
        "Subscribe to our newsletter for more stories.",
        "This website uses cookies to improve your experience.",
    ],
)
def test_notices_go_and_the_article_stays(line: str) -> None:
    assert remove(f"{ARTICLE}\n{line}") == ARTICLE
    assert remove(f"{line}\n{ARTICLE}") == ARTICLE


@pytest.mark.parametrize(
    "text",
    [
        ARTICLE,
        "The copyright act of 1710 gave authors rights in their works for fourteen years.",
        "他在编辑部工作了二十年，编辑过上百本书，却从不在书上署名。",
        "She asked readers to follow the path along the river until the old mill.",
        "References\nThis section explains how references are counted by the collector.\nIt has no list.",
        "參考文獻的寫法因學科而異。\n理科常用編號，文科常用腳註。",
        "",
    ],
)
def test_texts_about_such_things_stay(text: str) -> None:
    assert remove(text) == text


@pytest.mark.parametrize(
    "tail",
    [
        "参考文献\n[1] 李思远. 印刷史[M]. 北京: 科学出版社, 2008.\n[2] 王立. 活字考[J]. 文史, 2013, 71(4): 601-615.",
        "參考文獻：\n［1］陳國棟，《活字考》，臺北：中華書局，1998年。\n［2］林文月，《書史》，2001年，頁15。",
        "References\n\n[1] A. Fenwick, The Light on the Rock, 1998, pp. 45-61.\n\n[2] M. Ortega, Sour doughs, 2004.",
        "## Bibliography\n1. Smith, J. (2001). Waves.\n2. Jones, K. (2003). doi:10.1/x",
    ],
)
def test_lists_of_references_go_with_their_heading(tail: str) -> None:
    assert remove(f"{ARTICLE}\n{tail}") == ARTICLE
    assert remove(f"{ARTICLE}\n{tail}\n\n附录说明如下，这一段是正文。\n它还有第二行。").startswith(ARTICLE)
    assert "附录说明如下" in remove(f"{ARTICLE}\n{tail}\n\n附录说明如下，这一段是正文。\n它还有第二行。")


def test_once_is_enough() -> None:
    text = f"{ARTICLE}\n转载请注明出处\n参考文献\n[1] 甲. 乙, 2008.\n[2] 丙. 丁, 2009."
    text += "\n© 2024 A.\n" * 9
    assert remove(remove(text)) == remove(text)


def test_edited_sources_keep_their_text(shared_data: Path) -> None:
    import pyarrow.parquet as pq

    rows = pq.read_table(shared_data / "text/domain/docs.parquet", columns=["text", "domain"]).to_pylist()
    texts = [row["text"] for row in rows if row["domain"] in ("legal", "encyclopedia")]
    before = sum(map(len, texts))
    assert sum(len(text) - len(remove(text)) for text in texts) <= 0.005 * before
