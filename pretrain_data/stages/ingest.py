"""ingest: files of any supported kind become documents, one row each.

Every record that could have been a document comes out as a row: kept, or dropped with the reason. Records
that never are one (WARC's own bookkeeping) are counted in the metrics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from pretrain_data.errors import InputError
from pretrain_data.formats import columns, foreign
from pretrain_data.formats.sources import cut, format_of, pack_by_day, partition_of
from pretrain_data.formats.storage import list_files, open_input, size_of_open
from pretrain_data.formats.warc import read_records
from pretrain_data.ingest import captures
from pretrain_data.ingest.config import IngestConfig, InputConfig
from pretrain_data.ingest.documents import ADDS, completed, documents
from pretrain_data.ingest.read import Reader
from pretrain_data.ingest.row import Row, day
from pretrain_data.kernels import language, pdf_ocr, sourcecode
from pretrain_data.stage import Processed, Shard, SourceStage, StageRun, Unit

BATCH_ROWS = 1000
BATCH_CHARS = 8 << 20
HEAD = 200  # bytes of a file, to tell what it is where its name does not
TABLES = ("jsonl", "parquet")


class IngestStage(SourceStage[IngestConfig]):
    """Reads a crawl: WARC, WET, PDF, HTML, JSONL, Parquet, text and source trees."""

    name: ClassVar[str] = "ingest"
    config_class = IngestConfig
    shardwise = True
    errors = frozenset(
        {"poison", "broken_file", "corrupt_record", "ocr_failed", "pdf_broken", "pdf_hung", "pdf_crashed", "too_deep"}
    )
    adds = ADDS

    def __init__(self, config: IngestConfig) -> None:
        super().__init__(config)
        self.reader = Reader(config)
        self.output: Path | None = None  # where the captures that give way are listed, if any are looked for
        self.as_before: frozenset[str] = frozenset()

    def resources(self) -> list[Path]:
        return [language.model_path(), *sourcecode.FILES]

    def plan(self, root: Path) -> list[Shard]:
        inputs = self.config.every_input()
        if not inputs:
            raise InputError("stages.ingest: name an input, or several under inputs")
        if self.config.ocr.provider == "service" and not self.config.ocr.url.startswith(("http://", "https://")):
            raise InputError("stages.ingest.ocr.url: the service needs an http or https URL")
        if self.config.ocr.provider == "local" and not pdf_ocr.installed():
            raise InputError("stages.ingest.ocr.provider: local needs pip install rapidocr onnxruntime")
        units: list[tuple[Unit, int]] = []
        for entry in inputs:
            found = _units(entry, root, self.config.shard_bytes)
            _check_columns(found)
            units += found
        return pack_by_day(units, self.config.shard_bytes)

    def prepare(self, run: StageRun) -> None:
        recrawl, payloads = self.config.recrawl == "latest", self.config.same_payload == "drop"
        if recrawl or payloads:
            self.as_before = captures.decide(run, self.name, self._captures, recrawl, payloads)
            self.output = run.output

    def reusable(self, run: StageRun) -> Container[str]:
        return run.unchanged if self.output is None else self.as_before

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        giving_way = captures.giving_way(self.output, shard.name) if self.output else {}
        try:
            for unit in shard.units:
                source, _, label = unit.label.partition("/")
                if unit.format in TABLES:
                    yield from self._tables(unit, source, label)
                else:
                    yield from self._documents(unit, source, label, giving_way)
        finally:
            self.reader.close()

    def _documents(
        self, unit: Unit, source: str, label: str, giving_way: dict[captures.Place, captures.Loser]
    ) -> Iterator[Processed]:
        """The rows of a file in batches of bounded size."""
        rows: list[Row] = []
        size = 0
        metrics: Counter[str] = Counter()
        partition = day(partition_of(unit.label).removeprefix("dt="))
        read = self._records if unit.format == "warc" else self._file
        for row in read(unit, label, metrics, giving_way):
            row.fetched = row.fetched or partition
            rows.append(row)
            size += len(row.text)
            if len(rows) >= BATCH_ROWS or size >= BATCH_CHARS:
                yield self._batch(rows, label, source, metrics)
                rows, size = [], 0
                metrics = Counter()
        if rows or metrics:
            yield self._batch(rows, label, source, metrics)

    def _records(
        self, unit: Unit, label: str, metrics: Counter[str], giving_way: dict[captures.Place, captures.Loser]
    ) -> Iterator[Row]:
        places = captures.Places()
        for record in read_records(unit.path, unit.start, unit.end, self.config.max_record_bytes):
            metrics[f"records.{record.kind or 'broken'}"] += 1
            metrics["records.truncated"] += record.truncated
            row = self.reader.candidate(record)
            if row is None:
                continue
            if row.rule is None and not _gives_way(row, giving_way.get(places.place(unit.label, record.offset))):
                self.reader.web(row, record, metrics)
            yield row

    def _file(
        self, unit: Unit, label: str, metrics: Counter[str], giving_way: dict[captures.Place, captures.Loser]
    ) -> Iterator[Row]:
        row, kind, body = self._opened(unit, label)
        if row.rule is None and not _gives_way(row, giving_way.get((unit.label, 0, 0))):
            self.reader.file(row, body, label, kind, metrics)
        yield row

    def _opened(self, unit: Unit, label: str) -> tuple[Row, str, bytes]:
        """A file's row, kind and bytes; none of a file that is dropped already."""
        row = self.reader.named(label, unit.format)
        if row.rule is not None:
            return row, unit.format, b""
        with open_input(unit.path) as file:
            size, limit = size_of_open(file), self.config.max_record_bytes
            kind = self.reader.kind(row, unit.format, file.peek(HEAD)[:HEAD])
            if row.rule is None and size > limit and kind != "pdf":
                row.drop("too_large", size, limit)
            return row, kind, file.read() if row.rule is None else b""

    def _captures(self, shard: Shard) -> Iterator[dict[str, Any]]:
        """What a shard holds that could be another's older version or copy."""
        places = captures.Places()
        for unit in shard.units:
            label = unit.label.partition("/")[2]
            if unit.format == "warc":
                for record in read_records(unit.path, unit.start, unit.end, self.config.max_record_bytes):
                    row = self.reader.candidate(record)
                    if row is not None and row.rule is None:
                        place = places.place(unit.label, record.offset)
                        time = record.date or partition_of(unit.label).removeprefix("dt=")
                        yield captures.capture(place, row.source_id, row.url, time, record.body)
            elif unit.format not in TABLES:
                row, _, body = self._opened(unit, label)
                if row.rule is None:
                    yield captures.capture((unit.label, 0, 0), row.source_id, None, "", body)

    def _tables(self, unit: Unit, source: str, label: str) -> Iterator[Processed]:
        """JSONL and Parquet: rows that are documents already."""
        try:
            for processed in foreign.read_documents(unit):
                yield completed(processed, source, self.config.min_chars, self.config.keep_invisible)
        except InputError as error:
            row = Row("0", unit.label).drop("broken_file", detail=str(error).removeprefix(unit.path + ": "))
            yield self._batch([row], label, source, Counter())

    def _batch(self, rows: list[Row], label: str, source: str, metrics: Counter[str]) -> Processed:
        return documents(rows, label, source, metrics, self.config.min_chars, self.config.keep_invisible)


