"""Writes the sample: WARC files, a PDF, JSONL, sources, Markdown, licences, and the truth about them."""

from __future__ import annotations

import builtins
import gzip
import importlib.metadata
import importlib.util
import io
import json
import os
import pydoc
import re
import subprocess
import sys
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from email import message_from_string
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from fpdf import FPDF

from pretrain_data.sample.pages import Written, written
from pretrain_data.sample.planted import jaccard
from pretrain_data.sample.render import page_html

NAMESPACE = uuid.UUID("6f0c1d0e-7a54-4f3f-9d6e-3a8f1f6f5a10")
DATE = "2026-01-15T08:00:00Z"
PAGES_A_WARC = 40

_ADDRESS = re.compile(r"(?: |&nbsp;)at(?: |&nbsp;)0x[0-9A-Fa-f]+")
_FILE_SECTION = re.compile(r'<a href="file:[^"]*">[^<]*</a>')
_PATHS = re.compile(r"(?:file:|/)[\w./+-]*/(?:lib/python[\d.]+|site-packages)[\w./+-]*")

#: Every n-th Chinese page is written in another encoding: (encoding, HTTP label, meta label).
ENCODINGS = (
    ("gb18030", "gb18030", None),
    ("gbk", None, "gb2312"),
    ("gbk", "utf-8", None),
    ("gb18030", None, None),
    ("utf-8", "gbk", "utf-8"),
)
TRADITIONAL = (("big5hkscs", "big5", None), ("big5hkscs", None, None), ("utf-8", "utf-8", "utf-8"))


def write_sample(out: Path) -> str:
    """Write the sample below `out`; returns a line that says how much there is.

    The same machine gives the same bytes each time, and a file whose content is right already is not
    touched. Files of an older sample are removed. `out/input` is what ingest reads, `out/truth` what is
    planted there, one JSON object a line.
    """
    files: dict[str, bytes] = {}
    pages = written()
    truth = _pages(pages, files)
    _pydoc(files, truth)
    _pdf(files, truth)
    _jsonl(files, truth)
    _code(files, truth)
    _metadata(files, truth)
    for name, rows in truth.items():
        files[f"truth/{name}.jsonl"] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    files["README.md"] = _README.encode()
    _write(out, files)
    size = sum(len(data) for name, data in files.items() if name.startswith("input/"))
    return f"{len(truth['documents'])} documents in {len(files)} files, {size / 1e6:.1f} MB; {len(pages)} written pages"


def _write(out: Path, files: dict[str, bytes]) -> None:
    for old in [p for p in out.rglob("*") if p.is_file()] if out.exists() else []:
        if old.relative_to(out).as_posix() not in files:
            old.unlink()
    for name, data in files.items():
        path = out / name
        if path.is_file() and path.read_bytes() == data:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


# --- WARC -------------------------------------------------------------------------------------------


def record(kind: str, url: str, block: bytes, number: int) -> bytes:
    """One WARC/1.0 record as a gzip member of its own (ISO 28500, Annex A)."""
    identity = uuid.uuid5(NAMESPACE, f"{kind} {url} {number}")
    mime = "application/warc-fields" if kind == "warcinfo" else "application/http; msgtype=response"
    target = f"WARC-Target-URI: {url}\r\n" if url else ""
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{identity}>\r\nWARC-Date: {DATE}\r\n{target}"
    head += f"Content-Type: {mime}\r\nContent-Length: {len(block)}\r\n\r\n"
    return gzip.compress(head.encode() + block + b"\r\n\r\n", 9, mtime=0)


