"""Any bytes in, valid text out: NFC UTF-8 without NUL or surrogates, and nothing that stands in a file raises."""

from __future__ import annotations

import gzip
import random
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pretrain_data.formats.warc import read_records
from pretrain_data.ingest.config import IngestConfig
from pretrain_data.ingest.documents import documents
from pretrain_data.ingest.read import Reader
from pretrain_data.ingest.row import Row
from pretrain_data.kernels.html import extract
from pretrain_data.stage import Processed, Shard, Unit
from pretrain_data.stages.ingest import IngestStage

CONFIG = IngestConfig(input="x", source="s")
KINDS = ["html", "text", "markdown", "latex", "code", "unknown"]

#: Pieces that pages, records and lines are made of, broken ones among them.
PIECES = st.sampled_from(
    [
        b"<p>", b"</p>", b"<div class='article'>", b"<script type='application/ld+json'>", b"</script>", b"<![CDATA[",
        b"<!--", b"-->", b"<meta charset=gbk>", b"<meta charset='utf-16'>", b"<?xml version='1.0' encoding='big5'?>",
        b"&#0;", b"&#xD800;", b"&#x110000;", b"<svg><title>", b"<pre>", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00",
        b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", "中文，正文。".encode(), "中文".encode("gb18030"),
        "繁體".encode("big5"), "e\u0301 \u1100\u1161".encode(), "\u202e\u200b\ufeff".encode(), b"\r\n\r\n", b"\n",
        b"WARC/1.0\r\n", b"WARC-Type: response\r\n", b"Content-Length: 10\r\n", b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999\r\n", b"HTTP/1.1 200 OK\r\n", b"Content-Encoding: br\r\n",
        b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"%PDF-1.7\n", b"1 0 obj<</Type/Catalog>>endobj\n",
        b'{"text": ', b'"\\ud800"', b'"\\u0000 x"', b"}", b"[1e999]", b'"id": 12345678901234567890}',
        b"http://a/ 1.2.3.4 20260101000000 text/html 5\n", b"filedesc://x 0 20260101000000 text/plain 3\n",
    ]
)  # fmt: skip
BYTES = st.one_of(
    st.binary(max_size=300), st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=25).map(b"".join)
)


def sound(processed: Processed) -> list[dict[str, Any]]:
    """Its rows, if every text in them is as the schema promises."""
    processed.batch.validate(full=True)
    for array in (processed.rule, processed.detail, processed.kept_id):
        if array is not None:
            array.validate(full=True)
    rows = processed.batch.to_pylist()
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str):
                assert "\0" not in value, name
                value.encode("utf-8")
        assert unicodedata.is_normalized("NFC", row["text"])
        assert "\r" not in row["text"]
    return rows


def through(rows: list[Row]) -> Processed:
    return documents(rows, "f", "s", Counter(), CONFIG.min_chars, CONFIG.keep_invisible)


@cache
def reader() -> Reader:
    return Reader(CONFIG)


@given(BYTES, st.sampled_from(KINDS))
@settings(max_examples=300)
@example(b"\xff\xfe" + "文".encode("utf-16-le") + b"\x00", "html")
def test_files(body: bytes, kind: str) -> None:
    row = reader().named("a/b.c", kind)
    kind = reader().kind(row, kind, body[:200])
    if row.rule is None:
        reader().file(row, body, "a/b.c", kind, Counter())
    sound(through([row]))


@given(BYTES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_pdfs(body: bytes) -> None:
    row = Row("0")
    reader().read_pdf(row, b"%PDF-1.4\n" + body, Counter())
    sound(through([row]))
    assert row.rule in ("pdf_broken", "pdf_no_text", "pdf_encrypted", "pdf_no_font_map", None)


@given(BYTES, st.sampled_from(["plain", "gzip", "zstd"]), st.integers(0, 400))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_archives(tmp_path: Path, body: bytes, packed: str, cut: int) -> None:
    pack = {"plain": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}[packed]
    path = tmp_path / "x.warc"
    path.write_bytes(pack(body) + pack(body)[:cut])
    stage = IngestStage(CONFIG)
    for done in stage.process(iter(()), Shard("p", (Unit(str(path), "warc", label="s/x"),))):
        sound(done)
    for start in (1, cut):
        list(read_records(str(path), start, None, 1 << 20))


@given(BYTES, st.sampled_from(["", ".gz", ".zst"]))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(b'{"text": "a\\u0000b", "title": "\\u0000", "url": "\\u0000", "id": "\\u0000"}', "")
def test_lines(tmp_path: Path, body: bytes, suffix: str) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    for columns in ((), (("text", "a.b"), ("title", "text"))):
        path = tmp_path / f"x.jsonl{suffix}"
        path.write_bytes(pack(body))
        unit = Unit(str(path), "jsonl", label="s/x", columns=columns)
        for done in IngestStage(CONFIG).process(iter(()), Shard("p", (unit,))):
            sound(done)
        path.write_bytes(pack(body)[:-3])
        for done in IngestStage(CONFIG).process(iter(()), Shard("p", (unit,))):
            sound(done)


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=5))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([b"\xff\x00", "e\u0301".encode()])
def test_tables(tmp_path: Path, values: list[bytes]) -> None:
    """Parquet's strings are whatever their writer took for text."""
    bad = pa.array(values, pa.binary()).view(pa.string())
    pq.write_table(pa.table(dict.fromkeys(("text", "title", "url", "id", "other"), bad)), tmp_path / "x.parquet")
    unit = Unit(str(tmp_path / "x.parquet"), "parquet", label="s/x")
    found = [row for done in IngestStage(CONFIG).process(iter(()), Shard("p", (unit,))) for row in sound(done)]
    assert len(found) == len(values)


