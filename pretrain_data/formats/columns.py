"""Columns of others under our names: `{text: content, title: meta.title}` for Parquet and JSON lines.

The name of a column goes before the path into one: a column that is called `meta.title` is taken as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data import schema

#: Ours and theirs, as a unit of input carries them.
Columns = tuple[tuple[str, str], ...]

#: Columns of ours that an input may fill.
OURS = ("id", *(column.name for column in schema.COLUMNS if column.stage == "ingest" and column.name != "origin"))


def checked(mapping: dict[str, str]) -> dict[str, str]:
    """The mapping, if all it names of ours is ours. Raises ValueError."""
    for ours in mapping:
        if ours not in OURS:
            raise ValueError(f"{ours} is no column of ours{_nearest(ours, OURS)}; there are {', '.join(OURS)}")
    return mapping


def unknown(columns: Columns, names: Iterable[str]) -> str | None:
    """What is wrong with the first column that isn't among `names` (dotted); None where all are there."""
    there = list(names)
    for ours, theirs in columns:
        if theirs not in there:
            return f"has no column {theirs} for {ours}{_nearest(theirs, there)} (its columns: {', '.join(there[:30])})"
    return None


def dotted_names(fields: pa.Schema | pa.StructType, above: str = "") -> list[str]:
    """Names of all columns, and of the fields inside of structs with dots."""
    names = []
    for field in fields:
        names.append(above + field.name)
        if pa.types.is_struct(field.type):
            names += dotted_names(field.type, f"{above}{field.name}.")
    return names


def keys(value: Mapping[str, Any], above: str = "") -> list[str]:
    """The same of a JSON object."""
    names = []
    for key, inner in value.items():
        names.append(above + key)
        if isinstance(inner, dict) and above.count(".") < 8:
            names += keys(inner, f"{above}{key}.")
    return names


def of_batch(batch: pa.RecordBatch, columns: Columns) -> dict[str, pa.Array]:
    """The columns of a batch under our names; a column that is mapped whole is taken away from where it stood."""
    there = dict(zip(batch.schema.names, batch.columns, strict=True))
    found = {ours: _column(there, theirs) for ours, theirs in columns}
    rest = {name: array for name, array in there.items() if name not in found and name not in dict(columns).values()}
    return rest | {ours: array for ours, array in found.items() if array is not None}


def of_line(value: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """The same of a JSON object."""
    if not columns:
        return value
    found = {ours: _field(value, theirs) for ours, theirs in columns}
    taken = {theirs for _, theirs in columns}
    return {name: inner for name, inner in value.items() if name not in found and name not in taken} | found


def fitted(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Values as one of our types; days may be written as times. Raises pa.ArrowException where they don't fit."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_date(wanted) and (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return pc.strptime(pc.utf8_slice_codeunits(values, 0, 10), "%Y-%m-%d", "s", error_is_null=True).cast(wanted)
    if pa.types.is_date(wanted) and pa.types.is_timestamp(values.type):
        return pc.floor_temporal(values, unit="day").cast(wanted, safe=False)
    return values.cast(wanted)


def _column(there: dict[str, pa.Array], path: str) -> pa.Array | None:
    if path in there:
        return there[path]
    head, dot, rest = path.partition(".")
    while dot:
        inner = there.get(head)
        if inner is not None and pa.types.is_struct(inner.type):
            # flatten, not field: a struct that is null has no values inside either.
            fields = dict(zip([field.name for field in inner.type], inner.flatten(), strict=True))
            return _column(fields, rest)
        more, dot, rest = rest.partition(".")
        head += f".{more}"
    return None


def _field(value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    head, dot, rest = path.partition(".")
    while dot:
        if isinstance(value.get(head), dict):
            return _field(value[head], rest)
        more, dot, rest = rest.partition(".")
        head += f".{more}"
    return None


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), 1, 0.5)
    return f", did you mean {close[0]}?" if close else ""
