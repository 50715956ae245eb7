"""ingest: every record comes out as a document or as a counted drop, and ids are stable."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pretrain_data.stage import Processed
from pretrain_data.stages.ingest import IngestConfig, IngestStage


def ingest(target: Path, **settings: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Counter[str]]:
    """Documents, drops and metrics of an input, without Spark."""
    stage = IngestStage(IngestConfig(input=str(target), source="s", **settings))
    kept, dropped, metrics = [], [], Counter[str]()
    for shard in stage.plan(target.parent):
        for done in stage.process(iter(()), shard):
            assert isinstance(done, Processed)
            metrics.update(done.metrics)  # type: ignore[arg-type]
            rules = done.rule.to_pylist() if done.rule is not None else [None] * done.batch.num_rows
            details = done.detail.to_pylist() if done.detail is not None else [None] * done.batch.num_rows
            for row, rule, detail in zip(done.batch.to_pylist(), rules, details, strict=True):
                (kept if rule is None else dropped).append({**row, "rule": rule, "detail": detail})
    ids = [row["doc_id"] for row in kept + dropped]
    assert len(ids) == len(set(ids))
    return kept, dropped, metrics


def test_a_tree_of_files(tmp_path: Path) -> None:
    root = tmp_path / "in"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text("x = 1\n")
    (root / "b.md").write_text("# 标题\n\n正文")
    (root / "c.txt").write_bytes("纯文本，没有标记。".encode("gb18030") * 5)
    (root / "d.html").write_text("<title>T</title><p>网页的正文</p>")
    (root / "e.bin").write_bytes(b"\0\1")
    (root / ".hidden").write_text("no")
    (root / "f.jsonl").write_text(json.dumps({"id": "j", "text": "a line", "extra": 1}) + "\nbroken\n")
    (root / "g.pdf").write_bytes(b"no pdf")
    (root / "h.txt").write_text("   ")
    kept, dropped, _ = ingest(root)
    by_id = {row["source_id"]: row for row in kept}
    assert sorted(by_id) == ["b.md", "c.txt", "d.html", "j", "src/a.py"]
    assert by_id["src/a.py"]["format"] == "code"
    assert by_id["b.md"]["format"] == "markdown"
    assert by_id["c.txt"]["text"].startswith("纯文本，没有标记。")
    assert (by_id["d.html"]["text"], by_id["d.html"]["title"], by_id["d.html"]["lang"]) == ("网页的正文", "T", "zh")
    assert (by_id["j"]["extra"], by_id["j"]["source"]) == (1, "s")
    assert sorted(row["rule"] for row in dropped) == ["bad_json", "empty", "pdf_broken", "unknown_format"]
    again, _, _ = ingest(root, shard_bytes=1 << 16)
    assert [row["doc_id"] for row in again] == [row["doc_id"] for row in kept]


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    from pretrain_data.errors import InputError

    with pytest.raises(InputError, match="no file there"):
        ingest(tmp_path / "nothing")


def test_the_shared_broken_inputs(shared_data: Path) -> None:
    """What broken.json asks of ingest: pages kept, and the rules of the rest."""
    expected: dict[str, tuple[int, list[str]]] = {
        "truncated_gzip.warc.gz": (4, ["corrupt_record"]),
        "garbage_tail.warc.gz": (5, ["corrupt_record"]),
        "flipped_byte.warc.gz": (4, ["corrupt_record"]),
        "empty.warc.gz": (0, []),
        "huge_line.warc.gz": (2, ["too_large"]),
        "bomb.warc.gz": (2, ["too_large"]),
        "nul_bytes.warc.gz": (2, ["garbled"]),
        "not_gzip.warc.gz": (0, ["corrupt_record"]),
        "bad_urls.warc.gz": (3, []),
        "surrogates.warc.gz": (2, []),
        "zero_width.warc.gz": (1, []),
        "bad.jsonl": (2, ["bad_json", "bad_json", "not_text", "null_text", "null_text"]),
        "not_parquet.parquet": (0, ["broken_file"]),
        "wrong_columns.parquet": (0, ["broken_file"]),
        "null_and_dup_ids.parquet": (3, ["null_text"]),
    }
    for name, (pages, rules) in expected.items():
        kept, dropped, _ = ingest(shared_data / "broken" / name)
        assert (len(kept), sorted(r["rule"] for r in dropped)) == (pages, rules), name
        for row in kept:
            assert "\0" not in row["text"]
            row["text"].encode("utf-8")
    kept, dropped, _ = ingest(shared_data / "broken" / "deep_nesting.warc.gz")
    assert len(kept) + len(dropped) == 3
    assert len(kept) >= 2
    kept, dropped, _ = ingest(shared_data / "broken" / "binary_as_html.warc.gz")
    assert "garbled" in [r["rule"] for r in dropped]
    kept, _, _ = ingest(shared_data / "broken" / "wrong_charset.warc.gz")
    assert any("\u4e00" <= c <= "\u9fff" for c in kept[0]["text"])
    missing = next(r for r in ingest(shared_data / "broken" / "wrong_columns.parquet")[1])
    assert "text" in missing["detail"]


def test_the_shared_crawl_is_accounted_for(shared_data: Path) -> None:
    path = shared_data / "crawl/warc/crawl-007.warc.gz"
    kept, dropped, metrics = ingest(path)
    assert len(kept) + len(dropped) == 161 + 6 + 6 + 6
    assert metrics["records.warcinfo"] == 1
    assert Counter(r["rule"] for r in dropped)["revisit"] == 6
    assert Counter(r["rule"] for r in dropped)["http_status"] == 12


def test_days_have_shards_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name in ("dt=2026-01-30/a.txt", "dt=2026-01-31/a.txt", "dt=2026-01-31/b.txt", "loose.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"text of {name}")
    stage = IngestStage(IngestConfig(input=str(root), source="s"))
    before = {shard.name: shard for shard in stage.plan(tmp_path)}
    assert list(before) == ["part-00000", "dt=2026-01-30/part-00000", "dt=2026-01-31/part-00000"]
    (root / "dt=2026-01-29").mkdir()
    (root / "dt=2026-01-29" / "late.txt").write_text("came late")
    after = {shard.name: shard for shard in stage.plan(tmp_path)}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"dt=2026-01-29/part-00000"}
    kept, _, _ = ingest(root)
    dates = {row["source_id"]: str(row["crawl_date"]) for row in kept}
    assert dates["dt=2026-01-31/b.txt"] == "2026-01-31"
    assert dates["loose.txt"] == "None"


def test_the_service_reads_scans_and_its_refusal_is_a_drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pypdfium2 import PdfDocument

    from pretrain_data.errors import InputError
    from pretrain_data.formats import ocr_service

    blank = PdfDocument.new()
    blank.new_page(200, 200)
    blank.save(tmp_path / "scan.pdf")
    _, dropped, _ = ingest(tmp_path / "scan.pdf")
    assert [row["rule"] for row in dropped] == ["pdf_no_text"]
    service = {"provider": "service", "url": "http://localhost:1/ocr"}
    monkeypatch.setattr(ocr_service.OcrService, "read", lambda self, body: f"读到 {body[:5].decode()} 从 {self.url}")
    kept, _, metrics = ingest(tmp_path / "scan.pdf", ocr=service)
    assert [row["text"] for row in kept] == ["读到 %PDF- 从 http://localhost:1/ocr"]
    assert metrics["pdf.ocr"] == 1

    def refuse(self: ocr_service.OcrService, body: bytes) -> str:
        raise ocr_service.OcrError("status 404")

    monkeypatch.setattr(ocr_service.OcrService, "read", refuse)
    _, dropped, _ = ingest(tmp_path / "scan.pdf", ocr=service)
    assert [(row["rule"], row["detail"]) for row in dropped] == [("ocr_failed", "status 404")]
    with pytest.raises(InputError, match="needs an http"):
        ingest(tmp_path / "scan.pdf", ocr={"provider": "service"})


def test_pages_that_ask_to_be_left_out(tmp_path: Path) -> None:
    def page(url: str, body: str, extra: str = "") -> bytes:
        http = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{extra}\r\n{body}".encode()
        head = f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Record-ID: <{url}>\r\nWARC-Target-URI: {url}\r\n"
        head += f"Content-Type: application/http\r\nContent-Length: {len(http)}\r\n\r\n"
        return head.encode() + http + b"\r\n\r\n"

    path = tmp_path / "x.warc"
    path.write_bytes(
        page("http://a/1", "<p>a page like any other</p>")
        + page("http://c/1", "<meta name=robots content='noindex'><p>leave me out</p>")
        + page("http://d/1", "<p>and leave me out</p>", "X-Robots-Tag: noai\r\n")
        + page("http://e/robots.txt", "User-agent: *")
    )
    kept, dropped, metrics = ingest(path)
    assert len(kept) == 3
    assert [row["rule"] for row in dropped] == ["skipped_path"]
    assert metrics["pages.noindex"] == 2
    kept, dropped, _ = ingest(path, noindex="drop")
    assert [row["url"] for row in kept] == ["http://a/1"]
    assert Counter(row["rule"] for row in dropped) == {"noindex": 2, "skipped_path": 1}


def test_a_source_tree_without_copies_and_generated_files(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    hand = "def f(x):\n    # 返回 x\n    return x\n"
    for name, text in {
        "src/a.py": hand,
        "src/a.h": "#pragma once\nnamespace a {\nclass B {\npublic:\n  int c;\n};\n}\n",
        "bin/tool": "#!/usr/bin/env python3\n" + hand,
        "bin/blob": "\x7fELF",
        "README.md": "# 说明\n\nA project.\n",
        "docs/vendor/notes.md": "# Notes\n\nWhere our vendors are.\n",
        "vendor/lib/b.go": "package b\n",
        "web/node_modules/x/README.md": "# x\n",
        "web/node_modules/x/index.js": "module.exports = 1\n",
        "api/a_pb2.py": hand,
        "api/client.go": "// Code generated by tool. DO NOT EDIT.\npackage api\n",
        "api/接口.go": "// 自动生成的代码，请勿手动修改\npackage api\n",
        "web/app.js": "var a=1;" * 400,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    kept, dropped, _ = ingest(root)
    assert {row["source_id"]: (row["format"], row["code_language"]) for row in kept} == {
        "README.md": ("markdown", None),
        "bin/tool": ("code", "Python"),
        "docs/vendor/notes.md": ("markdown", None),
        "src/a.h": ("code", "C++"),
        "src/a.py": ("code", "Python"),
    }
    assert {row["source_id"]: (row["rule"], row["detail"]) for row in dropped} == {
        "api/a_pb2.py": ("generated", "by its name: a_pb2.py"),
        "api/client.go": ("generated", "Code generated by tool. DO NOT EDIT"),
        "api/接口.go": ("generated", "自动生成的代码，请勿手动修改"),
        "bin/blob": ("unknown_format", "bin/blob: no reader for this name"),
        "vendor/lib/b.go": ("vendored", "vendor"),
        "web/app.js": ("minified", None),
        "web/node_modules/x/README.md": ("vendored", "node_modules"),
        "web/node_modules/x/index.js": ("vendored", "node_modules"),
    }
    kept, dropped, _ = ingest(root, drop_code=())
    assert len(kept) == 12
    assert [row["source_id"] for row in dropped] == ["bin/blob"]


def test_title_author_and_day_become_columns(tmp_path: Path) -> None:
    head = "<title>标题 | 网站</title><meta property='og:title' content='标题'><meta name='author' content='张三'>"
    (tmp_path / "a.html").write_text(f"{head}<time pubdate datetime='2026-01-31'></time><p>正文在这里，有几句话。</p>")
    (row,) = ingest(tmp_path)[0]
    assert (row["title"], row["author"], str(row["published"])) == ("标题", "张三", "2026-01-31")


def nested_forms(depth: int) -> bytes:
    """A PDF of one page that draws a form ten times, which draws another ten times, and so on."""
    text = b"BT /F 12 Tf 10 10 Td (some text of a page) Tj ET"

    def stream(entries: bytes, content: bytes) -> bytes:
        return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(content), content)

    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R"
        b"/Resources<</Font<</F 5 0 R>>/XObject<</X 6 0 R>>>>>>",
        stream(b"", text + b" /X Do"),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number in range(7, 7 + depth):
        inner = b"/XObject<</X %d 0 R>>" % number if number < 6 + depth else b""
        form = b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Resources<</Font<</F 5 0 R>>%s>>" % inner
        objects.append(stream(form, b" /X Do" * 10 if inner else text))
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%sendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    end = b"trailer<</Size %d/Root 1 0 R>>startxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    return out + head + table + end


def test_pdfs_that_would_take_for_ever_or_all_memory_are_dropped_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretrain_data.ingest import confined

    monkeypatch.setattr(confined, "GRACE", 0.0)
    (tmp_path / "a.pdf").write_bytes(nested_forms(14))  # 10^13 lines of text
    (tmp_path / "b.pdf").write_bytes(nested_forms(2))
    for settings, rule in (
        ({"max_pdf_seconds": 0.5}, "pdf_hung"),
        ({"max_pdf_seconds": 50, "max_pdf_memory_mb": 64}, "pdf_crashed"),
    ):
        kept, dropped, metrics = ingest(tmp_path, **settings)
        assert [(row["source_id"], row["rule"]) for row in dropped] == [("a.pdf", rule)]
        assert [row["source_id"] for row in kept] == ["b.pdf"]
        assert kept[0]["text"].count("some text of a page") == 11
        assert metrics["pdf.pages"] == 1