def test_mutated_tables(tmp_path: Path) -> None:
    rng, path = random.Random(3), tmp_path / "x.parquet"
    rows = [{"id": i, "text": f"第 {i} 行 " * 20, "n": [i, i]} for i in range(300)]
    for codec in ("zstd", "snappy", "none"):
        pq.write_table(pa.Table.from_pylist(rows), path, compression=codec, row_group_size=100)
        whole = path.read_bytes()
        for body in mutants([whole], rng, 60):
            path.write_bytes(body)
            unit = Unit(str(path), "parquet", label="s/x")
            for done in IngestStage(CONFIG).process(iter(()), Shard("p", (unit,))):
                sound(done)


@given(BYTES)
def test_extraction(body: bytes) -> None:
    page = extract(body.decode("utf-8", "surrogatepass") if _is_wtf8(body) else body.decode("latin-1"))
    assert page is not None


def _is_wtf8(body: bytes) -> bool:
    try:
        body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


# --- real pages, mutated ---------------------------------------------------------------------------


def mutants(pages: list[bytes], rng: random.Random, each: int) -> Iterator[bytes]:
    """Pages with bytes flipped, spans cut, doubled, moved or taken from another page."""
    for page in pages:
        for _ in range(each):
            body = bytearray(page)
            for _ in range(rng.choice((1, 3, 30))):
                at, size = rng.randrange(len(body) + 1), rng.choice((1, 2, 50, 2000))
                match rng.randrange(6):
                    case 0:
                        body[at : at + 1] = bytes([rng.randrange(256)])
                    case 1:
                        del body[at : at + size]
                    case 2:
                        body[at:at] = body[at : at + size]
                    case 3:
                        other = rng.choice(pages)
                        start = rng.randrange(len(other) + 1)
                        body[at : at + size] = other[start : start + size]
                    case 4:
                        body[at:at] = rng.choice((b"<div>" * 300, b"<", b"\0\0", b"\xff", b"<!--", b"</body>", b"<a "))
                    case 5:
                        body[at : at + size] = bytes(rng.randrange(256) for _ in range(min(size, 50)))
            yield bytes(body)


def pages_of(paths: list[Path], most: int) -> list[bytes]:
    records = (record for path in paths for record in read_records(str(path), 0, None, 1 << 20))
    pages = (r.body for r in records if r.status == 200 and "html" in r.mime and 500 < len(r.body) < 100_000)
    return [page for _, page in zip(range(most), pages, strict=False)]


def check_mutants(pages: list[bytes], each: int) -> None:
    rng = random.Random(20260101)
    labels = ["", "utf-8", "gbk", "big5", "utf-16", "no-such-charset"]
    rows = []
    for body in mutants(pages, rng, each):
        row = Row(str(len(rows)))
        reader().read_html(row, body, rng.choice(labels))
        rows.append(row)
    assert len(sound(through(rows))) == len(pages) * each
    assert sum(row.rule is None for row in rows) > len(rows) / 4, "most mutants are still pages"


def test_mutated_pages_of_the_sample(sample_crawl: Path) -> None:
    check_mutants(pages_of(sorted((sample_crawl / "input").rglob("*.warc*")), 40), 5)


def test_mutated_real_pages(shared_data: Path) -> None:
    paths = sorted((shared_data / "crawl_gold/warc").glob("pages-main-*.warc.gz"))
    check_mutants([page for path in paths[::3] for page in pages_of([path], 20)], 6)


@pytest.mark.parametrize("each", [8])
def test_mutated_pdfs(shared_data: Path, each: int) -> None:
    paths = sorted((shared_data / "crawl_gold/pdf").glob("*.pdf"), key=lambda p: p.stat().st_size)
    bodies = [path.read_bytes() for path in paths[:25] if path.stat().st_size > 500]
    rows = []
    for body in mutants(bodies, random.Random(1), each):
        row = Row(str(len(rows)))
        reader().read_pdf(row, body, Counter())
        rows.append(row)
    sound(through(rows))
    reader().close()