def response(status: str, headers: dict[str, str], body: bytes) -> bytes:
    """An HTTP/1.1 response as it came over the wire."""
    lines = [f"HTTP/1.1 {status}", *(f"{k}: {v}" for k, v in headers.items()), f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _warc(records: Iterable[bytes]) -> bytes:
    info = b"software: pretrain_data sample\r\nformat: WARC File Format 1.0\r\n"
    return record("warcinfo", "", info, 0) + b"".join(records)


def _pages(pages: list[Written], files: dict[str, bytes]) -> dict[str, list[dict[str, Any]]]:
    truth: dict[str, list[dict[str, Any]]] = {"documents": [], "pii": [], "boilerplate": [], "pairs": []}
    by_id = {page.id: page for page in pages}
    records: list[bytes] = []
    for number, page in enumerate(pages):
        encoding, label, meta = _encoding(page, number)
        mime = f"text/html; charset={label}" if label else "text/html"
        raw = page_html(page, meta).encode(encoding, "xmlcharrefreplace")
        records.append(record("response", page.url, response("200 OK", {"Content-Type": mime}, raw), number))
        # Verse, tables and sums are prose to no rule of the web: whether they stay is the rule set's choice.
        special = page.domain == "math" or any(word in page.id for word in ("poem", "table"))
        fate = {"spam": "rules", "garbled": "rules", "blank": "rules", "exact": "dedup"}.get(
            page.kind, "any" if special else "kept"
        )
        row = {"id": page.url, "kind": page.kind, "lang": page.lang, "domain": page.domain, "fate": fate}
        if page.of:
            origin = by_id[page.of]
            row["of"] = origin.url
            if page.kind in ("near", "exact"):
                similarity = jaccard(origin.plain, page.plain, page.lang)
                truth["pairs"].append({"id1": origin.url, "id2": page.url, "jaccard": round(similarity, 6)})
                if page.kind == "near":
                    row["fate"] = "dedup" if similarity >= 0.85 else "kept" if similarity < 0.7 else "either"
        truth["documents"].append({**row, "encoding": encoding})
        truth["pii"] += [{"id": page.url, "type": kind, "value": value} for kind, value in page.pii]
        if page.notices:
            stays = page.body.split("\n")[0]
            truth["boilerplate"] += [{"id": page.url, "goes": line, "stays": stays} for line in page.notices]
    records += _others(truth)
    for start in range(0, len(records), PAGES_A_WARC):
        name = f"input/warc/pages-{start // PAGES_A_WARC:02}.warc.gz"
        files[name] = _warc(records[start : start + PAGES_A_WARC])
    return truth


def _encoding(page: Written, number: int) -> tuple[str, str | None, str | None]:
    if page.lang != "zh" or page.kind in ("garbled", "blank"):
        return "utf-8", "utf-8", "utf-8"
    choices = TRADITIONAL if "trad" in page.id else ENCODINGS
    if "trad" not in page.id and number % 3:
        return "utf-8", "utf-8", "utf-8"
    return choices[number % len(choices)]


def _others(truth: dict[str, list[dict[str, Any]]]) -> list[bytes]:
    """Records that give no document: they are accounted for all the same."""
    host = "https://www.sample.example"
    kinds = (
        ("404 Not Found", {"Content-Type": "text/html"}, b"<html><body><h1>404</h1></body></html>", "http_status"),
        ("302 Found", {"Location": f"{host}/"}, b"", "http_status"),
        ("200 OK", {"Content-Type": "image/gif"}, b"GIF89a\x01\x00\x01\x00\x80\x00\x00", "not_text"),
        ("200 OK", {"Content-Type": "text/html"}, b"", "empty"),
    )
    out = []
    for number in range(8):
        status, headers, body, rule = kinds[number % len(kinds)]
        url = f"{host}/other/{number}"
        out.append(record("response", url, response(status, headers, body), number))
        truth["documents"].append({"id": url, "kind": "other", "fate": "ingest", "rule": rule})
    return out


# --- what any machine has ---------------------------------------------------------------------------


def _modules(kind: str) -> list[str]:
    text = (resources.files("pretrain_data.sample") / "pages" / "modules.yaml").read_text("utf-8")
    return str(yaml.safe_load(text)[kind]).split()


_PYDOC = """
import importlib, json, pydoc, sys
pages = {}
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    pages[name] = pydoc.html.page(pydoc.describe(module), pydoc.html.document(module, name))
print(json.dumps(pages))
"""


def _pydoc(files: dict[str, bytes], truth: dict[str, list[dict[str, Any]]]) -> None:
    # In a process of its own: pydoc prints the values of module variables, and those change as a process lives.
    command = [sys.executable, "-c", _PYDOC, *_modules("documented")]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    made = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    records = []
    for number, (name, page) in enumerate(json.loads(made).items()):
        page = _PATHS.sub("", _FILE_SECTION.sub("", _ADDRESS.sub("", page)))
        url = f"https://docs.sample.example/{name}.html"
        block = response("200 OK", {"Content-Type": "text/html; charset=utf-8"}, page.encode("utf-8", "replace"))
        records.append(record("response", url, block, number))
        truth["documents"].append({"id": url, "kind": "pydoc", "lang": "en", "domain": "manual", "fate": "any"})
    files["input/warc/pydoc-00.warc.gz"] = _warc(records)


def _code(files: dict[str, bytes], truth: dict[str, list[dict[str, Any]]]) -> None:
    for name in _modules("code"):
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin or not spec.origin.endswith(".py"):
            continue
        path = f"code/{name}{'/__init__' if spec.submodule_search_locations else ''}.py"
        files[f"input/{path}"] = Path(spec.origin).read_bytes()
        truth["documents"].append({"id": path, "kind": "code", "lang": "en", "domain": "code", "fate": "any"})


def _metadata(files: dict[str, bytes], truth: dict[str, list[dict[str, Any]]]) -> None:
    """READMEs and licences of the installed packages; licences are natural near-duplicates."""
    seen: set[str] = set()
    distributions = sorted(importlib.metadata.distributions(), key=lambda d: str(d.metadata["Name"]).lower())
    for distribution in distributions:
        name = re.sub(r"[^a-z0-9]+", "-", str(distribution.metadata["Name"]).lower())
        if name in seen or name == "pretrain-data":
            continue
        seen.add(name)
        readme = message_from_string(distribution.read_text("METADATA") or "").get_payload()
        if (
            isinstance(readme, str)
            and len(readme) > 500
            and "markdown" in str(distribution.metadata["Description-Content-Type"])
        ):
            files[f"input/markdown/{name}.md"] = readme.encode("utf-8", "replace")
            row = {"id": f"markdown/{name}.md", "kind": "markdown", "lang": "en", "domain": "markdown", "fate": "any"}
            truth["documents"].append(row)
        for file in distribution.files or ():
            if re.match(r"(?i)(licen[cs]e|copying)", file.name) and file.suffix.lower() in ("", ".txt"):
                path = Path(str(distribution.locate_file(file)))
                if path.is_file():
                    files[f"input/licences/{name}.txt"] = path.read_bytes()
                    row = {
                        "id": f"licences/{name}.txt",
                        "kind": "licence",
                        "lang": "en",
                        "domain": "legal",
                        "fate": "any",
                    }
                    truth["documents"].append(row)
                    break


def _jsonl(files: dict[str, bytes], truth: dict[str, list[dict[str, Any]]]) -> None:
    """Questions and answers as a data set might give them: docstrings of functions."""
    rows = []
    for name in ("math", "statistics", "itertools", "os", "str", "list", "dict"):
        thing: Any = getattr(builtins, name, None) or importlib.import_module(name)
        for attribute, value in sorted(vars(thing).items()):
            if attribute.startswith("_") or not callable(value):
                continue
            text = pydoc.plain(pydoc.render_doc(value, title="%s"))
            if len(text) > 300:
                identity = f"doc-{name}.{attribute}"
                rows.append({"id": identity, "text": _ADDRESS.sub("", _PATHS.sub("", text)), "license": "PSF-2.0"})
                row = {"id": identity, "kind": "jsonl", "lang": "en", "domain": "manual", "fate": "any"}
                truth["documents"].append(row)
    raw = "".join(json.dumps(row) + "\n" for row in rows).encode()
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as file:
        file.write(raw)
    files["input/jsonl/docstrings.jsonl.gz"] = buffer.getvalue()


def _pdf(files: dict[str, bytes], truth: dict[str, list[dict[str, Any]]]) -> None:
    pdf = FPDF()
    pdf.set_creation_date(datetime(2026, 1, 15, tzinfo=UTC))
    pdf.set_title("Five short articles")
    for page in written():
        if page.id.startswith("en-ency"):
            pdf.add_page()
            pdf.set_font("Helvetica", "B", 16)
            pdf.cell(0, 12, page.title, new_x="LMARGIN", new_y="NEXT")
            pdf.set_font("Helvetica", size=11)
            lines = [line for line in page.plain.split("\n") if not line.startswith("|")]
            pdf.multi_cell(0, 6, "\n\n".join(lines).encode("latin-1", "replace").decode("latin-1"))
    files["input/pdf/articles.pdf"] = bytes(pdf.output())
    row = {"id": "pdf/articles.pdf", "kind": "pdf", "lang": "en", "domain": "encyclopedia", "fate": "any"}
    truth["documents"].append(row)


_README = f"""# Sample crawl

Written by `pretrain-data sample`, from Python {sys.version_info.major}.{sys.version_info.minor}'s own files and
from pages that belong to pretrain_data. All people, numbers and addresses in it are invented.

- `input/` is what ingest reads: WARC, PDF, JSONL, source, Markdown and text files.
- `truth/documents.jsonl`: id (URL, path or JSON id), kind, and fate: kept, any, either, or the stage that must drop it.
- `truth/pii.jsonl`: personal data that stands in a page. `truth/boilerplate.jsonl`: lines that must go,
  and one that stays.
- `truth/pairs.jsonl`: exact Jaccard similarity of planted near-duplicates.
"""
