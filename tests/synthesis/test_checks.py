"""What an answer must pass, by hand-made cases in both languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.errors import ConfigError
from pretrain_data.synthesis import templates
from pretrain_data.synthesis.checks import Bounds, check, chinese_number, copied, numbers

BOUNDS = Bounds(min_ratio=0.1, max_ratio=0.8, max_copied=0.5, max_invented=0, min_kept=0.3)
EN = (
    "The canal was opened in 1825 after eight years of work, and it is 363 miles long. Boats carried wheat from the "
    "western farms to the harbour, and the price of moving a ton fell from 100 dollars to 10. Towns along the water "
    "grew quickly in those years. People who had lived far from any market could now sell what they grew. " * 3
)
EN_GOOD = (
    "Finished in 1825, the 363-mile waterway linked farms in the west with the port. Freight costs dropped tenfold, to "
    "10 dollars per ton, so that settlements beside it prospered and remote growers gained buyers for their crops."
)
ZH = (
    "这座大桥于二〇一八年建成通车，全长五十五公里，是目前世界上最长的跨海大桥之一。工程历时九年，投入资金超过1200亿元。"
    "大桥把三座城市连接起来，使两岸之间的行车时间由三小时缩短到三十分钟。沿线的居民说，往来办事比过去方便多了。"
) * 3
ZH_GOOD = (
    "该跨海桥梁2018年启用，长55公里，建设耗资逾1200亿元，属全球同类之最。"
    "三地通车后，车程降至30分钟，出行效率明显提高，区域往来因此更加密切。"
)


def test_good_answers_pass() -> None:
    assert check(EN_GOOD, "stop", EN, "en", BOUNDS) is None
    assert check(ZH_GOOD, "stop", ZH, "zh", BOUNDS) is None
    traditional = ZH_GOOD.replace("该", "該").replace("桥", "橋").replace("长", "長").replace("设", "設")
    assert check(traditional, "stop", ZH, "zh", BOUNDS) is None
    assert check(ZH_GOOD.replace("2018", "２０１８").replace("55", "５５"), "stop", ZH, "zh", BOUNDS) is None


@pytest.mark.parametrize(
    ("answer", "finish", "original", "lang", "rule"),
    [
        (EN_GOOD, "length", EN, "en", "cut_off"),
        (EN_GOOD, "content_filter", EN, "en", "cut_off"),
        ("  \n", "stop", EN, "en", "talk"),
        ("Here is the condensed text: " + EN_GOOD, "stop", EN, "en", "talk"),
        ("I’m sorry, but I can't help with that. " + EN_GOOD, "stop", EN, "en", "talk"),
        ("以下是浓缩后的文章：" + ZH_GOOD, "stop", ZH, "zh", "talk"),
        ("```\n" + EN_GOOD + "\n```", "stop", EN, "en", "talk"),
        ("Finished in 1825.", "stop", EN, "en", "length_ratio"),
        (EN, "stop", EN, "en", "length_ratio"),
        (ZH_GOOD * 2, "stop", EN, "en", "other_language"),
        (EN_GOOD, "stop", ZH, "zh", "other_language"),
        (EN_GOOD + " Write to jane.roe@example.com for more.", "stop", EN, "en", "personal_data"),
        (ZH_GOOD + "联系电话13812345678。", "stop", ZH, "zh", "personal_data"),
        (EN_GOOD.replace("1825", "1852"), "stop", EN, "en", "invented_numbers"),
        (ZH_GOOD.replace("55", "58"), "stop", ZH, "zh", "invented_numbers"),
        (EN_GOOD.replace("1825", "that year").replace("363-mile", "long").replace("10", "few"), "stop", EN, "en",
         "lost_numbers"),
        (EN[:300], "stop", EN, "en", "copied"),
        (ZH[:100], "stop", ZH, "zh", "copied"),
    ],
)  # fmt: skip
def test_faults(answer: str, finish: str, original: str, lang: str, rule: str) -> None:
    found = check(answer, finish, original, lang, BOUNDS)
    assert found is not None
    assert found.rule == rule


def test_numbers() -> None:
    assert numbers("1,234,567 and 3.50, ２０２４ or 007; 5 things; v2; 12%; 1.0") == {"1234567", "3.5", "2024", "12"}
    assert numbers("二〇二四年，三百零五人，一万二千元，十五日，三个") == {"2024", "305", "12000", "15"}
    assert numbers("第三十二条，两千万，一亿零五百万") == {"32", "20000000", "105000000"}


@given(st.integers(1, 99_999_999))
def test_chinese_numbers_are_read_as_written(value: int) -> None:
    def under_ten_thousand(n: int) -> str:
        text, zero = "", False
        for unit, size in (("千", 1000), ("百", 100), ("十", 10), ("", 1)):
            digit = n // size % 10
            if digit:
                text += ("零" if zero and text else "") + "零一二三四五六七八九"[digit] + unit
                zero = False
            else:
                zero = True
        return text

    high, low = divmod(value, 10_000)
    text = (under_ten_thousand(high) + "万" if high else "") + (
        ("零" if high and 0 < low < 1000 else "") + under_ten_thousand(low)
    )
    assert chinese_number(text) == value
    assert chinese_number("".join("〇一二三四五六七八九"[int(d)] for d in str(value))) == value


def test_copied_is_the_share_of_ngrams() -> None:
    original = " ".join(f"w{i}" for i in range(30))
    assert copied(original, original, "en") == 1.0
    half = " ".join(f"w{i}" for i in range(12)) + " " + " ".join(f"x{i}" for i in range(12))
    assert copied(half, original, "en") == pytest.approx(5 / 17)  # 24 words: 17 grams of 8, 5 of them old
    assert copied("short", original, "en") == 0.0
    assert copied("大桥把三座城市连接起来使两岸", ZH, "zh") == 1.0


def test_templates(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for name in templates.shipped():
        found = templates.load(name)
        assert set(found.texts) == {"en", "zh"}
        [message] = found.messages("a {text} b", "zh")
        assert "a {text} b" in message["content"], "a document's own braces stay"
    assert templates.load("condense").version != templates.load("textbook").version
    (tmp_path / "zh.txt").write_text("改写：{text}", encoding="utf-8")
    assert templates.load(str(tmp_path)).messages("文", "zh") == ({"role": "user", "content": "改写：文"},)
    (tmp_path / "en.txt").write_text("no place", encoding="utf-8")
    with pytest.raises(ConfigError, match="exactly once"):
        templates.load(str(tmp_path))
    with pytest.raises(ConfigError, match="condense, textbook"):
        templates.load(str(tmp_path / "none"))
