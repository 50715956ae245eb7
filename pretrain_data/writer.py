"""Writes one shard: kept documents to one Parquet file, dropped ones to the ledger beside it.

Same rows in, same bytes out: row groups are cut by rows and bytes of text alone, and nothing in a
file tells of time, host or attempt. A file gets its name only when it is whole.
"""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data import schema
from pretrain_data.errors import AccountingError
from pretrain_data.hashing import file_digest
from pretrain_data.stage import Processed

ROW_GROUP_BYTES = 32 << 20
ROW_GROUP_ROWS = 65_536
COMPRESSION_LEVEL = 3

#: Columns by whose values kept and dropped documents are counted in the manifest.
COUNTED = ("lang", "format", "source", "domain", "channel")
MOST_VALUES = 200  # distinct values counted in one column; the rest is summed under "(more)"
MORE = "(more)"

Counts = dict[str, list[int]]  # value -> [documents, characters, tokens]


class ShardWriter:
    """The files of one shard. Nothing has its final name before `close`."""

    def __init__(self, stage: str, name: str, staging: Path) -> None:
        self.stage, self.name = stage, name
        attempt = uuid.uuid4().hex
        self.documents = _ParquetFile(staging / "documents" / f"{name}.parquet", attempt)
        self.ledger = _ParquetFile(staging / "dropped" / f"{name}.parquet", attempt)
        self.rules: Counts = defaultdict(lambda: [0, 0])
        self.metrics: dict[str, float] = defaultdict(float)
        self.kept_by: dict[str, Counts] = {}
        self.dropped_by: dict[str, Counts] = {}
        self.rows_in = self.chars_in = 0
        self.chars = self.tokens = 0

    def write(self, processed: Processed) -> None:
        """Split one batch into kept and dropped and count both."""
        batch = processed.batch
        self.rows_in += batch.num_rows
        for key, amount in processed.metrics.items():
            self.metrics[key] += amount
        chars = pc.fill_null(pc.utf8_length(batch.column("text")), 0).cast(pa.int64())
        self.chars_in += pc.sum(chars).as_py() or 0
        rule = processed.rule
        if rule is None or rule.null_count == len(rule):
            self._keep(batch, chars)
            return
        gone = rule.is_valid()
        keep = pc.invert(gone)
        self._keep(batch.filter(keep), chars.filter(keep))
        self._drop(processed, rule, gone, chars)

    def _keep(self, batch: pa.RecordBatch, chars: pa.Array) -> None:
        self.chars += pc.sum(chars).as_py() or 0
        if "tokens" in batch.schema.names:
            self.tokens += pc.sum(batch.column("tokens")).as_py() or 0
        _count(batch, chars, self.kept_by)
        self.documents.write(in_order(batch))

    def _drop(self, processed: Processed, rules: pa.Array, gone: pa.Array, chars: pa.Array) -> None:
        ledger = ledger_rows(self.stage, processed, rules)
        chars = chars.filter(gone)
        _count(processed.batch.filter(gone), chars, self.dropped_by)
        for name, documents, total in _grouped(ledger.column("rule"), chars):
            self.rules[name][0] += documents
            self.rules[name][1] += total
        self.ledger.write(ledger)

    def close(self) -> dict[str, Any]:
        """Give both files their names. Returns the shard's entry for the manifest."""
        documents, dropped = self.documents.close(), self.ledger.close()
        if self.rows_in != self.documents.rows + self.ledger.rows:
            raise AccountingError(
                f"stage {self.stage}, shard {self.name}: {self.rows_in} in, "
                f"{self.documents.rows} kept, {self.ledger.rows} dropped"
            )
        return {
            "name": self.name,
            "rows_in": self.rows_in,
            "chars_in": self.chars_in,
            "rows": self.documents.rows,
            "dropped": self.ledger.rows,
            "chars": self.chars,
            "tokens": self.tokens,
            "documents_file": documents,
            "dropped_file": dropped,
            "rules": dict(self.rules),
            "kept_by": {k: dict(v) for k, v in self.kept_by.items()},
            "dropped_by": {k: dict(v) for k, v in self.dropped_by.items()},
            "metrics": dict(self.metrics),
        }

    def abandon(self) -> None:
        """Remove what was written so far."""
        self.documents.abandon()
        self.ledger.abandon()


