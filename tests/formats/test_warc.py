"""WARC files in any state: whole records are kept, trouble is one counted error, offsets lead back."""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections import Counter
from pathlib import Path

import brotli
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from pretrain_data.formats.http_body import BodyError, decode
from pretrain_data.formats.warc import Record, read_records

LIMIT = 1 << 20


def block(url: str, body: bytes, headers: str = "Content-Type: text/html; charset=utf-8") -> bytes:
    http = f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode() + body
    head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{url}>\r\nWARC-Target-URI: {url}\r\n"
    head += f"WARC-Date: 2026-01-02T03:04:05Z\r\nContent-Type: application/http\r\nContent-Length: {len(http)}\r\n\r\n"
    return head.encode() + http + b"\r\n\r\n"


BLOCKS = [block(f"http://a/{i}", f"<p>page {i} 页</p>".encode() * (i + 1)) for i in range(5)]
MEMBERS = [gzip.compress(b, mtime=0) for b in BLOCKS]


def read(tmp_path: Path, data: bytes, start: int = 0, end: int | None = None, limit: int = LIMIT) -> list[Record]:
    path = tmp_path / "x.warc.gz"
    path.write_bytes(data)
    return list(read_records(str(path), start, end, limit))


def urls(records: list[Record]) -> list[str]:
    return [r.url for r in records if r.error is None]


ALL = [f"http://a/{i}" for i in range(5)]


def test_records_and_their_offsets(tmp_path: Path) -> None:
    records = read(tmp_path, b"".join(MEMBERS))
    assert urls(records) == ALL
    assert [r.offset for r in records] == [sum(map(len, MEMBERS[:i])) for i in range(5)]
    first = records[0]
    assert (first.status, first.mime, first.charset, first.date) == (200, "text/html", "utf-8", "2026-01-02T03:04:05Z")
    assert first.body.decode() == "<p>page 0 页</p>"


