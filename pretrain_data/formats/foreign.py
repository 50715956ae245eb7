"""Parquet and JSONL with `id` and `text`, made by others, read as documents.

Any stage may be the first of a run: its `input` then names such files. `id` becomes `source_id` (the
row's place in the file where there is none), columns of ours are cast to our types, all others are kept.
`doc_id` is kept where the file has one, else it is the hash of the row's place and text.
"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
import zstandard

from pretrain_data import schema
from pretrain_data.errors import InputError
from pretrain_data.formats.sources import SUFFIXES, format_of, list_files, pack_by_day
from pretrain_data.hashing import digest
from pretrain_data.stage import Processed, Shard, Unit

SHARD_BYTES = 256 << 20  # of a file on disk; a shard is at most about that, small files share one
BATCH_ROWS = 4096
LINE_BYTES = 64 << 20  # a longer JSON line is dropped

_FORMATS = {suffix for suffix, kind in SUFFIXES.items() if kind in ("parquet", "jsonl")}


def plan_documents(spec: str, root: Path) -> list[Shard]:
    """Shards over the Parquet and JSONL files that `spec` names: a file, a folder or a glob.

    The plan depends on names, sizes and Parquet row groups alone. Raises InputError where nothing fits
    or a Parquet file can't be opened or has no `text`.
    """
    files = [(path, label) for path, label in list_files(spec, root) if _format(path)]
    if not files:
        raise InputError(f"{root / spec}: no Parquet or JSONL file there ({', '.join(sorted(_FORMATS))})")
    return pack_by_day([unit for path, label in files for unit in _units(path, label)], SHARD_BYTES)


def fingerprint(shards: tuple[Shard, ...] | list[Shard]) -> str:
    """Changes when a file's name, size or time of change does."""
    parts = []
    for shard in shards:
        for unit in shard.units:
            stat = os.stat(unit.path)
            parts.append([shard.name, unit.label, unit.start, unit.end, stat.st_size, stat.st_mtime_ns])
    return digest(parts)


def read_documents(unit: Unit) -> Iterator[Processed]:
    """The rows of one unit; those that can't be documents carry the rule that says why.

    Rules: `null_text`, `bad_json`, `not_text`, `line_too_long`.
    """
    reader = _parquet if unit.format == "parquet" else _jsonl
    yield from reader(unit)


def from_table(table: pa.Table, label: str) -> Iterator[Processed]:
    """The rows of a table in memory, as `read_documents` gives those of a Parquet file; `label` stands for its name."""
    _check_text(label, table.schema.names)
    position = 0
    for batch in table.combine_chunks().to_batches(BATCH_ROWS):
        places = pa.array([str(position + i) for i in range(batch.num_rows)])
        position += batch.num_rows
        yield _documents(
            Unit(label, "table", label=label), dict(zip(batch.schema.names, batch.columns, strict=True)), places
        )


def _format(path: Path) -> str | None:
    kind = format_of(path)
    return kind if kind in ("parquet", "jsonl") else None


def _units(path: Path, label: str) -> Iterator[tuple[Unit, int]]:
    """The pieces of a file with their sizes in bytes: Parquet files are cut between row groups."""
    kind = str(_format(path))
    if kind == "jsonl":
        yield Unit(str(path), kind, label=label), path.stat().st_size
        return
    try:
        with pq.ParquetFile(path) as file:
            metadata, names = file.metadata, file.schema_arrow.names
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a Parquet file ({error})") from None
    _check_text(str(path), names)
    start, size = 0, 0
    for group in range(metadata.num_row_groups):
        size += metadata.row_group(group).total_byte_size
        if size >= SHARD_BYTES or group == metadata.num_row_groups - 1:
            yield Unit(str(path), kind, start, group + 1, label), size
            start, size = group + 1, 0


def _check_text(path: str, names: list[str]) -> None:
    if "text" not in names:
        raise InputError(f"{path}: has no column text (its columns: {', '.join(names)})")


