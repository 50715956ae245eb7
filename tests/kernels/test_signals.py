"""Signals against a plain-Python oracle, against values worked out by hand, and at their edges."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import signals_oracle as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.kernels import signals

EN_STOP = {"the", "be", "to", "of", "and", "that", "have", "with"}
ZH_STOP = set("的了在是")
OPTIONS = signals.SignalOptions(sorted(EN_STOP), sorted(ZH_STOP), special_cases=oracle.SPECIALS, units=oracle.UNITS)

PIECES = [
    "the", "The", "of", "cat", "don't", "O'Brien's", "it's", "e.g.", "U.S.", "3.14", "1,000", "12:30",
    "end.Next",
    "http://a.com/x?y=1", "https://例.cn", "www.b.org.", "a.b@c-d.com", "x@y", "user@mail.example.org",
    "的", "中国", "我们在这里", "漢字", "あア", "ｆｕｌｌ１２", "①", "½",
    "。", "！", "？", "，", "……", "...", "…", ".", "!", "?", ",", "-", "•", "*", "#", "##",
    "{", "}", "[1]", '"',
    "'", "’", "“", "”", "(", ")", "\n", "\n\n", "\n\n\n", " ", "  ", "\t", "\u3000",
    "\u00a0", "\u200b", "\u2028",
    "Ã©", "â€™", "锟斤拷", "\ufffd", "\ue000", "𠀀", "😀", "🇨🇳", "é", "e\u0301", "Привет",
    "한국", "J.", "_", "snake_case",
]  # fmt: skip
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.lists(st.sampled_from(["a", "b", "a b", "的", "c\n", " ", "\n"]), max_size=80).map("".join),
    st.text(
        st.sampled_from("的了我们漢字，。！？、；：「」《》（）…—·０１ＡＢｃあア々〇𠀀ab1%.,:/@-#* \u3000\n"),
        max_size=80,
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60),
)


def compute(*texts: str) -> list[dict[str, float]]:
    return signals.compute(pa.array(texts, pa.large_string()), OPTIONS).to_pylist()


def check(text: str, got: dict[str, float]) -> None:
    for name, value in oracle.signals(text, EN_STOP, ZH_STOP).items():
        assert got[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_matches_the_oracle(text: str) -> None:
    check(text, compute(text)[0])


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXTS, max_size=6), st.integers(0, 3))
def test_a_document_does_not_depend_on_its_neighbours(texts: list[str], skip: int) -> None:
    alone = [compute(text)[0] for text in texts]
    for kind in (pa.string(), pa.large_string()):
        together = signals.compute(pa.array(texts, kind).slice(min(skip, len(texts))), OPTIONS)
        assert together.to_pylist() == alone[skip:]


def test_matches_the_oracle_on_real_text(shared_data) -> None:
    table = pq.read_table(shared_data / "text/domain/docs.parquet", columns=["text", "domain", "lang"])
    rows = table.to_pandas().groupby(["domain", "lang"]).head(3)["text"].str[:4000]
    for text, got in zip(rows, compute(*rows), strict=True):
        check(text, got)


def test_by_hand() -> None:
    text = "The cat sat on the mat. It's 3.5 m high!\nSee www.x.org\n\n• 中文，的。\n"
    (got,) = compute(text)
    # The cat sat on the mat . It 's 3.5 m high ! See www.x.org • 中 文 ， 的 。
    assert (got["tokens"], got["words"], got["sentences"]) == (21, 16, 4)
    assert (got["lines"], got["paragraphs"], got["url_count"]) == (3, 2, 1)
    assert got["en_stop_words"] == 1  # "the"; "The" is another word
    assert got["terminal_line_share"] == pytest.approx(2 / 3)
    assert got["bullet_line_share"] == pytest.approx(1 / 3)
    assert got["zh_share"] == pytest.approx(3 / sum(not c.isspace() for c in text))
    assert got["upper_share"] == pytest.approx(3 / 35)


def test_repetition_by_hand() -> None:
    (got,) = compute("a b c d e f a b c d e g")  # a b c d e comes twice: 5 letters of 23 characters again
    assert got["dup_5gram_share"] == pytest.approx(5 / 23)
    assert got["dup_6gram_share"] == 0
    assert got["top_2gram_share"] == pytest.approx(2 * 3 / 23)  # "a b"
    assert got["top_4gram_share"] == pytest.approx(2 * 7 / 23)


def test_overlapping_repetition_counts_once() -> None:
    (got,) = compute("的" * 20)
    assert got["dup_5gram_share"] == pytest.approx(15 / 20)  # place 0 is new; 1, 6 and 11 are not
    assert got["top_2gram_share"] == pytest.approx(19 * 2 / 20)


def test_empty_null_and_blank() -> None:
    got = signals.compute(pa.array(["", None, "\n\n\n", " \t "]), OPTIONS).to_pylist()
    assert got[0] == got[1]
    assert all(value == 0 for value in got[0].values())
    assert (got[2]["lines"], got[2]["newline_share"], got[2]["words"]) == (0, 1.0, 0)
    assert (got[3]["lines"], got[3]["space_share"]) == (0, 1.0)


def test_garbled_text() -> None:
    clean = "我们今天去北京参观了故宫博物院，天气很好。"
    as_gbk = clean.encode().decode("gbk", errors="ignore")
    as_latin = "Café — naïve “quotes” déjà vu".encode().decode("cp1252", errors="replace")
    zh_as_latin = clean.encode().decode("latin-1")
    got = compute(clean, as_gbk, as_latin, zh_as_latin, "锟斤拷锟斤拷", "Café naïve déjà vu Œuvre ÄÖÜ “ok”")
    assert got[0]["mojibake_share"] == 0
    assert got[0]["gbk_mojibake_share"] == 0
    assert got[1]["gbk_mojibake_share"] > 0.3
    assert got[2]["mojibake_share"] > 0.2
    assert got[3]["mojibake_share"] > 0.3
    assert got[4]["mojibake_share"] > 0.8
    assert got[5]["mojibake_share"] == 0


def test_c4_lines() -> None:
    options = signals.SignalOptions(keywords={"c4_javascript": ["javascript"], "c4_lorem": ["lorem ipsum"]})
    text = (
        "This line is kept. It has two sentences.\n"
        "Two words.\n"  # too few
        "This one ends without a mark\n"
        "Please turn on JavaScript in your browser.\n"
        'He said "so it goes."\n'
        "Cited as shown before.[12]\n"
        "And then it went on...\n"
        "A function has a { in it.\n"
    )
    (got,) = signals.compute(pa.array([text]), options).to_pylist()
    assert got["c4_lines"] == 4
    assert got["c4_sentences"] == 5
    assert got["c4_curly_lines"] == 1
    assert got["c4_lorem_lines"] == 0
    (got,) = signals.compute(pa.array(["Lorem  Ipsum dolor sit amet."]), options).to_pylist()
    assert got["c4_lorem_lines"] == 1


def test_keyword_fields() -> None:
    options = signals.SignalOptions(keywords={"spam": ["加微信", "buy now"]})
    text = "加微信 buy now\n没有\nBUY NOW!"
    (got,) = signals.compute(pa.array([text]), options).to_pylist()
    assert (got["kw_spam"], got["kw_spam_lines"]) == (3, 2)
    assert [f.name for f in signals.fields(("spam",))][-2:] == ["kw_spam", "kw_spam_lines"]


def test_every_signal_is_documented() -> None:
    assert len({s.name for s in signals.SIGNALS}) == len(signals.SIGNALS)
    assert all(s.unit and s.formula for s in signals.SIGNALS)


@pytest.mark.parametrize("text", ["的" * 3_000_000, "a" * 10_000_000, "ab " * 1_000_000, "\n" * 2_000_000])
def test_huge_documents_are_only_longer(text: str) -> None:
    (got,) = compute(text)
    assert got["chars"] == len(text)
    if text.strip():
        assert got["top_char_share"] > 0.4