def _gives_way(row: Row, loser: captures.Loser | None) -> bool:
    """Drop a row that gives way to another."""
    if loser is None:
        return False
    row.kept_id = loser.kept_id
    row.drop(loser.rule, detail=loser.detail or None)
    return True


def _units(entry: InputConfig, root: Path, shard_bytes: int) -> list[tuple[Unit, int]]:
    """The pieces of one input with their sizes."""
    source = entry.source or _source_name(entry.path)
    units = []
    for file in list_files(entry.path, root):
        kind = entry.format if entry.format != "auto" else format_of(file.name) or "unknown"
        mapped = tuple(entry.columns.items()) if kind in TABLES else ()
        units += cut(file, f"{source}/{file.label}", kind, shard_bytes, mapped)
    return units


def _check_columns(units: list[tuple[Unit, int]]) -> None:
    """Raise an InputError where the first table of an input that can be read lacks a column that the config names."""
    for unit, _ in units:
        if not unit.columns:
            continue
        try:
            names = foreign.first_columns(unit)
        except InputError:
            continue  # the run drops it as broken
        problem = columns.unknown(unit.columns, names) if names else None
        if problem:
            raise InputError(f"stages.ingest: columns: {unit.path}: {problem}")
        return


def _source_name(path: str) -> str:
    parts = [p for p in Path(path).parts if p not in ("/", ".", "..") and not any(c in p for c in "*?[:")]
    names = [p for p in parts if "." not in p] or ["input"]
    return names[-1]
