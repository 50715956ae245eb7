"""Blocks of the training order: one Parquet file each, token files and JSON lines beside it.

    documents/part-00000.parquet          the block's documents in training order
    megatron/PHASE/part-00000.{bin,idx}   their tokens (optional)
    jsonl/part-00000.jsonl.zst            the same rows as JSON lines (optional)
    index/part-00000.npy                  where each document stands, for the trace
    blocks/part-00000.json                what the block holds; written last
    blocks.json                           all of these in one

A block's bytes depend on its rows alone, not on how they arrive.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from pretrain_data.errors import AccountingError
from pretrain_data.formats.megatron import MegatronWriter
from pretrain_data.hashing import file_digest
from pretrain_data.kernels.mixture import hash_strings
from pretrain_data.kernels.tokens import encode_column
from pretrain_data.tokenizers import load_saved
from pretrain_data.writer import write_atomically

ROW_GROUP_ROWS = 4096
ROW_GROUP_BYTES = 8 << 20  # text of a row group: what a random access must read

#: The index of a block, one entry a document: its offset in the phase's stream, in training order; and,
#: sorted apart from these, the hashes of all doc_ids with the rows they stand in.
INDEX = np.dtype([("offset", "<i8"), ("hash", "<u8"), ("row", "<i4")])

#: Signals whose mean and spread are kept for each block, in millionths so that sums are exact.
WATCHED = ("mojibake_share", "gbk_mojibake_share", "unassigned_share", "newline_share")
SUMMARY_SCALE = 1_000_000

#: A use's place among all: phase first, then place, and for equal ones the id and the use.
Key = tuple[float, str, int]


@dataclass(frozen=True)
class Block:
    """A stretch of one phase's order; `offset` is its first token in the phase's stream."""

    number: int
    phase: str
    offset: int
    first: Key

    @property
    def name(self) -> str:
        return f"part-{self.number:05d}"


@dataclass(frozen=True)
class BlockWriter:
    """Writes blocks, numbered without a gap, from rows in order; a picklable function for `mapInArrow`."""

    out: Path
    blocks: tuple[Block, ...]
    tokenizer: str
    megatron: bool
    jsonl: bool
    schema: pa.Schema  # of the columns that are written through

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        current: _OpenBlock | None = None
        try:
            for batch in batches:
                numbers = batch.column("block").to_numpy()
                cuts = np.flatnonzero(np.diff(numbers)) + 1
                for start, end in zip([0, *cuts], [*cuts, len(numbers)], strict=True):
                    if start == end:
                        continue
                    number = int(numbers[start])
                    if current is None or current.block.number != number:
                        if current is not None:
                            yield _done(current.close())
                        current = _OpenBlock(self, self.blocks[number - self.blocks[0].number])
                    current.add(batch.slice(start, end - start))
            if current is not None:
                yield _done(current.close())
                current = None
        finally:
            if current is not None:
                current.abandon()


def _done(record: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"block": pa.array([record["block"]], pa.int32())})


def output_schema(columns: pa.Schema) -> pa.Schema:
    """Columns of a block's file: place first, then text, then where it came from."""
    placed = [
        ("block", pa.int32()),
        ("index", pa.int32()),
        ("offset", pa.int64()),
        ("phase", pa.string()),
        ("doc_id", pa.string()),
        ("use", pa.int32()),
        ("position", pa.float64()),
        ("tokens", pa.int32()),
    ]
    fields = [pa.field(name, kind) for name, kind in placed]
    rest = [field for field in columns if field.name not in {f.name for f in fields}]
    return pa.schema([*fields, *rest, ("shard", pa.string()), ("row", pa.int64())])