def _parquet(unit: Unit) -> Iterator[Processed]:
    try:
        with pq.ParquetFile(unit.path) as file:
            _check_text(unit.path, file.schema_arrow.names)
            groups = list(range(unit.start, unit.end if unit.end is not None else file.num_row_groups))
            position = sum(file.metadata.row_group(g).num_rows for g in range(unit.start))
            for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups, use_threads=False):
                places = pa.array([str(position + i) for i in range(batch.num_rows)])
                position += batch.num_rows
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                yield _documents(unit, columns, places)
    except pa.ArrowException as error:
        raise InputError(f"{unit.path}: can't be read: {error}") from None


def rows(unit: Unit) -> int | None:
    """How many documents `read_documents` gives of a Parquet file by what its footer says; None where it doesn't."""
    if unit.format != "parquet":
        return None
    try:
        with pq.ParquetFile(unit.path) as file:
            place = file.schema_arrow.get_field_index("text")
            flat = not any(pa.types.is_nested(field.type) for field in file.schema_arrow)
            kind = file.schema_arrow.field(place).type if place >= 0 else None
            if not flat or kind not in (pa.string(), pa.large_string()):
                return None
            found = 0
            for g in range(unit.start, unit.end if unit.end is not None else file.num_row_groups):
                about = file.metadata.row_group(g).column(place)
                if not about.is_stats_set or not about.statistics.has_null_count:
                    return None
                found += file.metadata.row_group(g).num_rows - about.statistics.null_count
            return found
    except pa.ArrowException as error:
        raise InputError(f"{unit.path}: can't be read: {error}") from None


def _documents(unit: Unit, columns: dict[str, pa.Array], places: pa.Array) -> Processed:
    rows = len(places)
    text, bad = _text(columns.pop("text"), rows)
    own = {name: columns.pop(name) for name in list(columns) if name in schema.BY_NAME or name == "id"}
    source_id = own.pop("id", own.pop("source_id", pa.nulls(rows, pa.string())))
    own.pop("source_id", None)
    given = own.pop("doc_id", None)
    if given is None or given.null_count or not pa.types.is_string(given.type):
        given = document_ids(unit.label, places, text)
    fields: dict[str, pa.Array] = {
        "doc_id": given,
        "source_id": pc.coalesce(source_id.cast(pa.string()), places),
        "text": text,
        "origin": pc.binary_join_element_wise(pa.scalar(unit.label), places, "#"),
    }
    for name, values in own.items():
        try:
            fields[name] = values if name == "signals" else values.cast(schema.BY_NAME[name].type)
        except pa.ArrowException:
            wanted = schema.BY_NAME[name].type
            raise InputError(f"{unit.path}: column {name} is {values.type}, which isn't {wanted}") from None
    fields.update(columns)
    return Processed(pa.RecordBatch.from_pydict(fields), rule=bad)


def _text(values: pa.Array, rows: int) -> tuple[pa.Array, pa.Array]:
    """Text as large_string without NUL, and the rule for each row that has none."""
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        rule = pc.if_else(values.is_null(), pa.scalar("null_text"), pa.scalar("not_text"))
        return pa.nulls(rows, pa.large_string()), rule
    text = values.cast(pa.large_string())
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:  # Arrow trusts its writers; this one wrote bytes that aren't UTF-8
        raw = text.cast(pa.large_binary()).to_pylist()
        text = pa.array([None if b is None else b.decode("utf-8", "replace") for b in raw], pa.large_string())
    if _has_nul(text):
        text = pc.replace_substring(text, "\0", "")
    return text, pc.if_else(text.is_null(), pa.scalar("null_text"), pa.scalar(None, pa.string()))


def _has_nul(text: pa.Array) -> bool:
    data = text.buffers()[2]
    # All of the buffer, of which `text` may be a slice: a zero byte elsewhere costs a needless look.
    return data is not None and bool((np.frombuffer(data, np.uint8) == 0).any())


