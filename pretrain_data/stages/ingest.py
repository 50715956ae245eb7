"""ingest: files of any supported kind become documents, one row each.

Every record that could have been a document comes out as a row: kept, or dropped with the reason. Records
that never are one (WARC's own bookkeeping) are counted in the metrics.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

import pyarrow as pa
import xxhash
from pydantic import BaseModel, ConfigDict, Field

from pretrain_data import schema
from pretrain_data.errors import InputError
from pretrain_data.formats import foreign
from pretrain_data.formats.ocr_service import OcrError, OcrService
from pretrain_data.formats.sources import cut, format_of, pack_by_day, partition_of
from pretrain_data.formats.storage import list_files, open_input, size_of_open
from pretrain_data.formats.warc import Record, read_records
from pretrain_data.kernels import charset, format, html, language, mojibake, pdf, pdf_ocr
from pretrain_data.kernels.clean import clean
from pretrain_data.kernels.density import density
from pretrain_data.kernels.script import script
from pretrain_data.stage import Processed, Shard, SourceStage, StageConfig, Unit

BATCH_ROWS = 1000
BATCH_CHARS = 8 << 20
_META_BYTES = 16 << 10  # of a page, searched for a robots meta
_ROBOTS = re.compile(
    rb"<meta\b(?=[^>]{0,200}name\s*=\s*[\"']?robots)[^>]{0,200}?content\s*=\s*[\"']?([^\"'>]{0,200})", re.IGNORECASE
)
_UNWANTED = re.compile(r"\b(noindex|none|noai|noimageai)\b", re.IGNORECASE)
_SLUG = re.compile(r"\s+")


class InputConfig(BaseModel):
    """One input among several."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="A file, folder or glob.")
    source: str = Field(default="", description="Goes into the column source. Default: the input's last folder name.")
    format: str = Field(default="auto", description="Format of all files, or auto: by each file's name.")