class _OpenBlock:
    """One block being written: Parquet, and beside it token files and JSON lines where wanted."""

    def __init__(self, writer: BlockWriter, block: Block) -> None:
        self.spec, self.block = writer, block
        self.schema = output_schema(writer.schema)
        self.attempt = uuid.uuid4().hex
        self.rows = self.tokens = self.chars = self.pending_rows = self.pending_bytes = 0
        self.pending: list[pa.RecordBatch] = []
        self.channels: dict[str, list[int]] = {}
        self.offsets: list[np.ndarray] = []
        self.hashes: list[np.ndarray] = []
        self.summary: dict[str, list[int]] = {}  # documents, sum, sum of squares
        self.files: dict[str, tuple[Path, Path]] = {}  # kind → (written, final)
        self.parquet = pq.ParquetWriter(
            self._file("documents", writer.out / "documents" / f"{block.name}.parquet"),
            self.schema,
            compression="zstd",
            compression_level=3,
            write_page_checksum=True,
        )
        self.encoder = load_saved(writer.tokenizer) if writer.megatron else None
        self.megatron: MegatronWriter | None = None
        if self.encoder is not None:
            prefix = writer.out / "megatron" / block.phase / block.name
            hidden = prefix.with_name(f".{prefix.name}.{self.attempt}")
            self.megatron = MegatronWriter(hidden, self.encoder.dtype, self.encoder.end_of_document)
            for kind in ("bin", "idx"):
                self.files[kind] = (
                    hidden.with_name(f"{hidden.name}.{kind}"),
                    prefix.with_name(f"{prefix.name}.{kind}"),
                )
        self.lines: Any = None
        if writer.jsonl:
            path = self._file("jsonl", writer.out / "jsonl" / f"{block.name}.jsonl.zst")
            self.lines = zstandard.open(path, "wb", cctx=zstandard.ZstdCompressor(level=3))

    def _file(self, kind: str, final: Path) -> Path:
        final.parent.mkdir(parents=True, exist_ok=True)
        hidden = final.with_name(f".{final.name}.{self.attempt}")
        self.files[kind] = (hidden, final)
        return hidden

    def add(self, rows: pa.RecordBatch) -> None:
        """Take rows that follow those before; row groups are cut by the rows alone."""
        tokens = rows.column("tokens").to_numpy()
        offset = self.block.offset + self.tokens + self.rows + np.cumsum(tokens + 1) - (tokens + 1)
        placed = {
            "block": pa.array(np.full(len(tokens), self.block.number), pa.int32()),
            "index": pa.array(self.rows + np.arange(len(tokens)), pa.int32()),
            "offset": pa.array(offset, pa.int64()),
            "phase": pa.array([self.block.phase] * len(tokens), pa.string()),
        }
        arrays = [placed[f.name] if f.name in placed else rows.column(f.name).cast(f.type) for f in self.schema]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        self._tokens_of(batch)
        self._lines_of(batch)
        self.offsets.append(offset)
        self.hashes.append(hash_strings(batch.column("doc_id")))
        self._summarise(batch)
        channel = batch.column("channel") if "channel" in self.schema.names else pa.nulls(len(tokens))
        table = pa.table({"channel": channel.cast(pa.string()).fill_null(""), "tokens": tokens})
        for row in table.group_by("channel").aggregate([("tokens", "sum"), ("tokens", "count")]).to_pylist():
            entry = self.channels.setdefault(row["channel"], [0, 0])
            entry[0] += row["tokens_count"]
            entry[1] += row["tokens_sum"]
        self.rows += len(tokens)
        self.tokens += int(tokens.sum())
        self.chars += pc.sum(pc.utf8_length(batch.column("text"))).as_py() or 0
        self._group(batch)

    def _summarise(self, batch: pa.RecordBatch) -> None:
        for name, values in watched(batch).items():
            exact = [round(v * SUMMARY_SCALE) for v in values.tolist() if v == v]
            entry = self.summary.setdefault(name, [0, 0, 0])
            for i, power in enumerate(((1 for _ in exact), exact, (v * v for v in exact))):
                entry[i] += sum(power)

    def _group(self, batch: pa.RecordBatch) -> None:
        """Split into row groups: a group ends with the row that fills it."""
        sizes = pc.binary_length(batch.column("text")).fill_null(0).to_numpy(zero_copy_only=False)
        start = 0
        while start < batch.num_rows:
            room = np.cumsum(sizes[start:]) + self.pending_bytes
            end = min(
                start + int(np.searchsorted(room, ROW_GROUP_BYTES)) + 1,
                start + ROW_GROUP_ROWS - self.pending_rows,
                batch.num_rows,
            )
            part = batch.slice(start, end - start)
            self.pending.append(part)
            self.pending_rows += part.num_rows
            self.pending_bytes += int(sizes[start:end].sum())
            if self.pending_bytes >= ROW_GROUP_BYTES or self.pending_rows >= ROW_GROUP_ROWS:
                self._flush()
            start = end

    def _flush(self) -> None:
        if self.pending:
            table = pa.Table.from_batches(self.pending, self.schema).combine_chunks()
            self.parquet.write_table(table, row_group_size=table.num_rows)
        self.pending, self.pending_rows, self.pending_bytes = [], 0, 0

    def _tokens_of(self, batch: pa.RecordBatch) -> None:
        if self.megatron is None:
            return
        assert self.encoder is not None
        ids, offsets = encode_column(batch.column("text"), self.encoder)
        if not np.array_equal(np.diff(offsets), batch.column("tokens").to_numpy()):
            raise AccountingError(
                f"{self.block.name}: the tokenizer gives other token counts than the column `tokens`; "
                "export must use the tokenizer that mix counted with"
            )
        self.megatron.add(ids, offsets)

    def _lines_of(self, batch: pa.RecordBatch) -> None:
        if self.lines is not None:
            for row in batch.to_pylist():
                self.lines.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> dict[str, Any]:
        """Name the files, then write the block's record: with it the block is done."""
        self._flush()
        self.parquet.close()
        if self.megatron is not None:
            self.megatron.__exit__(None, None, None)
        if self.lines is not None:
            self.lines.close()
        self._write_index()
        files = {}
        for kind, (hidden, final) in self.files.items():
            files[kind] = {
                "path": str(final.relative_to(self.spec.out)),
                "bytes": hidden.stat().st_size,
                "xxh3": file_digest(hidden),
            }
            hidden.replace(final)
        record = {
            "block": self.block.number,
            "phase": self.block.phase,
            "offset": self.block.offset,
            "documents": self.rows,
            "tokens": self.tokens,
            "chars": self.chars,
            "channels": dict(sorted(self.channels.items())),
            "summary": dict(sorted(self.summary.items())),
            "files": files,
        }
        write_atomically(record_path(self.spec.out, self.block), json.dumps(record, ensure_ascii=False))
        return record

    def _write_index(self) -> None:
        index = np.empty(self.rows, INDEX)
        hashes = np.concatenate(self.hashes) if self.hashes else np.empty(0, np.uint64)
        by_hash = np.argsort(hashes, kind="stable")
        index["offset"] = np.concatenate(self.offsets) if self.offsets else 0
        index["hash"], index["row"] = hashes[by_hash], by_hash
        path = self._file("index", self.spec.out / "index" / f"{self.block.name}.npy")
        with path.open("wb") as file:
            np.save(file, index)

    def abandon(self) -> None:
        self.parquet.close()
        if self.megatron is not None:
            self.megatron.__exit__(RuntimeError, None, None)
        if self.lines is not None:
            self.lines.close()
        for hidden, _ in self.files.values():
            hidden.unlink(missing_ok=True)