def ledger_rows(stage: str, processed: Processed, rules: pa.Array) -> pa.RecordBatch:
    """The rows of a batch that `rules` names a reason for, as the ledger has them. Schema: schema.DROPPED."""
    gone = rules.is_valid()
    batch = processed.batch.filter(gone)

    def column(values: pa.Array | None, kind: pa.DataType) -> pa.Array:
        return pa.nulls(batch.num_rows, kind) if values is None else values.filter(gone).cast(kind)

    def own(name: str) -> pa.Array:
        return batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, pa.string())

    return pa.RecordBatch.from_arrays(
        [
            batch.column("doc_id").cast(pa.string()),
            own("source_id").cast(pa.string()),
            own("url").cast(pa.string()),
            pa.array([stage] * batch.num_rows, pa.string()),
            rules.filter(gone).cast(pa.string()),
            column(processed.value, pa.float64()),
            column(processed.threshold, pa.float64()),
            column(processed.kept_id, pa.string()),
            column(processed.kept_doc_id, pa.string()),
            pc.fill_null(pc.utf8_length(batch.column("text")), 0).cast(pa.int64()),
            column(processed.detail, pa.string()),
        ],
        schema=schema.DROPPED,
    )


class _ParquetFile:
    """A Parquet file that is opened by its first batch and named when closed."""

    def __init__(self, path: Path, attempt: str) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{attempt}")
        self.writer: pq.ParquetWriter | None = None
        self.schema: pa.Schema | None = None
        self.pending: list[pa.RecordBatch] = []
        self.pending_rows = self.pending_bytes = self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        if self.schema is None:
            self.schema = batch.schema.remove_metadata()
        elif not batch.schema.equals(self.schema):
            batch = self._conform(batch)
        self.pending.append(batch)
        self.pending_rows += batch.num_rows
        self.pending_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self.pending_bytes >= ROW_GROUP_BYTES or self.pending_rows >= ROW_GROUP_ROWS:
            self._flush()

    def _conform(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        assert self.schema is not None
        missing = [f for f in self.schema if f.name not in batch.schema.names]
        extra = [n for n in batch.schema.names if n not in self.schema.names]
        if extra and self.writer is None:
            merged = pa.unify_schemas([self.schema, batch.schema.remove_metadata()], promote_options="permissive")
            self.schema = merged
            self.pending = [self._conform(b) for b in self.pending]
            return self._conform(batch)
        if extra:
            raise AccountingError(f"{self.path.name}: column {extra[0]} appears in the middle of a shard")
        for f in missing:
            batch = batch.append_column(f, pa.nulls(batch.num_rows, f.type))
        return batch.select(self.schema.names).cast(self.schema)

    def _flush(self) -> None:
        if not self.pending_rows:
            return
        table = pa.Table.from_batches(self.pending, self.schema).combine_chunks()
        self._open().write_table(table, row_group_size=max(1, table.num_rows))
        self.pending, self.pending_rows, self.pending_bytes = [], 0, 0

    def _open(self) -> pq.ParquetWriter:
        if self.writer is None:
            self.temporary.parent.mkdir(parents=True, exist_ok=True)
            self.writer = pq.ParquetWriter(
                self.temporary,
                self.schema,
                compression="zstd",
                compression_level=COMPRESSION_LEVEL,
                write_page_checksum=True,  # Zstandard's own checksum is off: a flipped bit could read as other text
            )
        return self.writer

    def close(self) -> dict[str, Any] | None:
        """Size and checksum of the file; None where no batch ever came."""
        if self.schema is None:
            return None
        self._flush()
        self._open().close()
        os.replace(self.temporary, self.path)
        return {"bytes": self.path.stat().st_size, "xxh3": file_digest(self.path)}

    def abandon(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.temporary.unlink(missing_ok=True)


def in_order(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its columns in the order of `schema.COLUMNS`, others behind."""
    known = [c.name for c in schema.COLUMNS if c.name in batch.schema.names]
    return batch.select(known + [n for n in batch.schema.names if n not in schema.BY_NAME])


def _grouped(keys: pa.Array, chars: pa.Array) -> Iterator[tuple[str, int, int]]:
    table = pa.table({"key": keys.cast(pa.string()), "chars": chars})
    groups = table.group_by("key").aggregate([("chars", "sum"), ([], "count_all")])
    for row in groups.to_pylist():
        yield row["key"], row["count_all"], row["chars_sum"] or 0


def _count(batch: pa.RecordBatch, chars: pa.Array, into: dict[str, Counts]) -> None:
    if not batch.num_rows:
        return
    for name in COUNTED:
        if name in batch.schema.names:
            counts = into.setdefault(name, {})
            for value, documents, total in _grouped(batch.column(name), chars):
                add_count(counts, str(value), documents, total)


def add_count(counts: Counts, value: str, documents: int, chars: int) -> None:
    """Add to a value's counts, to "(more)" where too many values are counted already."""
    if value not in counts and len(counts) >= MOST_VALUES:
        value = MORE
    entry = counts.setdefault(value, [0, 0])
    entry[0] += documents
    entry[1] += chars


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that readers see all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def merge_counts(into: dict[str, Counts], more: Mapping[str, Mapping[str, list[int]]]) -> None:
    """Add one shard's counts to the sums of a dataset."""
    for column, values in more.items():
        counts = into.setdefault(column, {})
        for value, (documents, chars) in values.items():
            add_count(counts, value, documents, chars)