class OcrConfig(BaseModel):
    """What to do with PDFs that have no text of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Literal["off", "local", "service"] = Field(
        default="off",
        description="off: they are dropped as pdf_no_text; local: rapidocr in the worker (about 10 CPU seconds a "
        "page); service: an HTTP service, see formats.ocr_service.",
    )
    url: str = Field(default="", description="Of the service: PDFs are POSTed there, JSON comes back.")
    timeout: Annotated[float, Field(gt=0)] = Field(default=60.0, description="Seconds for one request as a whole.")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(default=3, description="Tries after the first.")
    backoff: Annotated[float, Field(ge=0)] = Field(default=1.0, description="Seconds before the second try, doubling.")
    concurrency: Annotated[int, Field(ge=1)] = Field(default=4, description="Requests at a time of one worker process.")
    dpi: Annotated[int, Field(ge=36, le=600)] = Field(default=150, description="At which pages are drawn.")
    max_pixels: Annotated[int, Field(ge=10_000)] = Field(default=8_000_000, description="Of one page's image.")
    max_pages: Annotated[int, Field(ge=1)] = Field(default=200, description="Scanned pages read of one PDF.")
    seconds: Annotated[float, Field(gt=0)] = Field(default=600.0, description="CPU seconds for one PDF.")


class IngestConfig(StageConfig):
    """What to read and what to leave."""

    inputs: tuple[InputConfig, ...] = Field(default=(), description="Several inputs; instead of `input`.")
    source: str = Field(default="", description="Name of the source where `input` is used.")
    max_error_rate: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the records that may end in an error before the run is refused. Crawls hold broken "
        "records; lower it to be told of a bad delivery.",
    )
    shard_bytes: Annotated[int, Field(ge=1 << 16)] = Field(
        default=128 << 20, description="Bytes of input files in one shard."
    )
    max_record_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=10 << 20, description="A larger record, before or after decoding, is dropped as too_large."
    )
    ocr: OcrConfig = Field(default=OcrConfig(), description="Scanned PDFs.")
    max_pdf_seconds: Annotated[float, Field(gt=0)] = Field(default=60.0, description="CPU seconds for one PDF's text.")
    max_pdf_pages: Annotated[int, Field(ge=1)] = Field(default=2000, description="Pages read of one PDF.")
    min_chars: Annotated[int, Field(ge=0)] = Field(
        default=1, description="Code points under which a document is dropped as empty."
    )
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="Share of undecodable characters above which a page is dropped as garbled."
    )
    same_payload: Literal["keep", "drop"] = Field(
        default="keep",
        description="A web record whose payload, byte for byte, came before in the same shard: dropped before "
        "extraction, with kept_id. Kept by default: dedup finds them too, and chooses the better URL.",
    )
    recrawl: Literal["keep", "newest"] = Field(
        default="keep",
        description="The same URL crawled again within a shard: every version is kept, or only the newest.",
    )
    noindex: Literal["keep", "drop"] = Field(
        default="keep",
        description="Pages that ask not to be indexed (robots meta or X-Robots-Tag noindex, none, noai): kept and "
        "counted, or dropped.",
    )
    skip_paths: tuple[str, ...] = Field(
        default=("/robots.txt", "/ads.txt", "/humans.txt", "/security.txt", "/favicon.ico"),
        description="URLs whose path ends so are no documents.",
    )
    keep_invisible: bool = Field(default=False, description="Keep zero-width and direction characters.")


@dataclass
class Row:
    """One document in the making."""

    place: str
    source_id: str = ""
    url: str | None = None
    date: date | None = None
    title: str | None = None
    text: str = ""
    format_hint: str | None = None
    rule: str | None = None
    value: float | None = None
    threshold: float | None = None
    detail: str | None = None
    kept_id: str | None = None


@dataclass
class _Seen:
    """What a shard has shown so far: payloads, and the newest capture of each URL."""

    payloads: dict[bytes, Row]
    newest: dict[str, tuple[str, str, int]]  # URL: date, label, offset


class IngestStage(SourceStage[IngestConfig]):
    """Reads a crawl: WARC, WET, PDF, HTML, JSONL, Parquet, text and source trees."""

    name: ClassVar[str] = "ingest"
    config_class = IngestConfig
    shardwise = True
    errors = frozenset({"poison", "broken_file", "corrupt_record", "ocr_failed", "pdf_broken", "too_deep"})
    adds = tuple(column.name for column in schema.COLUMNS if column.stage == "ingest")

    def resources(self) -> list[Path]:
        return [language.model_path()]

    def plan(self, root: Path) -> list[Shard]:
        inputs = self.config.inputs or (
            (InputConfig(path=self.config.input, source=self.config.source),) if self.config.input else ()
        )
        if not inputs:
            raise InputError("stages.ingest: name an input, or several under inputs")
        if self.config.ocr.provider == "service" and not self.config.ocr.url.startswith(("http://", "https://")):
            raise InputError("stages.ingest.ocr.url: the service needs an http or https URL")
        if self.config.ocr.provider == "local" and not pdf_ocr.installed():
            raise InputError("stages.ingest.ocr.provider: local needs pip install rapidocr onnxruntime")
        units: list[tuple[Unit, int]] = []
        for entry in inputs:
            source = entry.source or _source_name(entry.path)
            for file in list_files(entry.path, root):
                kind = entry.format if entry.format != "auto" else format_of(file.name) or "unknown"
                units += cut(file, f"{source}/{file.label}", kind, self.config.shard_bytes)
        return pack_by_day(units, self.config.shard_bytes)

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        seen = _Seen({}, self._newest(shard) if self.config.recrawl == "newest" else {})
        for unit in shard.units:
            source, _, label = unit.label.partition("/")
            if unit.format in ("jsonl", "parquet"):
                yield from self._tables(unit, source)
                continue
            rows: list[Row] = []
            size = 0
            metrics: Counter[str] = Counter()
            day = _day(partition_of(unit.label).removeprefix("dt="))
            for row in self._rows(unit, label, metrics, seen):
                row.date = row.date or day
                rows.append(row)
                size += len(row.text)
                if len(rows) >= BATCH_ROWS or size >= BATCH_CHARS:
                    yield self._batch(rows, unit, source, metrics)
                    rows, size = [], 0
                    metrics = Counter()
            if rows or metrics:
                yield self._batch(rows, unit, source, metrics)

    # --- readers --------------------------------------------------------------------------------

    def _newest(self, shard: Shard) -> dict[str, tuple[str, str, int]]:
        """The newest good capture of each URL of a shard; of equal dates the last one."""
        newest: dict[str, tuple[str, str, int]] = {}
        for unit in shard.units:
            if unit.format != "warc":
                continue
            for record in read_records(unit.path, unit.start, unit.end, self.config.max_record_bytes):
                good = record.error is None and record.kind in ("response", "resource", "conversion")
                if good and record.url and record.status in (None, 200):
                    capture = (record.date, unit.label, record.offset)
                    newest[record.url] = max(capture, newest.get(record.url, capture))
        return newest

    def _rows(self, unit: Unit, label: str, metrics: Counter[str], seen: _Seen) -> Iterator[Row]:
        if unit.format == "warc":
            for record in read_records(unit.path, unit.start, unit.end, self.config.max_record_bytes):
                metrics[f"records.{record.kind or 'broken'}"] += 1
                metrics["records.truncated"] += record.truncated
                row = self._web(record, unit, metrics, seen)
                if row is not None:
                    yield row
            return
        row = Row(place="0", source_id=label)
        if unit.format == "unknown":
            yield _drop(row, "unknown_format", detail=f"{label}: no reader for this name")
            return
        with open_input(unit.path) as file:
            size = size_of_open(file)
            if size > self.config.max_record_bytes and unit.format != "pdf":
                yield _drop(row, "too_large", size, self.config.max_record_bytes)
                return
            body = file.read()
        if unit.format == "pdf":
            self._pdf(row, body, metrics)
        elif unit.format == "html":
            self._html(row, body, "")
        else:
            self._plain(row, body)
            row.format_hint = unit.format if unit.format in ("code", "markdown", "latex") else None
        yield row

    def _web(self, record: Record, unit: Unit, metrics: Counter[str], seen: _Seen) -> Row | None:
        """The row of a WARC record; None for records that never are documents."""
        row = Row(str(record.offset), record.record_id or f"#{record.offset}", record.url or None, _day(record.date))
        if record.error is not None:
            return _drop(row, record.error, detail=record.detail)
        if record.kind == "revisit":
            return _drop(row, "revisit")
        if record.kind not in ("response", "resource", "conversion"):
            return None
        if record.status is not None and record.status != 200:
            return _drop(row, "http_status", record.status, 200)
        if record.url.startswith(("dns:", "whois:")):
            return None
        if _path_of(record.url).endswith(self.config.skip_paths):
            return _drop(row, "skipped_path", detail=record.url[:200])
        newest = seen.newest.get(record.url)
        if newest is not None and newest != (record.date, unit.label, record.offset):
            return _drop(row, "recrawled", detail=f"captured again on {newest[0]}: {newest[1]}#{newest[2]}")
        if record.body.strip() and self.config.same_payload == "drop":
            payload = xxhash.xxh3_128_digest(record.body)
            first = seen.payloads.get(payload)
            if first is not None:
                row.kept_id = first.source_id
                return _drop(row, "same_payload", detail=f"as {first.url or first.source_id}")
            seen.payloads[payload] = Row(row.place, row.source_id, row.url)
        if record.kind == "conversion":
            self._plain(row, record.body)
            return row
        if _asks_not_to_be_used(record):
            metrics["pages.noindex"] += 1
            if self.config.noindex == "drop":
                return _drop(row, "noindex")
        kind = record.mime.split(";")[0].strip()
        if record.body[:5] == b"%PDF-" or kind == "application/pdf":
            self._pdf(row, record.body, metrics)
        elif not record.body.strip():
            _drop(row, "empty", 0, self.config.min_chars)
        elif kind in ("text/html", "application/xhtml+xml", "") or _looks_like_html(record.body, kind):
            self._html(row, record.body, record.charset)
        elif kind.startswith("text/") and kind not in ("text/css", "text/javascript", "text/xml"):
            self._plain(row, record.body, record.charset)
        else:
            _drop(row, "not_text", detail=kind[:100])
        return row

    def _html(self, row: Row, body: bytes, label: str) -> None:
        decoded = charset.decode(body, label)
        if self._garbled(row, decoded):
            return
        page = html.extract(mojibake.repair(decoded.text))
        if page is None:
            _drop(row, "too_deep", detail="elements nest too deeply to walk")
            return
        row.title, row.text = page.title and clean(_SLUG.sub(" ", page.title)), page.text

    def _plain(self, row: Row, body: bytes, label: str = "") -> None:
        decoded = charset.decode(body, label)
        if not self._garbled(row, decoded):
            row.text = mojibake.repair(decoded.text)

    def _garbled(self, row: Row, decoded: charset.Decoded) -> bool:
        """Drop a body that is binary or whose encoding can't be found."""
        head = decoded.text[:20_000]
        controls = sum(c < " " and c not in "\t\n\r\f" for c in head) / max(1, len(head))
        bad = max(decoded.bad_share, controls, mojibake.broken_share(decoded.text))
        if bad > self.config.max_bad_share:
            _drop(row, "garbled", bad, self.config.max_bad_share)
            return True
        return False

    def _pdf(self, row: Row, body: bytes, metrics: Counter[str]) -> None:
        try:
            found = self._pdf_text(body, metrics)
        except (pdf.PdfError, OcrError) as error:
            _drop(row, error.rule if isinstance(error, pdf.PdfError) else "ocr_failed", detail=str(error))
            return
        metrics["pdf.pages"] += found.pages
        metrics["pdf.cut"] += found.cut
        row.title, row.text = found.title, found.text

    def _pdf_text(self, body: bytes, metrics: Counter[str]) -> pdf.Pdf:
        ocr = self.config.ocr
        try:
            return pdf.extract(body, self.config.max_pdf_pages, seconds=self.config.max_pdf_seconds)
        except pdf.PdfError as error:
            if ocr.provider == "off" or error.rule not in ("pdf_no_text", "pdf_no_font_map"):
                raise
        metrics["pdf.ocr"] += 1
        if ocr.provider == "local":
            return pdf_ocr.read(body, ocr.max_pages, ocr.dpi, ocr.max_pixels, ocr.seconds)
        service = OcrService(ocr.url, ocr.timeout, ocr.retries, ocr.backoff, concurrency=ocr.concurrency)
        return pdf.Pdf(service.read(body), None, 0)

    def _tables(self, unit: Unit, source: str) -> Iterator[Processed]:
        """JSONL and Parquet: rows that are documents already, with the columns that they lack."""
        try:
            for processed in foreign.read_documents(unit):
                yield self._completed(processed, source)
        except InputError as error:
            row = _drop(Row("0", unit.label), "broken_file", detail=str(error).removeprefix(unit.path + ": "))
            yield self._batch([row], unit, source, Counter())

    def _completed(self, processed: Processed, source: str) -> Processed:
        batch = processed.batch
        texts = [clean(t or "", self.config.keep_invisible) for t in batch.column("text").to_pylist()]
        rule = processed.rule.to_pylist() if processed.rule is not None else [None] * len(texts)
        rule = [r or (None if len(t) >= self.config.min_chars else "empty") for r, t in zip(rule, texts, strict=True)]
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        columns["text"] = pa.array(texts, pa.large_string())
        profiles = [language.profile(t) for t in texts]
        made = {
            "source": pa.array([source] * len(texts), pa.string()),
            "lang": pa.array([p.code for p in profiles], pa.string()),
            "lang_score": pa.array([p.score for p in profiles], pa.float32()),
            "script": pa.array([_script(p, t) for p, t in zip(profiles, texts, strict=True)], pa.string()),
            "zh_share": pa.array([p.zh for p in profiles], pa.float32()),
            "en_share": pa.array([p.en for p in profiles], pa.float32()),
            "density": pa.array([density(t) for t in texts], pa.float32()),
            "format": pa.array([format.detect(t) for t in texts], pa.string()),
        }
        for name in self.adds:
            if name in made:
                columns.setdefault(name, made[name])
            columns.setdefault(name, pa.nulls(len(texts), schema.BY_NAME[name].type))
        columns["text"] = pa.array(texts, pa.large_string())
        rules = pa.array(rule, pa.string())
        return Processed(pa.RecordBatch.from_pydict(columns), rule=rules, detail=processed.detail)

    # --- rows to batches ------------------------------------------------------------------------

    def _batch(self, rows: list[Row], unit: Unit, source: str, metrics: Counter[str]) -> Processed:
        label = unit.label.partition("/")[2]
        for row in rows:
            row.text = clean(row.text, self.config.keep_invisible)
            if row.rule is None and len(row.text.strip()) < self.config.min_chars:
                _drop(row, "empty", len(row.text.strip()), self.config.min_chars)
        profiles = [language.profile(row.text) for row in rows]
        values = {
            "doc_id": [document_id(source, label, row.place, row.text) for row in rows],
            "source_id": [clean(row.source_id) for row in rows],
            "source": [source] * len(rows),
            "url": [row.url and clean(row.url) for row in rows],
            "crawl_date": [row.date for row in rows],
            "title": [row.title and clean(row.title) for row in rows],
            "text": [row.text for row in rows],
            "origin": [f"{label}#{row.place}" for row in rows],
            "lang": [p.code for p in profiles],
            "lang_score": [p.score for p in profiles],
            "script": [_script(p, row.text) for p, row in zip(profiles, rows, strict=True)],
            "zh_share": [p.zh for p in profiles],
            "en_share": [p.en for p in profiles],
            "density": [density(row.text) for row in rows],
            "format": [format.detect(row.text, row.format_hint) for row in rows],
        }
        batch = pa.RecordBatch.from_arrays(
            [pa.array(values[name], schema.BY_NAME[name].type) for name in values], names=list(values)
        )
        return Processed(
            batch,
            rule=pa.array([row.rule for row in rows], pa.string()),
            value=pa.array([row.value for row in rows], pa.float64()),
            threshold=pa.array([row.threshold for row in rows], pa.float64()),
            kept_id=pa.array([row.kept_id for row in rows], pa.string()),
            detail=pa.array([row.detail and clean(row.detail) for row in rows], pa.string()),
            metrics=metrics,
        )


def document_id(source: str, label: str, place: str, text: str) -> str:
    """XXH3-128 of where a document came from and what it says, as 32 hex digits."""
    return xxhash.xxh3_128_hexdigest("\0".join((source, label, place, text)).encode())


def _drop(
    row: Row, rule: str, value: float | None = None, threshold: float | None = None, detail: str | None = None
) -> Row:
    row.rule, row.value, row.threshold, row.detail = rule, value, threshold, detail
    return row


def _script(profile: language.Profile, text: str) -> str | None:
    return script(text) if profile.code == "zh" else None


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


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _looks_like_html(body: bytes, kind: str) -> bool:
    head = body[:1024].lstrip().lower()
    return kind in ("text/plain", "application/octet-stream", "application/xml", "text/xml") and (
        head.startswith((b"<!doctype html", b"<html")) or b"<html" in head[:300]
    )


def _source_name(path: str) -> str:
    parts = [p for p in Path(path).parts if p not in ("/", ".", "..") and not any(c in p for c in "*?[")]
    names = [p for p in parts if "." not in p] or ["input"]
    return names[-1]