def document_ids(label: str, places: pa.Array, text: pa.Array) -> pa.Array:
    """XXH3-128 over `label#place`, a zero byte and the UTF-8 text, as 32 hex digits."""
    raw = text.cast(pa.large_binary())
    start = f"{label}#".encode()
    return pa.array(
        [
            xxhash.xxh3_128_hexdigest(b"".join((start, place.encode(), b"\0", value.as_py() or b"")))
            for place, value in zip(places.to_pylist(), raw, strict=True)
        ],
        pa.string(),
    )


def _open(path: str) -> BinaryIO:
    if path.endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.endswith(".zst"):
        return io.BufferedReader(zstandard.open(path, "rb"))
    return open(path, "rb")


def _jsonl(unit: Unit) -> Iterator[Processed]:
    kinds: dict[str, pa.DataType] = {}
    rows: list[dict[str, Any]] = []
    number = 0
    with _open(unit.path) as file:
        while True:
            line = file.readline(LINE_BYTES + 1)
            if not line:
                break
            number += 1
            row: dict[str, Any] = {"line": number, "raw": line}
            if len(line) > LINE_BYTES and not line.endswith(b"\n"):
                row |= {"rule": "line_too_long", "raw": line[:100]}
                while line and not line.endswith(b"\n"):
                    line = file.readline(LINE_BYTES)
            elif not line.strip():
                continue
            else:
                row |= _parse(line)
            rows.append(row)
            if len(rows) == BATCH_ROWS:
                yield _from_lines(unit, rows, kinds)
                rows = []
    if rows:
        yield _from_lines(unit, rows, kinds)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return {"rule": "bad_json", "detail": str(error)}
    if not isinstance(value, dict):
        return {"rule": "bad_json", "detail": f"a JSON object is wanted, not {type(value).__name__}"}
    text = value.get("text")
    if text is None:
        return {"rule": "null_text", "value": value}
    if not isinstance(text, str):
        return {"rule": "not_text", "value": {**value, "text": None}, "detail": type(text).__name__}
    return {"value": value}


def _from_lines(unit: Unit, rows: list[dict[str, Any]], kinds: dict[str, pa.DataType]) -> Processed:
    """One batch of lines. The first batch that has a column settles its type for the whole file."""
    values = [row.get("value", {}) for row in rows]
    names = list(dict.fromkeys(name for value in values for name in value))
    columns: dict[str, pa.Array] = {"text": pa.array([v.get("text") for v in values], pa.large_string())}
    for name in [*kinds, *(n for n in names if n not in kinds)]:
        if name != "text":
            columns[name] = _column([v.get(name) for v in values], name, kinds)
    places = pa.array([str(row["line"]) for row in rows])
    documents = _documents(unit, columns, places)
    rule = pa.array([row.get("rule") for row in rows], pa.string())
    detail = [
        f"{unit.label}:{row['line']}" + (f": {row['detail']}" if "detail" in row else "") if "rule" in row else None
        for row in rows
    ]
    return Processed(documents.batch, rule=rule, detail=pa.array(detail, pa.string()))


def _column(values: list[Any], name: str, kinds: dict[str, pa.DataType]) -> pa.Array:
    """Values as the column's type; what doesn't fit is kept as JSON text in a text column."""
    if name == "id" or (name not in kinds and all(v is None for v in values)):
        kinds.setdefault(name, pa.string())
    if name not in kinds:
        try:
            kinds[name] = pa.array(values).type
        except (pa.ArrowException, TypeError):
            kinds[name] = pa.string()
    if not pa.types.is_string(kinds[name]):
        try:
            return pa.array(values, kinds[name])
        except (pa.ArrowException, TypeError, OverflowError) as error:
            raise InputError(f"column {name} changes its type within the file: {error}") from None
    return pa.array([v if v is None or isinstance(v, str) else orjson.dumps(v).decode() for v in values], pa.string())
