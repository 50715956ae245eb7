"""Parquet and JSONL with `id` and `text`, made by others, read as documents.

Any stage may be the first of a run: its `input` then names such files. Columns may have other names (`columns`).
`id` becomes `source_id` (the
row's place in the file where there is none), columns of ours are cast to our types, all others are kept.
`doc_id` is kept where the file has one, else it is the hash of the row's place and text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pretrain_data import schema
from pretrain_data.errors import InputError
from pretrain_data.formats import columns as mapping
from pretrain_data.formats.lines import BROKEN, bounded_lines, open_lines
from pretrain_data.formats.sources import SUFFIXES, file_stamp, format_of, pack_by_day
from pretrain_data.formats.storage import InputFile, is_url, list_files, open_input
from pretrain_data.hashing import digest
from pretrain_data.stage import Processed, Shard, Unit

SHARD_BYTES = 256 << 20  # of a file on disk; a shard is at most about that, small files share one
BATCH_ROWS = 4096
LINE_BYTES = 64 << 20  # a longer JSON line is dropped
LOOKED_AT = 200  # JSON lines, to see which columns there are

_FORMATS = {suffix for suffix, kind in SUFFIXES.items() if kind in ("parquet", "jsonl")}


def plan_documents(spec: str, root: Path) -> list[Shard]:
    """Shards over the Parquet and JSONL files that `spec` names: a file, a folder or a glob.

    The plan depends on names, sizes and Parquet row groups alone. Raises InputError where nothing fits
    or a Parquet file can't be opened or has no `text`.
    """
    files = [file for file in list_files(spec, root) if _format(file.name)]
    if not files:
        where = spec if is_url(spec) else root / spec
        raise InputError(f"{where}: no Parquet or JSONL file there ({', '.join(sorted(_FORMATS))})")
    return pack_by_day([unit for file in files for unit in _units(file)], SHARD_BYTES)


def first_columns(unit: Unit) -> list[str]:
    """Dotted names of a file's columns; of JSON lines those in the first LOOKED_AT lines.

    Raises InputError where the file can't be read.
    """
    try:
        if unit.format == "parquet":
            with open_input(unit.path) as source, pq.ParquetFile(source) as file:
                return mapping.dotted_names(file.schema_arrow)
        names: dict[str, None] = {}
        with open_lines(unit.path) as lines:
            for _ in range(LOOKED_AT):
                line = lines.readline(LINE_BYTES)
                try:
                    value = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(value, dict):
                    names |= dict.fromkeys(mapping.keys(value))
        return list(names)
    except (OSError, pa.ArrowException, *BROKEN) as error:
        raise InputError(f"{unit.path}: can't be read: {error}") from None


def fingerprint(shards: tuple[Shard, ...] | list[Shard]) -> str:
    """Changes when a file's name, size or time of change does."""
    parts = []
    for shard in shards:
        for unit in shard.units:
            parts.append([shard.name, unit.label, unit.start, unit.end, *file_stamp(unit)])
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


def _format(name: str) -> str | None:
    kind = format_of(name)
    return kind if kind in ("parquet", "jsonl") else None


def _units(found: InputFile) -> Iterator[tuple[Unit, int]]:
    """The pieces of a file with their sizes in bytes: Parquet files are cut between row groups."""
    path, kind = found.path, str(_format(found.name))
    if kind == "jsonl":
        yield Unit(path, kind, label=found.label, stamp=found.stamp), found.size
        return
    try:
        with open_input(path) as source, pq.ParquetFile(source) as file:
            metadata, names = file.metadata, file.schema_arrow.names
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a Parquet file ({error})") from None
    _check_text(path, names)
    start, size = 0, 0
    for group in range(metadata.num_row_groups):
        size += metadata.row_group(group).total_byte_size
        if size >= SHARD_BYTES or group == metadata.num_row_groups - 1:
            yield Unit(path, kind, start, group + 1, found.label, found.stamp), size
            start, size = group + 1, 0


def _check_text(path: str, names: list[str], columns: mapping.Columns = ()) -> None:
    problem = mapping.unknown((("text", dict(columns).get("text", "text")),), names)
    if problem:
        raise InputError(f"{path}: {problem}")


