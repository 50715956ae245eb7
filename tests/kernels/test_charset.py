"""Bytes are read by evidence: right, missing, wrong and lying labels, in Chinese and other languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.kernels import charset
from pretrain_data.kernels.clean import clean

SIMPLIFIED = "这是一个关于中文编码的网页，我们要看看它能不能被正确地读出来。新闻时间和作者都在下面。" * 3
TRADITIONAL = "這是一個關於中文編碼的網頁，我們要看看它能不能被正確地讀出來。新聞時間和作者都在下面。" * 3


@pytest.mark.parametrize("label", ["", "utf-8", "gbk", "big5", "iso-8859-1", "nonsense"])
@pytest.mark.parametrize("meta", ["", "gb2312", "utf-8", "big5"])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (SIMPLIFIED, "gb18030"),
        (SIMPLIFIED, "utf-8"),
        (TRADITIONAL, "big5"),
        (TRADITIONAL, "utf-8"),
        (TRADITIONAL, "gb18030"),
    ],
)
def test_chinese_is_read_whatever_the_labels_say(text: str, encoding: str, label: str, meta: str) -> None:
    page = f"<html><head>{f'<meta charset={meta}>' if meta else ''}</head><body>{text}</body></html>"
    assert charset.decode(page.encode(encoding), label).text == page


@pytest.mark.parametrize(
    ("text", "encoding", "label"),
    [
        ("Ünïcödé – naïve café “quotes”", "cp1252", "iso-8859-1"),
        ("Привет, как дела? Это страница на русском языке.", "windows-1251", "windows-1251"),
        ("これは日本語のページです。文字コードを調べます。", "shift_jis", "shift_jis"),
        ("これは日本語のページです。文字コードを調べます。", "euc_jp", "euc-jp"),
        ("plain ASCII text", "ascii", "gbk"),
        ("中文 with BOM", "utf-8-sig", "big5"),
        ("中文 wide", "utf-16", ""),
    ],
)
def test_other_encodings(text: str, encoding: str, label: str) -> None:
    assert charset.decode(text.encode(encoding), label).text == text


@given(st.binary(max_size=400), st.text(max_size=10))
def test_any_bytes_give_clean_text(body: bytes, label: str) -> None:
    decoded = charset.decode(body, label)
    assert 0 <= decoded.bad_share <= 1
    text = clean(decoded.text)
    assert text.encode("utf-8").decode("utf-8") == text
    assert "\0" not in text
    assert "\r" not in text
    assert clean(text) == text


def test_the_transcoded_pages(shared_data: Path) -> None:
    from pretrain_data.formats.warc import read_records

    pages = [json.loads(line) for line in (shared_data / "crawl/pages.jsonl").open(encoding="utf-8")]
    true = {page["record_id"]: page["charset"] for page in pages if page["charset"]}
    right = total = 0
    for path in sorted((shared_data / "crawl/warc").glob("*.gz")):
        for record in read_records(str(path), 0, None, 10 << 20):
            if record.record_id in true:
                total += 1
                right += charset.decode(record.body, record.charset).text == record.body.decode(
                    true[record.record_id], "replace"
                )
    assert total > 150
    assert right / total >= 0.99
