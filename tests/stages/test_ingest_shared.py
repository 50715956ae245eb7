"""Every malformed input and every special record of the shared crawl, as its own line says."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pretrain_data.formats.warc import read_records
from pretrain_data.stage import Shard, Unit
from pretrain_data.stages.ingest import IngestConfig, IngestStage

MB = 1 << 20
#: File: (records of any kind that are read whole, pieces that are told of as errors, by rule).
ARCHIVES: dict[str, tuple[int, dict[str, int]]] = {
    "w01-truncated-gzip.warc.gz": (3, {"corrupt_record": 1}),
    "w02-gzip-bitflip.warc.gz": (4, {"corrupt_record": 1}),
    "w03-gzip-one-member.warc.gz": (5, {}),
    "w04-trailing-garbage.warc.gz": (5, {"corrupt_record": 1}),
    "w05-leading-junk.warc": (5, {}),
    "w06-bad-version.warc": (4, {"corrupt_record": 1}),
    "w07-cl-too-small.warc": (4, {"corrupt_record": 1}),
    "w08-cl-too-large.warc": (4, {"corrupt_record": 1}),
    "w09-cl-huge.warc": (4, {"corrupt_record": 1}),
    "w10-cl-negative.warc": (4, {"corrupt_record": 1}),
    "w11-cl-missing.warc": (4, {"corrupt_record": 1}),
    "w12-no-uri.warc": (5, {}),
    "w13-header-nonutf8.warc": (5, {}),
    "w14-header-200kb.warc": (4, {"corrupt_record": 1}),
    "w15-lf-only.warc": (0, {"corrupt_record": 5}),
    "w16-bad-date.warc": (5, {}),
    "w17-bad-digest.warc": (5, {}),
    "w18-http-badstatus.warc": (2, {"bad_http": 3}),
    "w19-bad-chunked.warc.gz": (4, {}),
    "w20-empty.warc.gz": (0, {}),
    "w21-not-warc.warc.gz": (0, {"corrupt_record": 1}),
    "w22-html-named-warc.warc": (0, {"corrupt_record": 1}),
    "w23-bomb-content-encoding.warc.gz": (0, {"too_large": 1}),
    "w24-bomb-member.warc.gz": (5, {"too_large": 1}),
    "w25-bomb-nested.warc.gz": (0, {"too_large": 1}),
    "w26-many-tiny.warc.gz": (3000, {}),
    "genuine/aut__badexample.arc.gz": (2, {"corrupt_record": 3}),
    "genuine/aut__issue-493.warc": (32, {}),
    "genuine/aut__issue-514.warc": (8, {}),
    "genuine/chatnoir-resiliparse__clipped.warc.gz": (0, {"corrupt_record": 1}),
    "genuine/chatnoir-resiliparse__clueweb-quirk.warc.gz": (30, {}),
    "genuine/jwarc__gzip_extra_sl.warc.gz": (1, {}),
    "genuine/pywb__missing-status-text.warc": (0, {"corrupt_record": 1}),
    "genuine/warcio__bad.arc": (0, {"corrupt_record": 2}),
    "genuine/warcio__example-bad-non-chunked.warc.gz": (6, {}),
    "genuine/warcio__example-bad.warc.gz.bad": (6, {}),
    "genuine/warcio__example-trunc.warc": (3, {"corrupt_record": 1}),
    "genuine/warcio__example-wget-bad-target-uri.warc.gz": (6, {}),
    "genuine/warcio__example-wrong-chunks.warc.gz": (1, {"corrupt_record": 2}),
}
#: What whole, sound files hold, as warcio counts them (the data card's table).
GENUINE = {
    "aut__example.arc.gz": {"warcinfo": 1, "response": 261, "resource": 38},  # 38 of warcio's 299 are dns:
    "aut__example.warc.gz": {"warcinfo": 1, "response": 299, "request": 261, "metadata": 261},
    "chatnoir-resiliparse__warcfile.warc": {"warcinfo": 1, "request": 17, "response": 16, "metadata": 16},
    "chatnoir-resiliparse__warcfile.warc.gz": {"warcinfo": 1, "request": 17, "response": 16, "metadata": 16},
    "pywb__iana.warc.gz": {"warcinfo": 1, "response": 48, "request": 171, "revisit": 123},
    "warcio__example.arc": {"warcinfo": 1, "response": 1},
    "warcio__example.arc.gz": {"warcinfo": 1, "response": 1},
    "warcio__example.warc": {"warcinfo": 2, "response": 1, "request": 2, "revisit": 1},
}
#: Page: (rule that drops it, what its text has, what it must not have); None keeps it. Where a later stage
#: is to judge (repetition), any text is right.
PAGES: dict[str, tuple[str | None, str, str]] = {
    "h01-deep-10k.html": ("too_deep", "", ""),
    "h02-deep-100k-b.html": ("too_deep", "", ""),
    "h03-20mb-line.html.gz": ("too_large", "", ""),
    "h04-nul.html": (None, "检查软件包", "\0"),
    "h05-mixed-enc.html": ("garbled", "", ""),
    "h06-mojibake.html": (None, "检查软件包", "ç"),
    "h07-mojibake-gbk.html": ("garbled", "", ""),
    "h08-entity-bomb.xhtml": (None, "", "lollol"),
    "h09-xxe.xhtml": (None, "", "root:"),
    "h10-lone-surrogate.html": (None, "", "\ud800"),
    "h11-rtl-zero-width.html": (None, "文字", "\u202e"),
    "h12-zalgo.html": (None, "", "\u0300\u0301\u0302\u0303\u0304"),
    "h13-charref-huge.html": (None, "", "\0"),
    "h14-attr-10mb.html.gz": (None, "短文本", "aaaaaaaaaa"),
    "h15-table-200k-cells.html.gz": (None, "1", ""),
    "h16-unclosed-script.html": ("empty", "", ""),
    "h17-comment-open.html": ("empty", "", ""),
    "h18-base64-image.html": (None, "正文", "base64"),
    "h19-frameset.html": ("empty", "", ""),
    "h20-js-only.html": ("empty", "", ""),
    "h21-gb18030-4byte.html": (None, "𠮷", "\ufffd"),
    "h22-big5-hkscs.html": (None, "香港嘅喺咗冇啲", "\ufffd"),
    "h23-utf7.html": (None, "+ADw-script+AD4-", "<script>"),
    "h24-utf16-nobom.html": (None, "检查软件包", "\0"),
    "h25-iso2022.html": (None, "日本語のページ", "\ufffd"),
    "h27-invalid-tail.html": (None, "检查软件包", "\ufffd\ufffd"),
    "h28-binary.html": ("garbled", "", ""),
    "h29-repeat-word.html": (None, "免费", ""),
}
BOMBS = ("w23-bomb-content-encoding", "w24-bomb-member", "w25-bomb-nested")
LEFT_TO_CHARSET_AND_HTML = {"h26-hz.html", "h30-hidden-spam.html"}


@pytest.mark.parametrize("name", ARCHIVES)
def test_broken_archives(shared_data: Path, name: str) -> None:
    found = list(read_records(str(shared_data / "crawl_gold/broken" / name), 0, None, 10 * MB))
    errors = Counter(record.error for record in found if record.error is not None)
    assert (sum(record.error is None for record in found), dict(errors)) == ARCHIVES[name]
    assert all(len(record.body) <= 10 * MB for record in found)


@pytest.mark.parametrize("name", GENUINE)
def test_sound_archives(shared_data: Path, name: str) -> None:
    path = shared_data / "crawl_gold/warc/genuine" / name
    found = list(read_records(str(path), 0, None, 10 * MB))
    assert dict(Counter(record.kind for record in found)) == GENUINE[name]
    assert not any(record.error for record in found)
    size = path.stat().st_size
    pieces = [read_records(str(path), size * i // 3, size * (i + 1) // 3, 10 * MB) for i in range(3)]
    assert [r.record_id + r.url for piece in pieces for r in piece] == [r.record_id + r.url for r in found]


def rows(target: Path, kind: str, **settings: Any) -> list[dict[str, Any]]:
    stage = IngestStage(IngestConfig(input=str(target), source="s", **settings))
    found = []
    for done in stage.process(iter(()), Shard("part-00000", (Unit(str(target), kind, label="s/x"),))):
        assert done.rule is not None
        for row, rule in zip(done.batch.to_pylist(), done.rule.to_pylist(), strict=True):
            found.append({**row, "rule": rule})
    return found


@pytest.mark.parametrize("name", PAGES)
def test_broken_pages(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / "crawl_gold/broken" / name
    if name.endswith(".gz"):
        packed, path = path, tmp_path / name.removesuffix(".gz")
        path.write_bytes(gzip.decompress(packed.read_bytes()))
    (row,) = rows(path, "html")
    rule, has, lacks = PAGES[name]
    assert row["rule"] == rule
    assert has in row["text"]
    assert not lacks or lacks not in row["text"]
    row["text"].encode("utf-8")


def test_every_broken_input_is_tested(shared_data: Path) -> None:
    lines = (shared_data / "crawl_gold/broken/index.jsonl").read_text().splitlines()
    assert {json.loads(line)["file"] for line in lines} == {*ARCHIVES, *PAGES, *LEFT_TO_CHARSET_AND_HTML}


def test_bombs_stay_under_a_gigabyte(shared_data: Path) -> None:
    """In a process of their own, with 200 MB, 150 MB, 100 MB and 100 MB behind them."""
    bombs = [str(shared_data / f"crawl_gold/broken/{name}.warc.gz") for name in BOMBS]
    bombs.append(str(shared_data / "broken/bomb.warc.gz"))
    # VmHWM begins anew with the program; ru_maxrss would carry over what this process held when it forked.
    program = (
        "import sys\nfrom pathlib import Path\nfrom pretrain_data.formats.warc import read_records\n"
        "for path in sys.argv[1:]: list(read_records(path, 0, None, 10 << 20))\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", program, *bombs], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300 << 10, "KiB"


#: Kind of special record: the rules that may drop it, None among them where it may be kept; no row: absent.
SPECIAL: dict[str, set[str | None]] = {
    "pdf": {None},
    "image": {"not_text"},
    "js/css": {"not_text"},
    "text/plain": {None},
    "text/plain gb18030 no charset": {None},
    "text/plain utf-16 BOM": {None},
    "soft 404 (real page)": {None},
    "redirect": {"http_status"},
    "304": {"http_status"},
    "empty body": {"empty"},
    "whitespace body": {"empty"},
    "no Content-Type": {None},
    "html served as text/plain": {None},
    "png served as text/html": {"garbled"},
    "unknown charset label": {None},
    "two Content-Type headers": {None},
    "quoted charset param": {None},
    "html utf-16le BOM": {None},
    "utf-8 BOM, header gbk": {None},
    "Content-Encoding gzip but plain body": {None},
    "double gzip": {None},
    "truncated gzip body": {None},
    "WARC-Truncated (cut inside a UTF-8 character possible)": {None},
    "odd URL": {None},
    "same URL captured again": {None},
    "same content other URL": {None},
    "revisit": {"revisit"},
    "dns resource": set(),
    "html resource (no HTTP headers)": {None},
    "metadata": set(),
    "WET conversion zh": {None},
    "xml/rss (real)": {"not_text"},
    "json": {"not_text"},
    "robots.txt": {"skipped_path"},
    "robots meta noindex / X-Robots-Tag noai": {None},
}
CHINESE = {"text/plain gb18030 no charset", "text/plain utf-16 BOM", "WET conversion zh", "two Content-Type headers"}
CHINESE |= {"quoted charset param", "html utf-16le BOM", "utf-8 BOM, header gbk", "html resource (no HTTP headers)"}
SPECIAL_KINDS = [*sorted(SPECIAL), "http 4xx and 5xx"]


@cache
def special(root: Path) -> tuple[dict[int, dict[str, Any]], list[dict[str, Any]]]:
    found = rows(root / "crawl_gold/warc/special-00000.warc.gz", "warc")
    expected = [json.loads(line) for line in (root / "crawl_gold/special_records.jsonl").read_text().splitlines()]
    return {int(row["origin"].rpartition("#")[2]): row for row in found}, expected


@pytest.mark.parametrize("kind", SPECIAL_KINDS)
def test_special_records(shared_data: Path, kind: str) -> None:
    by_offset, expected = special(shared_data)
    of_kind = [e for e in expected if e["kind"] == kind or (kind not in SPECIAL and e["kind"].startswith("http "))]
    assert of_kind
    for line in of_kind:
        row = by_offset.get(line["offset"])
        allowed = SPECIAL.get(kind, {"http_status"})
        assert (row is not None) == bool(allowed)
        if row is not None:
            assert row["rule"] in allowed, line
            assert row["source_id"] == line["record_id"]
            if kind in CHINESE:
                assert row["lang"] == "zh"
                assert "\ufffd" not in row["text"]
