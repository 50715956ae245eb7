"""Personal data: found beside Chinese text, validated, and nothing else touched."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.cn import ric

from pretrain_data.kernels import pii
from pretrain_data.kernels.pii.replace import replace
from pretrain_data.schema import PII_SPANS

IDENTITY = "11010519491231002X"  # the standard's own example
CARD = "6228480402564890018"


def found(text: str) -> list[tuple[str, str]]:
    spans = pii.find(pa.array([text], pa.large_string()))
    return [(span.type, text[span.start : span.end]) for span in spans.lists(1)[0]]


def scrub(texts: pa.Array, types: list[str] | None = None) -> pa.Array:
    spans = pii.find(texts, types)
    return replace(texts, spans, spans.types, [f"<|{name.lower()}|>" for name in spans.names])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("请打13812345678联系我", [("PHONE", "13812345678")]),
        ("电话：+86 138-1234-5678。", [("PHONE", "+86 138-1234-5678")]),
        ("手机１３８１２３４５６７８微信同号", [("PHONE", "１３８１２３４５６７８")]),
        ("電話02-2345，手機13912345678請回電", [("PHONE", "13912345678")]),
        ("座机010-62345678转801", [("PHONE_LANDLINE", "010-62345678转801")]),
        ("電話01062345678，(0755) 2345678", [("PHONE_LANDLINE", "01062345678"), ("PHONE_LANDLINE", "(0755) 2345678")]),
        ("请拨400-810-1234，热线8008101234", [("PHONE_SERVICE", "400-810-1234"), ("PHONE_SERVICE", "8008101234")]),
        (
            "写信给zhang.san [at] example [dot] com 或 ｌｉｓｉ＠ｑｑ．ｃｏｍ",
            [("EMAIL", "zhang.san [at] example [dot] com"), ("EMAIL", "ｌｉｓｉ＠ｑｑ．ｃｏｍ")],
        ),
        ("致li（at）pku.edu.cn", [("EMAIL", "li（at）pku.edu.cn")]),
        ("身份证130503670401001是旧的", [("ID_CARD", "130503670401001")]),
        ("编号130503670401001是流水", []),
        ("信用代码91350100M000100Y43已公示", [("CREDIT_CODE", "91350100M000100Y43")]),
        ("My IBAN is GB82 WEST 1234 5698 7654 32 and so on", [("IBAN", "GB82 WEST 1234 5698 7654 32")]),
        (
            "港澳通行证号C12345678，回乡证H1234567801",
            [("TRAVEL_PERMIT", "C12345678"), ("TRAVEL_PERMIT", "H1234567801")],
        ),
        ("网卡MAC 3c:22:fb:0a:1b:2c，时间12:30:45", [("MAC", "3c:22:fb:0a:1b:2c")]),
        ("车牌粤BD12345和京A·12345警", [("PLATE", "粤BD12345"), ("PLATE", "京A·12345警")]),
        ("Telegram: @some_user99 or Skype：live_bob", [("HANDLE", "some_user99"), ("HANDLE", "live_bob")]),
        ("aws AKIAIOSFODNN7EXAMPL0 x", [("API_KEY", "AKIAIOSFODNN7EXAMPL0")]),
        ('password = "correcthorsebatterystaple"', []),
        ('token: "f3A9xQ7LmZ0bT4cK8wVn"', [("API_KEY", "f3A9xQ7LmZ0bT4cK8wVn")]),
        ("捐赠地址1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa谢谢", [("CRYPTO_WALLET", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa")]),
        ("出生日期：1985年3月12日，籍贯不详", [("BIRTH_DATE", "1985年3月12日")]),
        ("She was born on March 12, 1985 in Leeds", [("BIRTH_DATE", "March 12, 1985")]),
        ("家住北京市朝阳区建国路88号院5号楼1203室。", [("ADDRESS", "北京市朝阳区建国路88号院5号楼1203室")]),
        ("He lives at 1600 Grand Avenue Apt. 12B now", [("ADDRESS", "1600 Grand Avenue Apt. 12B")]),
        ("国务院令第230号发布，第12条", []),
        ("sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709 and v2.10.0.1", []),
        ("call (415) 555-2671 or +44 20 7946 0958 now", [("PHONE", "(415) 555-2671"), ("PHONE", "+44 20 7946 0958")]),
        ("邮箱zhangsan@163.com请查收", [("EMAIL", "zhangsan@163.com")]),
        ("Contact: a.b-c+d@mail.example.co.uk.", [("EMAIL", "a.b-c+d@mail.example.co.uk")]),
        (f"身份证号{IDENTITY}已登记", [("ID_CARD", IDENTITY)]),
        (f"卡号{CARD}，请核对", [("BANK_CARD", CARD)]),
        ("card number 4111 1111 1111 1234 no", []),
        ("来自223.134.30.35的请求", [("IP", "223.134.30.35")]),
        ("SSN 539-15-6107 on file", [("US_SSN", "539-15-6107")]),
        ("车牌京A12345D和沪A12345", [("PLATE", "京A12345D"), ("PLATE", "沪A12345")]),
        ("护照号E12345678出境", [("PASSPORT", "E12345678")]),
        ("加微信reader_2024看照片，QQ：123456789", [("WECHAT", "reader_2024"), ("QQ", "123456789")]),
        # What only looks like it:
        ("订单号13812345678已发货", []),
        ("版本 1.2.3.4 和 version 10.20.30.40", []),
        ("内网192.168.1.1与127.0.0.1", []),
        ("身份证号110105194912310021无效", []),
        ("ISBN 978-7-111-12345-6，DOI 10.1000/182", []),
        ("编号12345678901234567890", []),
        ("共17400000000元", []),
        ("2024-01-15 12:30:45 时刻", []),
        ("全文没有任何号码，只有文字。", []),
        ("", []),
    ],
)
def test_what_is_found(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**12))
def test_the_check_digits_are_those_of_stdnum(seed: int) -> None:
    rng = random.Random(seed)
    body = "110101" + f"{rng.randrange(1920, 2010)}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}"
    body += "".join(str(rng.randrange(10)) for _ in range(3))
    number = body + rng.choice("0123456789X")
    valid = ric.calc_check_digit(number) == number[-1]
    assert (("ID_CARD", number) in found(f"证件{number}。")) == valid
    card = "622848" + "".join(str(rng.randrange(10)) for _ in range(13))
    assert (("BANK_CARD", card) in found(f"卡号{card}。")) == luhn.is_valid(card)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([" 13812345678 ", "a@b.com", "中文", "x", IDENTITY, "\n", "８.8.8.8", "。", "8.8.8.8 "]),
        max_size=12,
    )
)
def test_scrubbing_touches_nothing_else_and_once_is_enough(parts: list[str]) -> None:
    text = "".join(parts)
    array = pa.array([text], pa.large_string())
    spans = pii.find(array).lists(1)[0]
    assert spans == sorted(spans)
    assert all(one.end <= other.start for one, other in itertools.pairwise(spans))
    expected, at = "", 0
    for span in spans:
        expected += text[at : span.start] + f"<|{span.type.lower()}|>"
        at = span.end
    scrubbed = scrub(array)
    assert scrubbed.to_pylist() == [expected + text[at:]]
    assert scrub(scrubbed) == scrubbed


def test_batches_with_nulls_and_slices() -> None:
    texts = pa.array(["x", None, "拨打13812345678", "none"], pa.large_string()).slice(1)
    assert pii.find(texts).per_row(3).tolist() == [0, 1, 0]
    assert len(pii.find(texts, ["EMAIL"])) == 0
    assert scrub(texts).to_pylist() == ["", "拨打<|phone|>", "none"]
    assert pii.find(texts.slice(0, 0)).lists(0) == []
    assert pii.find(texts).to_arrow(3, PII_SPANS).to_pylist() == [[], [{"start": 2, "end": 13, "type": "PHONE"}], []]


def test_the_injected_truth(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "text/pii/injected.jsonl").open(encoding="utf-8")]
    spans = pii.find(pa.array([row["text"] for row in rows], pa.large_string())).lists(len(rows))
    total, hit, guessed, right = 0, 0, 0, 0
    for row, mine in zip(rows, spans, strict=True):
        cover = {c for s in mine for c in range(s.start, s.end)}
        true = {c for s, e, _ in row["spans"] for c in range(s, e)}
        for s, e, kind in row["spans"]:
            if kind not in ("PERSON", "ADDRESS"):
                total += 1
                hit += sum(c in cover for c in range(s, e)) >= 0.9 * (e - s)
        mine = [s for s in mine if s.type not in ("PERSON", "ADDRESS")]
        guessed += len(mine)
        right += sum(2 * sum(c in true for c in range(s.start, s.end)) >= s.end - s.start for s in mine)
    assert hit / total >= 0.98
    assert right / guessed >= 0.99


_PIECES = st.sampled_from(
    ["138", "1234", "5678", "0", "010", "-", " ", ".", ":", "::", "+", "86", "(", ")", "@", "a.com", "Zx", "京", "A",
     "·", "D1234", "警", "2001:db8", "2400:3200::1", "8.8", "微信", "ＶＸ", "wechat", "QQ", "扣扣", "护照", "E12345678",
     "＠", "１３８", "－", "：", "车牌", "号", "abcde_1", "539-15-6107", CARD, IDENTITY, "\n", "[at]", "400", "x12",
     "转",
     "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "eyJhbGciOiJIUzI1NiJ9", "AKIA", "ghp_",
     "0123456789abcdefABCD", "=", '"', "token", "GB82WEST", "12345698765432", "3c:22:fb", "北京市", "朝阳区", "建国路",
     "88", "楼", "出生", "1985年3月12日", "born on", "March 12, 1985", "1600 Grand", "Avenue", "Apt. 1", "电话", "地址",
     "Telegram", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "通行证", "H1234567801", "91350100M000100Y43", "PO Box", "Phone"]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(_PIECES, max_size=14))
def test_the_scan_loses_nothing(parts: list[str]) -> None:
    text = "".join(parts)
    for array in (pa.array([text], pa.string()), pa.array(["@", None, text], pa.large_string()).slice(1)):
        assert pii.find(array).lists(len(array))[-1] == pii.everywhere(text)


def test_the_scan_loses_nothing_on_real_text(shared_data: Path) -> None:
    lines = (shared_data / "text/pii/injected.jsonl").read_text(encoding="utf-8").splitlines()[::9]
    texts = [json.loads(line)["text"] for line in lines]
    assert pii.find(pa.array(texts, pa.large_string())).lists(len(texts)) == [pii.everywhere(text) for text in texts]


def test_many_spans_in_one_text() -> None:
    """Windows that touch are one: every address is found, and the time stays linear."""
    texts = pa.array(["8.8.8.8 " * 2000 + "1@" * 5000 + "a@b.cn"], pa.large_string())
    assert len(pii.find(texts)) == 2001


@settings(max_examples=300, deadline=None)
@given(st.lists(_PIECES, max_size=14))
def test_what_touched_a_span_is_found_the_first_time(parts: list[str]) -> None:
    once = scrub(pa.array(["".join(parts)], pa.large_string()))
    assert scrub(once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(415) 555-2671+44 20 7946 0958", "<|phone|><|phone|>"),
        ("8.8.8.8+44 20 7946 0958", "<|ip|><|phone|>"),
        ("联系 a.very.long.address@mail.example.com 13912345678x", "联系 <|email|> 13912345678x"),
    ],
)
def test_neighbours(text: str, expected: str) -> None:
    assert scrub(pa.array([text])).to_pylist() == [expected]