def watched(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """The quality score and the signals that the trace looks at, float64, NaN where there is none."""
    found: dict[str, pa.Array] = {}
    names = batch.schema.names
    if "quality_score" in names:
        found["quality_score"] = batch.column("quality_score")
    if "signals" in names and pa.types.is_struct(batch.schema.field("signals").type):
        fields = {field.name for field in batch.schema.field("signals").type}
        for name in WATCHED:
            if name in fields:
                found[name] = pc.struct_field(batch.column("signals"), name)
    return {
        name: column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(float) for name, column in found.items()
    }


def record_path(out: Path, block: Block) -> Path:
    return out / "blocks" / f"{block.name}.json"


def carry_over(records: Sequence[dict[str, Any]], old: Path, out: Path) -> list[str]:
    """Link the files of blocks of an earlier export into `out`, byte for byte; returns the blocks' names."""
    names = []
    for record in records:
        name = f"part-{record['block']:05d}"
        for path in (f"blocks/{name}.json", *(file["path"] for file in record["files"].values())):
            target = out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.hardlink_to(old / path)
        names.append(name)
    return names


def write_manifest(
    out: Path, blocks: Sequence[Block], about: dict[str, Any], carried: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The records of all blocks, those carried over and those made now, as one file, `blocks.json`."""
    records = [json.loads(record_path(out, block).read_text(encoding="utf-8")) for block in blocks]
    whole = {**about, "blocks": [*carried, *records]}
    write_atomically(out / "blocks.json", json.dumps(whole, ensure_ascii=False, indent=1))
    return whole