@pytest.mark.parametrize("cuts", [2, 3, 7, 50])
def test_byte_ranges_share_the_records_out(tmp_path: Path, cuts: int) -> None:
    data = b"".join(MEMBERS)
    edges = [len(data) * i // cuts for i in range(cuts + 1)]
    found = [url for low, high in itertools.pairwise(edges) for url in urls(read(tmp_path, data, low, high))]
    assert found == ALL


def test_plain_and_whole_file_gzip(tmp_path: Path) -> None:
    assert urls(read(tmp_path, b"".join(BLOCKS))) == ALL
    assert urls(read(tmp_path, gzip.compress(b"".join(BLOCKS)))) == ALL
    assert urls(read(tmp_path, gzip.compress(b"".join(BLOCKS * 4000)), limit=5000))[:5] == ALL, (
        "larger than a record may be"
    )
    assert read(tmp_path, b"") == []


@pytest.mark.parametrize(
    ("data", "kept", "errors"),
    [
        (b"".join(MEMBERS)[:-20], ALL[:4], ["corrupt_record"]),
        (b"".join(MEMBERS) + b"garbage", ALL, ["corrupt_record"]),
        (MEMBERS[0] + b"\xff" * 9 + b"".join(MEMBERS[1:]), ALL, ["corrupt_record"]),
        (b"not a warc at all", [], ["corrupt_record"]),
        (gzip.compress(b"not a warc at all"), [], ["corrupt_record"]),
    ],
)
def test_trouble_costs_no_more_than_itself(tmp_path: Path, data: bytes, kept: list[str], errors: list[str]) -> None:
    records = read(tmp_path, data)
    assert urls(records) == kept
    assert [r.error for r in records if r.error] == errors


def test_a_flipped_byte_costs_one_record(tmp_path: Path) -> None:
    data = bytearray(b"".join(MEMBERS))
    at = len(MEMBERS[0]) + len(MEMBERS[1]) // 2
    data[at] ^= 0xFF
    records = read(tmp_path, bytes(data))
    assert urls(records) == [ALL[0], *ALL[2:]]
    assert [r.error for r in records if r.error] == ["corrupt_record"]


def test_bombs_are_cut(tmp_path: Path) -> None:
    bomb = gzip.compress(block("http://bomb", b"x" * (50 << 20)))
    packed = block("http://packed", gzip.compress(b"y" * (50 << 20)), "Content-Encoding: gzip")
    records = read(tmp_path, MEMBERS[0] + bomb + gzip.compress(packed) + MEMBERS[1])
    assert urls(records) == ALL[:2]
    assert [r.error for r in records if r.error] == ["too_large", "too_large"]
    assert all(len(r.body) <= LIMIT for r in records)


BODY = "<html><p>正文 body</p></html>".encode() * 20


@pytest.mark.parametrize(
    ("raw", "transfer", "content"),
    [
        (BODY, "", ""),
        (gzip.compress(BODY), "", "gzip"),
        (BODY, "", "gzip"),  # stored decoded under the old header
        (zlib.compress(BODY), "", "deflate"),
        (zlib.compress(BODY)[2:-4], "", "deflate"),
        (brotli.compress(BODY), "", "br"),
        (BODY, "", "br"),
        (
            b"1f\r\n" + BODY[:31] + b"\r\n" + f"{len(BODY) - 31:x};ext=1\r\n".encode() + BODY[31:] + b"\r\n0\r\n\r\n",
            "chunked",
            "",
        ),
        (BODY, "chunked", ""),  # stored without its chunks
        (gzip.compress(gzip.compress(BODY)), "", "gzip, gzip"),
    ],
)
def test_bodies_come_out_as_they_were(raw: bytes, transfer: str, content: str) -> None:
    assert decode(raw, transfer, content, LIMIT) == BODY


@pytest.mark.parametrize(
    ("raw", "transfer", "content"),
    [
        (b"\x1f\x8b\x08\x00broken", "", "gzip"),
        (b"\x00\x01\x02", "", "br"),
        (b"5\r\nabcde\r\nzz\r\n", "chunked", ""),
    ],
)
def test_broken_bodies_are_one_error(raw: bytes, transfer: str, content: str) -> None:
    with pytest.raises(BodyError):
        decode(raw, transfer, content, LIMIT)


def test_plain_files_go_on_behind_a_wrong_length(tmp_path: Path) -> None:
    right = b"Content-Length: "
    at = BLOCKS[1].index(right) + len(right)
    length = int(BLOCKS[1][at:].split(b"\r\n")[0])
    for wrong in (b"7", b"%d" % (length + 40), b"%d" % 10**15, b"-1", b"many"):
        second = BLOCKS[1].replace(b"%s%d" % (right, length), right + wrong, 1)
        records = read(tmp_path, BLOCKS[0] + second + b"".join(BLOCKS[2:]))
        assert urls(records) == [ALL[0], *ALL[2:]], wrong
        assert [(r.error, r.offset) for r in records if r.error] == [("corrupt_record", len(BLOCKS[0]))]


@pytest.mark.parametrize("cuts", [1, 2, 3, 7, 50])
def test_plain_and_zstd_files_are_cut_too(tmp_path: Path, cuts: int) -> None:
    coder = zstandard.ZstdCompressor(write_checksum=True)
    for data in (b"".join(BLOCKS), b"".join(coder.compress(b) for b in BLOCKS)):
        edges = [len(data) * i // cuts for i in range(cuts + 1)]
        found = [r for low, high in itertools.pairwise(edges) for r in read(tmp_path, data, low, high)]
        assert [r.url for r in found] == ALL
        assert not any(r.error for r in found)


def test_zstd_bombs_dictionaries_and_corrupt_frames(tmp_path: Path) -> None:
    coder = zstandard.ZstdCompressor(write_checksum=True)
    frames = [coder.compress(b) for b in BLOCKS]
    bomb = coder.compress(block("http://bomb", b"x" * (50 << 20)))
    records = read(tmp_path, frames[0] + bomb + frames[1])
    assert urls(records) == ALL[:2]
    assert [r.error for r in records if r.error] == ["too_large"]
    flipped = bytearray(frames[1])
    flipped[len(flipped) // 2] ^= 0xFF
    records = read(tmp_path, frames[0] + bytes(flipped) + b"".join(frames[2:]))
    assert urls(records) == [ALL[0], *ALL[2:]]
    assert [r.error for r in records if r.error] == ["corrupt_record"]
    dictionary = zstandard.ZstdCompressionDict(b"WARC/1.0\r\nWARC-Type: response\r\n" * 40)
    with_it = zstandard.ZstdCompressor(dict_data=dictionary)
    raw = dictionary.as_bytes()
    head = b"\x5d\x2a\x4d\x18" + len(raw).to_bytes(4, "little") + raw
    assert urls(read(tmp_path, head + b"".join(with_it.compress(b) for b in BLOCKS))) == ALL
    whole = coder.compress(b"".join(BLOCKS))
    assert urls(read(tmp_path, whole)) == ALL, "one frame, as the command line tool makes it"


def arc(url: str, body: bytes) -> bytes:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=gbk\r\n\r\n" + body
    return f"{url} 127.0.0.1 20260102030405 text/html {len(http)}\n".encode() + http + b"\n"


def test_arc_files(tmp_path: Path) -> None:
    about = b"1 0 crawler\nURL IP-address Archive-date Content-type Archive-length\n"
    head = b"filedesc://x.arc 0.0.0.0 20260102030405 text/plain %d\n" % len(about) + about + b"\n"
    parts = [head, *(arc(url, f"页 {url}".encode("gbk")) for url in ALL)]
    for data in (b"".join(parts), b"".join(gzip.compress(p) for p in parts), gzip.compress(b"".join(parts))):
        records = read(tmp_path, data)
        assert [r.kind for r in records] == ["warcinfo"] + ["response"] * 5
        assert urls(records)[1:] == ALL
        first = records[1]
        assert (first.date, first.charset, first.status) == ("2026-01-02T03:04:05Z", "gbk", 200)
        assert first.body.decode("gbk") == f"页 {ALL[0]}"
    wrong = parts[2].replace(b"text/html ", b"text/html 9", 1)
    records = read(tmp_path, b"".join([*parts[:2], wrong, *parts[3:]]))
    assert urls(records)[1:] == [ALL[0], *ALL[2:]]


DICTIONARY = b"\x5d\x2a\x4d\x18"  # of zstd, in a skippable frame


@example(b"", DICTIONARY)
@example(b"\x03", DICTIONARY)
@example(b"\x08\x00\x00\x00\x28\xb5\x2f\xfdabcd" + zstandard.compress(b"WARC/1.0\r\n"), DICTIONARY)
@example(b"\x00\x00\x00\x00" + zstandard.compress(b"WARC/1.0\r\n"), DICTIONARY)
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"WARC/1.0\r\n", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", DICTIONARY, MEMBERS[0]]),
)
def test_any_bytes_end_in_records_and_errors(data: bytes, start: bytes) -> None:
    records = list(read_records("", 0, None, LIMIT, io.BytesIO(start + data)))
    assert all(r.error or r.kind or r.headers for r in records)
    assert urls(records)[:1] == ALL[:1] or start != MEMBERS[0]


def test_the_shared_broken_files(shared_data: Path) -> None:
    """What broken.json says of each, as (records with a body, errors)."""
    expected = {
        "truncated_gzip": (4, 1), "garbage_tail": (5, 1), "flipped_byte": (4, 1), "empty": (0, 0), "not_gzip": (0, 1),
        "huge_line": (2, 1), "bomb": (2, 1), "deep_nesting": (3, 0), "nul_bytes": (3, 0), "bad_urls": (3, 0),
    }  # fmt: skip
    for name, counts in expected.items():
        records = list(read_records(str(shared_data / "broken" / f"{name}.warc.gz"), 0, None, 10 << 20))
        found = Counter(r.error is None for r in records)
        assert (found[True], found[False]) == counts, name