def _parquet(unit: Unit) -> Iterator[Processed]:
    try:
        with open_input(unit.path) as source, pq.ParquetFile(source) as file:
            _check_text(unit.path, mapping.dotted_names(file.schema_arrow), unit.columns)
            groups = list(range(unit.start, unit.end if unit.end is not None else file.num_row_groups))
            position = sum(file.metadata.row_group(g).num_rows for g in range(unit.start))
            for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups, use_threads=False):
                places = pa.array([str(position + i) for i in range(batch.num_rows)])
                position += batch.num_rows
                yield _documents(unit, mapping.of_batch(batch, unit.columns), places)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the machine's trouble, not the file's
        raise InputError(f"{unit.path}: can't be read: {error}") from None


def rows(unit: Unit) -> int | None:
    """How many documents `read_documents` gives of a Parquet file by what its footer says; None where it doesn't."""
    if unit.format != "parquet" or unit.columns:
        return None
    try:
        with open_input(unit.path) as source, pq.ParquetFile(source) as file:
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
    raw = columns.pop("text")
    text, bad = _text(raw, rows)
    columns = {name: _sound(values) for name, values in columns.items()}
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
            fields[name] = values if name == "signals" else mapping.fitted(values, schema.BY_NAME[name].type)
        except pa.ArrowException:
            wanted = schema.BY_NAME[name].type
            raise InputError(f"{unit.path}: column {name} is {values.type}, which isn't {wanted}") from None
    fields.update(columns)
    detail = pc.if_else(pc.equal(bad, "not_text"), pa.scalar(f"text is {raw.type}"), pa.scalar(None, pa.string()))
    return Processed(pa.RecordBatch.from_pydict(fields), rule=bad, detail=detail)


def _text(values: pa.Array, rows: int) -> tuple[pa.Array, pa.Array]:
    """Text as large_string without NUL, and the rule for each row that has none."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        rule = pc.if_else(values.is_null(), pa.scalar("null_text"), pa.scalar("not_text"))
        return pa.nulls(rows, pa.large_string()), rule
    text = _sound(values.cast(pa.large_string()))
    return text, pc.if_else(text.is_null(), pa.scalar("null_text"), pa.scalar(None, pa.string()))


def _sound(values: pa.Array) -> pa.Array:
    """Strings that are UTF-8 and have no NUL; other types as they are."""
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return values
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:  # Arrow trusts its writers; this one wrote bytes that aren't UTF-8
        raw = values.cast(pa.large_binary()).to_pylist()
        values = pa.array([None if b is None else b.decode("utf-8", "replace") for b in raw], values.type)
    return pc.replace_substring(values, "\0", "") if _has_nul(values) else values


def _has_nul(text: pa.Array) -> bool:
    data = text.buffers()[2]
    # All of the buffer, of which `text` may be a slice: a zero byte elsewhere costs a needless look.
    # The least byte is found without an array of flags as large as the text.
    return data is not None and data.size > 0 and int(np.frombuffer(data, np.uint8).min()) == 0


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


_TOO_LONG = {"rule": "line_too_long"}


def _jsonl(unit: Unit) -> Iterator[Processed]:
    kinds: dict[str, pa.DataType] = {}
    rows: list[dict[str, Any]] = []
    number = 0
    broken: Exception | None = None
    with open_lines(unit.path) as file:
        lines = enumerate(bounded_lines(file, LINE_BYTES), 1)
        while True:
            try:
                number, (line, whole) = next(lines)
            except StopIteration:
                break
            except BROKEN as error:
                broken = error
                break
            if not line.strip():
                continue
            row: dict[str, Any] = {"line": number} | (_parse(line, unit.columns) if whole else _TOO_LONG)
            rows.append(row)
            if len(rows) == BATCH_ROWS:
                yield _from_lines(unit, rows, kinds)
                rows = []
    if rows:
        yield _from_lines(unit, rows, kinds)
    if broken is not None:
        raise InputError(f"{unit.path}: can't be read beyond line {number}: {broken}")


def _parse(line: bytes, columns: mapping.Columns) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return {"rule": "bad_json", "detail": str(error)}
    if not isinstance(value, dict):
        return {"rule": "bad_json", "detail": f"a JSON object is wanted, not {type(value).__name__}"}
    value = mapping.of_line(value, columns)
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
    text = name == "id" or (name in schema.BY_NAME and pa.types.is_string(schema.BY_NAME[name].type))
    if text or (name not in kinds and all(v is None for v in values)):
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
