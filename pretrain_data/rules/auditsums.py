"""The shards' tallies summed, with the largest values of each attribute by name and the rest as one.

Few files are summed on the driver: a query over them would cost the JVM more CPU time than the rules themselves take
for a hundred megabytes. Many are summed in two steps of plain tasks: each file's rows go, as one Arrow piece, to the
partition of their (attribute, value), which adds them up and brings back only its own largest values and the sum of
all others. A value lies whole in one partition, so that the largest of all are among the largest of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.kernels.bytes8 import hash_each
from pretrain_data.kernels.textscan import text_buffers
from pretrain_data.rules.audit import BEFORE, COUNTS, MORE, MOST_VALUES, TALLY

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KEYS = ("rule", "attribute", "value")
#: Bytes of files (about a quarter of the rows in memory) that are summed in one piece.
AT_ONCE = 8 << 20
_REST = "rest"  # whether a row is the sum of values that aren't among the largest


def summed(
    spark: SparkSession,
    files: Sequence[Path],
    tasks: int | None = None,
    at_once: int = AT_ONCE,
    most: int = MOST_VALUES,
) -> list[dict[str, Any]]:
    """Rows as in TALLY, sums over all `files` in the order of their keys.

    Of each attribute's values the `most` with the most documents before any rule (ties: the first by name) have
    rows of their own; all others are summed as MORE. What comes back is bounded by rules x attributes x `most`.
    """
    size = sum(path.stat().st_size for path in files)
    if size <= at_once:
        parts = [_largest(_total(map(_read, files)), most)] if files else []
    else:
        partitions = -(-size // at_once)

        def cut(paths: Iterable[str]) -> Iterator[tuple[int, bytes]]:
            for path in paths:
                yield from _pieces(_read(path), partitions)

        def add(pieces: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
            total = _total(pa.ipc.open_stream(piece).read_all() for _, piece in pieces)
            yield _packed(_largest(total, most))

        paths = spark.sparkContext.parallelize([str(path) for path in files], min(len(files), tasks or len(files)))
        found = paths.mapPartitions(cut).partitionBy(partitions, int).mapPartitions(add).collect()
        parts = [pa.ipc.open_stream(part).read_all() for part in found]
    if not parts:
        return []
    every = _sums(pa.concat_tables(parts), [*KEYS, _REST])
    rows: list[dict[str, Any]] = _sums(_largest(every, most).drop([_REST]), KEYS).to_pylist()
    return rows


def _read(path: Path | str) -> pa.Table:
    return pq.read_table(path, columns=TALLY.names, use_threads=False).cast(TALLY)


def _pieces(table: pa.Table, partitions: int) -> Iterator[tuple[int, bytes]]:
    """The rows of each partition that has any."""
    names = pc.binary_join_element_wise(table["attribute"], table["value"], "\0").combine_chunks()
    home = hash_each(*text_buffers(names)) % np.uint64(partitions)
    for number in np.unique(home).tolist():
        yield number, _packed(table.filter(pa.array(home == number)))


def _packed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _total(tables: Iterable[pa.Table]) -> pa.Table:
    """The sums of all tables; two are in memory at a time."""
    return reduce(lambda one, other: _sums(pa.concat_tables([one, other]), KEYS), tables, TALLY.empty_table())


def _sums(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """One row for each combination of keys, in their order."""
    found = table.group_by(keys, use_threads=False).aggregate([(name, "sum") for name in COUNTS])
    found = found.rename_columns([name.removesuffix("_sum") for name in found.column_names])
    return found.select([*keys, *COUNTS]).sort_by([(name, "ascending") for name in keys])


def _largest(table: pa.Table, most: int) -> pa.Table:
    """The sums with the `most` largest values of each attribute by name, and a row a rule for all others."""
    rest = table[_REST] if _REST in table.column_names else pa.array(np.zeros(len(table), bool))
    before = table.filter(pc.and_(pc.equal(table["rule"], BEFORE), pc.invert(rest)))
    before = before.sort_by([("attribute", "ascending"), ("documents", "descending"), ("value", "ascending")])
    attribute = np.asarray(before["attribute"].to_numpy(zero_copy_only=False), object)
    begins = np.r_[True, attribute[1:] != attribute[:-1]][: len(before)]
    rank = np.arange(len(before)) - np.maximum.accumulate(np.where(begins, np.arange(len(before)), 0))
    named = before.filter(pa.array(rank < most)).select(["attribute", "value"])
    known = pc.binary_join_element_wise(named["attribute"], named["value"], "\0").combine_chunks()
    own = pc.binary_join_element_wise(table["attribute"], table["value"], "\0")
    large = pc.and_(pc.is_in(own, value_set=known), pc.invert(rest))
    table = table.set_column(table.column_names.index("value"), "value", pc.if_else(large, table["value"], MORE))
    marked = table.drop([_REST]) if _REST in table.column_names else table
    return _sums(marked.append_column(_REST, pc.invert(large)), [*KEYS, _REST])
