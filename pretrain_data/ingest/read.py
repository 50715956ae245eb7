"""From the bytes of one web record or file to a row: charset, main text, PDF, and what isn't wanted."""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import urlsplit

from pretrain_data.formats.ocr_service import OcrError, OcrService
from pretrain_data.formats.warc import Record
from pretrain_data.ingest.config import IngestConfig
from pretrain_data.ingest.confined import Confined, Ended
from pretrain_data.ingest.row import Row, day
from pretrain_data.kernels import charset, html, mojibake, pdf, pdf_ocr, sourcecode
from pretrain_data.kernels.clean import clean

_META_BYTES = 16 << 10  # of a page, searched for a robots meta
_ROBOTS = re.compile(
    rb"<meta\b(?=[^>]{0,200}name\s*=\s*[\"']?robots)[^>]{0,200}?content\s*=\s*[\"']?([^\"'>]{0,200})", re.IGNORECASE
)
_UNWANTED = re.compile(r"\b(noindex|none|noai|noimageai)\b", re.IGNORECASE)
_SPACES = re.compile(r"\s+")


class Reader:
    """Makes rows of records and files as the config says. Never raises for what stands in them."""

    def __init__(self, config: IngestConfig) -> None:
        self.config = config
        self.pdfs = Confined(config.max_pdf_memory_mb << 20)

    def candidate(self, record: Record) -> Row | None:
        """The row of a WARC record before its body is read; None for records that never are documents."""
        row = Row(str(record.offset), record.record_id or f"#{record.offset}", record.url or None, day(record.date))
        if record.error is not None:
            return row.drop(record.error, detail=record.detail)
        if record.kind == "revisit":
            return row.drop("revisit")
        if record.kind not in ("response", "resource", "conversion"):
            return None
        if record.status is not None and record.status != 200:
            return row.drop("http_status", record.status, 200)
        if record.url.startswith(("dns:", "whois:")):
            return None
        if _path_of(record.url).endswith(self.config.skip_paths):
            return row.drop("skipped_path", detail=record.url[:200])
        return row

    def web(self, row: Row, record: Record, metrics: Counter[str]) -> None:
        """Fill the row of a record that may be a document."""
        if record.kind == "conversion":
            self.read_plain(row, record.body)
            return
        if _asks_not_to_be_used(record):
            metrics["pages.noindex"] += 1
            if self.config.noindex == "drop":
                row.drop("noindex")
                return
        kind = record.mime.split(";")[0].strip()
        if record.body[:5] == b"%PDF-" or kind == "application/pdf":
            self.read_pdf(row, record.body, metrics)
        elif not record.body.strip():
            row.drop("empty", 0, self.config.min_chars)
        elif kind in ("text/html", "application/xhtml+xml", "") or _looks_like_html(record.body, kind):
            self.read_html(row, record.body, record.charset)
        elif kind.startswith("text/") and kind not in ("text/css", "text/javascript", "text/xml"):
            self.read_plain(row, record.body, record.charset)
        else:
            row.drop("not_text", detail=kind[:100])

    def named(self, label: str, kind: str) -> Row:
        """The row of a file before it is read: dropped where its path says that nobody wrote it here."""
        row = Row(place="0", source_id=label)
        copy = sourcecode.vendored(label, kind == "code") if "vendored" in self.config.drop_code else None
        made = kind == "code" and "generated" in self.config.drop_code
        if copy is not None:
            return row.drop("vendored", detail=copy)
        if made and sourcecode.generated_by_name(label) is not None:
            return row.drop("generated", detail=f"by its name: {label.rpartition('/')[2]}")
        return row

    def kind(self, row: Row, kind: str, head: bytes) -> str:
        """The kind of a file whose name may not tell it, by its first bytes."""
        if kind == "unknown" and sourcecode.interpreter_language(head.decode("latin-1")):
            return "code"
        if kind == "unknown":
            row.drop("unknown_format", detail=f"{row.source_id}: no reader for this name")
        return kind

    def file(self, row: Row, body: bytes, label: str, kind: str, metrics: Counter[str]) -> None:
        """Fill the row of a file that is one document."""
        if kind == "pdf":
            self.read_pdf(row, body, metrics)
        elif kind == "html":
            self.read_html(row, body, "")
        else:
            self.read_plain(row, body)
            row.format_hint = kind if kind in ("code", "markdown", "latex") else None
            if kind == "code" and row.rule is None:
                self._code(row, label)

    def read_html(self, row: Row, body: bytes, label: str) -> None:
        """Main text and what the page says of itself."""
        decoded = charset.decode(body, label)
        if self._garbled(row, decoded):
            return
        page = html.extract(mojibake.repair(decoded.text))
        if page is None:
            row.drop("too_deep", detail="elements nest too deeply to walk")
            return
        row.text = page.text
        row.title, row.author = (text and clean(_SPACES.sub(" ", text)) for text in (page.title, page.author))
        row.published = page.published

    def read_plain(self, row: Row, body: bytes, label: str = "") -> None:
        """The text itself."""
        decoded = charset.decode(body, label)
        if not self._garbled(row, decoded):
            row.text = mojibake.repair(decoded.text)

    def read_pdf(self, row: Row, body: bytes, metrics: Counter[str]) -> None:
        """Text of a PDF, read in a process of its own: PDFium may hang, crash or take all memory there is."""
        try:
            found = self._pdf_text(body, metrics)
        except (pdf.PdfError, OcrError) as error:
            row.drop(error.rule if isinstance(error, pdf.PdfError) else "ocr_failed", detail=str(error))
            return
        except Ended as error:
            row.drop("pdf_hung" if error.hung else "pdf_crashed", detail=str(error))
            return
        metrics["pdf.pages"] += found.pages
        metrics["pdf.cut"] += found.cut
        row.title, row.text = found.title, found.text
        row.author, row.published = found.author, found.published

    def close(self) -> None:
        """End what runs beside this process."""
        self.pdfs.close()

    def _pdf_text(self, body: bytes, metrics: Counter[str]) -> pdf.Pdf:
        config, ocr = self.config, self.config.ocr
        try:
            return self.pdfs.call(
                pdf.extract, body, config.max_pdf_pages, seconds=config.max_pdf_seconds, limit=config.max_pdf_seconds
            )
        except pdf.PdfError as error:
            if ocr.provider == "off" or error.rule not in ("pdf_no_text", "pdf_no_font_map"):
                raise
        metrics["pdf.ocr"] += 1
        if ocr.provider == "local":
            return self.pdfs.call(
                pdf_ocr.read, body, ocr.max_pages, ocr.dpi, ocr.max_pixels, ocr.seconds, limit=ocr.seconds
            )
        service = OcrService(ocr.url, ocr.timeout, ocr.retries, ocr.backoff, concurrency=ocr.concurrency)
        return pdf.Pdf(service.read(body), None, 0)

    def _code(self, row: Row, label: str) -> None:
        row.code_language = sourcecode.language(label, row.text)
        if "generated" in self.config.drop_code:
            evidence = sourcecode.generated(row.text)
            if evidence is not None:
                row.drop("generated", detail=evidence)
                return
        if "minified" in self.config.drop_code:
            share = sourcecode.share_in_long_lines(row.text)
            if share > sourcecode.rules().minified_share:
                row.drop("minified", share, sourcecode.rules().minified_share)

    def _garbled(self, row: Row, decoded: charset.Decoded) -> bool:
        """Drop a body that is binary or whose encoding can't be found."""
        head = decoded.text[:20_000]
        controls = sum(c < " " and c not in "\t\n\r\f" for c in head) / max(1, len(head))
        bad = max(decoded.bad_share, controls, mojibake.broken_share(decoded.text))
        if bad > self.config.max_bad_share:
            row.drop("garbled", bad, self.config.max_bad_share)
            return True
        return False


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path.lower()
    except ValueError:
        return ""


def _asks_not_to_be_used(record: Record) -> bool:
    """Whether its headers or a robots meta ask that a page be left out of indexes or of training."""
    wish = record.http.get("x-robots-tag", "")
    if not wish:
        head = record.body[:_META_BYTES]
        found = _ROBOTS.search(head) if b"robots" in head or b"ROBOTS" in head else None
        wish = found[1].decode("latin-1") if found else ""
    return _UNWANTED.search(wish) is not None


def _looks_like_html(body: bytes, kind: str) -> bool:
    head = body[:1024].lstrip().lower()
    return kind in ("text/plain", "application/octet-stream", "application/xml", "text/xml") and (
        head.startswith((b"<!doctype html", b"<html")) or b"<html" in head[:300]
    )
