"""Pages of a crawl with human main text: that is high, what else a page shows is low; pages.yaml tells domains."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from pretrain_data import yamltree

Row = dict[str, Any]
RULES = yamltree.load(Path(__file__).with_name("pages.yaml")).value
SKIPPED = ("aeb", "deb-", "trafilatura")  # sources of pages that also stand in the quality set's tests


def rows(folder: Path) -> list[Row]:
    """Texts with label, domain, language and source, in the order of the pages."""
    with gzip.open(folder / "extraction_truth.jsonl.gz", "rt") as file:
        gold = {row["record_id"]: row for row in map(json.loads, file)}
    with gzip.open(folder / "pages.jsonl.gz", "rt") as file:
        extracted = {p["record_id"]: p for p in map(json.loads, file) if p["source"] in RULES["extracted"]}
    found: list[Row] = []
    for path in sorted((folder / "warc").glob("pages-main-*.warc.gz")):
        for record in ArchiveIterator(path.open("rb"), record_types=WarcRecordType.response, parse_http=True):
            name = record.headers.get("WARC-Record-ID", "")
            if name in extracted and (html := _html(record)) is not None:
                found += _extracted(extracted[name], html)
                continue
            row = gold.get(name)
            if row is None or row["source"].startswith(SKIPPED) or not row["lang"].startswith(("en", "zh")):
                continue
            if (html := _html(record)) is not None:
                found += _parted(row, html)
    return found


def domain_of(row: Row) -> str | None:
    """The domain of a page by its source, its type, or its host; None where none of them tells."""
    if row["source"] in RULES["sources"]:
        return str(RULES["sources"][row["source"]])
    kind = (row.get("extra") or {}).get("page_type")
    if kind in RULES["types"]:
        return str(RULES["types"][kind])
    parts = (urlsplit(row["url"]).hostname or "").split(".")
    below = {".".join(parts[i:]) for i in range(len(parts))}
    return "news" if kind in (None, "article") and below & set(RULES["news"]) else None


def _parted(row: Row, html: str) -> Iterator[Row]:
    lang, source, domain = row["lang"][:2], row["source"], domain_of(row)
    if row["gold_complete"] and row["gold_chars"] > 300:
        yield {"text": row["gold"], "lang": lang, "source": source, "domain": domain, "label": "high"}
    main = re.sub(r"\s+", "", row["gold"])
    page = extract_plain_text(html, main_content=False)
    rest = [line for line in page.splitlines() if len(line.strip()) and re.sub(r"\s+|•", "", line) not in main]
    low = "\n".join(rest)
    if len(low) > 200:
        yield {"text": low[:6000], "lang": lang, "source": source, "domain": None, "label": "low"}


def _extracted(page: Row, html: str) -> Iterator[Row]:
    text, lang, source = extract_plain_text(html, main_content=True), page["lang_cld2"][:2], page["source"]
    if lang in ("en", "zh") and len(text) > 500:
        yield {"text": text, "lang": lang, "source": source, "domain": RULES["extracted"][source], "label": None}


def _html(record: Any) -> str | None:
    """The page as text; None where it can't be read."""
    body = record.reader.read()
    coding = record.http_headers.get("Content-Encoding", "") if record.http_headers else ""
    try:
        if coding == "gzip":
            body = gzip.decompress(body)
        elif coding == "deflate":
            body = zlib.decompress(body)
        elif coding == "br":
            return None
    except (OSError, zlib.error):
        return None
    return str(bytes_to_str(body, detect_encoding(body)))
