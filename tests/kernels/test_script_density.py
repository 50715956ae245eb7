"""Script of Chinese texts, shares of languages, density, mojibake: by hand and on real documents."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.kernels.clean import clean
from pretrain_data.kernels.density import density
from pretrain_data.kernels.language import profile
from pretrain_data.kernels.mojibake import broken_share, repair
from pretrain_data.kernels.script import script


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("这个软件包的说明书是简体写的", "hans"),
        ("這個軟體套件的說明書是繁體寫的", "hant"),
        ("这是简体说话的样子，這是繁體說話的樣子", "mixed"),
        ("山水人口手足", None),
        ("no Chinese at all", None),
        ("", None),
    ],
)
def test_script(text: str, expected: str | None) -> None:
    assert script(text) == expected


def test_shares_add_up() -> None:
    half = profile("中文" * 50 + " plain English words stand here and go on for quite a while" * 6)
    assert half.zh == pytest.approx(300 / (300 + 47 * 6))
    assert half.zh + half.en == pytest.approx(1)
    german = profile("Dieser Satz ist auf Deutsch geschrieben und enthält Umlaute wie ä und ü.")
    assert (german.zh, german.en, german.other) == (0, 0, 1)
    japanese = profile("これは日本語の文章です。漢字も使います。")
    assert (japanese.zh, japanese.other) == (0, 1)
    mixed = profile("我们的产品说明 " * 5 + "Die Geräte werden ohne Batterien geliefert und müssen geladen werden")
    assert mixed.en == 0
    assert 0 < mixed.other < mixed.zh
    assert profile("123 !!").zh == profile("123 !!").other == 0


@given(st.text(max_size=200))
def test_shares_are_shares(text: str) -> None:
    found = profile(text)
    total = found.zh + found.en + found.other
    assert min(found.zh, found.en, found.other) >= 0
    assert total == pytest.approx(1) or total == 0


def test_density_falls_with_repetition() -> None:
    prose = "The committee met on Tuesday to weigh three proposals for the bridge, none of which found favour."
    assert density(prose) > 2 * density(prose * 10)
    assert density("") == 0
    assert density("首页 登录 注册 " * 100) < 0.1 < density("山路蜿蜒，晨雾未散，挑夫的脚步声由远而近。")


def test_density_separates_edited_text_from_page_boilerplate(shared_data: Path) -> None:
    """The chance that an edited text is denser than boilerplate (0.5: it says nothing)."""
    import pyarrow.parquet as pq

    rows = pq.read_table(shared_data / "text/quality/docs.parquet").to_pylist()
    for lang, wanted in (("en", 0.65), ("zh", 0.80)):
        of = [r for r in rows[::2] if r["lang"] == lang and len(r["text"]) > 20]
        high = [density(r["text"]) for r in of if r["label"] == "high"]
        low = [density(r["text"]) for r in of if r["label"] == "low"]
        wins = sum(h > x for h in high for x in low) / (len(high) * len(low))
        assert wins >= wanted, lang


def test_mojibake() -> None:
    text = "数据工程师每天处理大量网页"
    assert repair(text.encode().decode("latin-1")) == text
    assert repair("café".encode().decode("cp1252")) == "café"
    for sound in (text, "café", "naïve façade", "plain"):
        assert repair(sound) == sound
    wrong = text.encode().decode("gb18030", "replace") * 4
    assert broken_share(wrong) > 0.05
    assert broken_share(text * 10) == 0


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=100))
def test_stored_twice_comes_back(text: str) -> None:
    assert repair(text.encode().decode("latin-1")) == text


def test_stacked_marks_are_cut() -> None:
    assert clean("z" + "\u0316" * 30 + "a") == "z" + "\u0316" * 4 + "a"
    assert clean("Việt Nam, ấm áp, क्षि") == "Việt Nam, ấm áp, क्षि"
