"""Each check digit against an independent implementation: python-stdnum and phonenumbers over generated numbers."""

from __future__ import annotations

import ipaddress
import string

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import bitcoin, iban, luhn
from stdnum.cn import ric, uscc
from stdnum.us import ssn

from pretrain_data.kernels import pii

DIGITS = st.sampled_from(string.digits)


def has(kind: str, value: str, text: str) -> bool:
    spans = pii.find(pa.array([text], pa.large_string())).lists(1)[0]
    return (kind, value) in {(span.type, text[span.start : span.end]) for span in spans}


def body(size: int, alphabet: str = string.digits) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=size, max_size=size)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["110101", "330106", "650102"]), st.dates(), body(3), st.sampled_from("0123456789X"))
def test_identity_numbers(region: str, born: object, serial: str, last: str) -> None:
    number = f"{region}{born:%Y%m%d}{serial}{last}".zfill(18)
    valid = 1880 <= int(number[6:10]) < 2100 and ric.is_valid(number)
    assert has("ID_CARD", number, f"证件{number}。") == valid


@settings(max_examples=200, deadline=None)
@given(body(9, string.digits), st.booleans())
def test_credit_codes(middle: str, right: bool) -> None:
    code = f"91110101{middle}"
    code += uscc.calc_check_digit(code + "0") if right else "0"
    assert has("CREDIT_CODE", code, f"代码{code}。") == uscc.is_valid(code)


@settings(max_examples=200, deadline=None)
@given(body(13), st.booleans())
def test_bank_cards(middle: str, right: bool) -> None:
    number = "62" + middle
    number += luhn.calc_check_digit(number) if right else "0"
    assert has("BANK_CARD", number, f"银行卡号{number}。") == (luhn.is_valid(number) and len(set(number)) >= 4)


@settings(max_examples=200, deadline=None)
@given(body(14), st.booleans())
def test_ibans(account: str, right: bool) -> None:
    number = f"GB00WEST{account}"
    number = f"GB{iban.calc_check_digits(number)}WEST{account}" if right else number
    assert has("IBAN", number, f"to {number}.") == iban.is_valid(number)


@settings(max_examples=200, deadline=None)
@given(body(3), body(2), body(4))
def test_social_security_numbers(area: str, group: str, serial: str) -> None:
    number = f"{area}-{group}-{serial}"
    assert has("US_SSN", number, f"SSN {number}.") == ssn.is_valid(number)


@settings(max_examples=200, deadline=None)
@given(st.ip_addresses(v=4))
def test_addresses_of_version_four(address: ipaddress.IPv4Address) -> None:
    public = address.is_global and not address.is_multicast
    assert has("IP", str(address), f"来自{address}的请求") == public


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["44", "33", "49", "81", "65", "852", "999", "210"]), st.integers(10**6, 10**11))
def test_international_numbers(country: str, rest: int) -> None:
    number = f"+{country} {rest}"
    try:
        possible = phonenumbers.is_possible_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        possible = False
    grouped = f"+{country} {str(rest)[:4]} {str(rest)[4:]}" if len(str(rest)) > 5 else number
    assert has("PHONE", grouped, f"call {grouped} now") == (possible and len(country) + len(str(rest)) >= 7)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 33), st.sampled_from("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"))
def test_wallets(at: int, char: str) -> None:
    right = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
    changed = right[:at] + char + right[at + 1 :]
    valid = changed[0] in "13" and bitcoin.is_valid(changed)
    assert has("CRYPTO_WALLET", changed, f"to {changed} now") == valid


@pytest.mark.parametrize("segment", ["130", "139", "145", "166", "170", "199"])
def test_mobile_numbers(segment: str) -> None:
    number = f"{segment}12345678"
    assert phonenumbers.is_valid_number(phonenumbers.parse(number, "CN"))
    for written in (number, f"+86{number}", f"0086-{number}", f"+86 {segment}-1234-5678", f"{segment} 1234 5678"):
        assert has("PHONE", written, f"拨打{written}咨询"), written
