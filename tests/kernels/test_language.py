"""Languages by script and model, in the forms that text comes in."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrain_data.kernels.language import detect


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("这是一段普通的中文，没有别的文字。", "zh"),
        ("這是一段普通的中文，沒有別的文字。", "zh"),
        ("全角字母ＡＢＣ与数字１２３也是中文的一部分", "zh"),
        ("床前明月光疑是地上霜举头望明月低头思故乡", "zh"),
        ("我们用 Python 写了一个小工具，用来读取 config 文件。", "zh"),
        ("The quick brown fox jumps over the lazy dog near the river bank.", "en"),
        ("The word 中文 means the Chinese language, and it is written with two characters in this sentence.", "en"),
        ("これは日本語の文章です。漢字も使います。", "ja"),
        ("이것은 한국어 문장입니다. 날씨가 좋네요.", "ko"),
        ("Это предложение написано на русском языке, и довольно длинное.", "ru"),
        ("Dieser Satz ist auf Deutsch geschrieben und enthält Umlaute wie ä und ü.", "de"),
        ("12345 !!! ???", "und"),
        ("", "und"),
    ],
)
def test_languages(text: str, expected: str) -> None:
    code, score = detect(text)
    assert code == expected
    assert 0 <= score <= 1
    assert (score == 0) == (code == "und")


def test_real_prose(shared_data: Path) -> None:
    """zh and en of every tenth document; manual pages are left out, since many are untranslated."""
    import pyarrow.parquet as pq

    rows = pq.read_table(shared_data / "text/domain/docs.parquet", columns=["text", "domain", "lang"]).to_pylist()
    prose = [r for r in rows[::10] if r["domain"] in ("news", "encyclopedia", "literature", "legal")]
    right = sum(detect(r["text"])[0] == r["lang"] for r in prose)
    assert right / len(prose) >= 0.995
