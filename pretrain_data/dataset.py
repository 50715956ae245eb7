"""A dataset on disk: where it lies, what its manifest says, how its shards are read.

    <workspace>/<stage>/documents/[dt=YYYY-MM-DD/]part-*.parquet   kept documents
    <workspace>/<stage>/dropped/[dt=YYYY-MM-DD/]part-*.parquet     the ledger, schema.DROPPED
    <workspace>/<stage>/_manifest.json                             what it is and what it was made from

A shard is one file. It keeps its name from stage to stage, so that a document is named for good by
(shard, row) and any shard leads back to the input it came from. Writing is in `writer`, the atomic
exchange of a whole stage in `commit`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data import schema
from pretrain_data.errors import InputError
from pretrain_data.formats import foreign
from pretrain_data.stage import Processed, Shard, ShardFunction, Unit

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Item = TypeVar("Item")
T = TypeVar("T")

MANIFEST = "_manifest.json"
NATIVE = "dataset"  # Unit.format of our own shards

BATCH_ROWS = 4096
BATCH_BYTES = 16 << 20  # text of one batch; a longer document is a batch of its own


@dataclass(frozen=True)
class Dataset:
    """Documents that a stage reads: our own output, or foreign Parquet or JSONL.

    `fingerprint` changes when and only when the content (for foreign files: size or time) does.
    """

    path: str
    shards: tuple[Shard, ...]
    fingerprint: str
    manifest: dict[str, Any] | None = None

    @classmethod
    def open(cls, root: Path) -> Dataset:
        """Open a committed stage folder. Raises InputError where there is none."""
        root = root.resolve()
        manifest = read_manifest(root)
        if manifest is None:
            raise InputError(f"{root}: no {MANIFEST}; this stage has not been run (or not to its end)")
        shards, first = [], 0
        try:
            for entry in manifest["shards"]:
                if entry["rows"]:
                    path = str(root / "documents" / f"{entry['name']}.parquet")
                    unit = Unit(path, NATIVE, label=entry["name"])
                    shards.append(Shard(entry["name"], (unit,), entry["rows"], first))
                    first += entry["rows"]
            return cls(str(root), tuple(shards), manifest["content"], manifest)
        except (KeyError, TypeError) as error:
            raise _broken(root, error) from None

    @classmethod
    def open_input(cls, spec: str, root: Path) -> Dataset:
        """Open what a stage's `input` names: a stage folder of ours, or foreign Parquet or JSONL."""
        path = root / spec
        for folder in (path, path.parent if path.name == "documents" else path):
            if (folder / MANIFEST).is_file():
                return cls.open(folder)
        shards = foreign.plan_documents(spec, root)
        return cls(spec, tuple(shards), foreign.fingerprint(shards))


def read_manifest(root: Path) -> dict[str, Any] | None:
    """The manifest of a stage folder, None where there is none; InputError where it is broken."""
    try:
        manifest: Any = json.loads((root / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:  # no JSON, or no UTF-8
        raise _broken(root, error) from None
    if not isinstance(manifest, dict):
        raise _broken(root, TypeError("no object"))
    return manifest


def _broken(root: Path, error: Exception) -> InputError:
    what = f"{type(error).__name__}: {error}"
    return InputError(f"{root / MANIFEST}: broken ({what}); run the stage again with --force to write it anew")


def read_shard(
    shard: Shard,
    columns: list[str] | None = None,
    dropped: Callable[[Processed], None] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The documents of a shard in order, in batches that depend on the shard alone.

    Batches have at most BATCH_ROWS rows and about BATCH_BYTES of text. Foreign rows that can't be
    documents (null text, a broken line) are handed to `dropped` and left out.
    """
    for unit in shard.units:
        for batch in _read_unit(unit, columns, dropped):
            yield from bounded(batch)


def read_marked(
    shard: Shard, columns: list[str], marked: npt.NDArray[np.bool_]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches of a shard, each with the number of its first row in it, that hold the `marked` rows (one flag a row).

    Of our own shards those row groups are read that hold any; a foreign file is read as a whole, since only reading
    it tells which of its rows are documents.
    """
    if any(unit.format != NATIVE for unit in shard.units):
        at = 0
        for batch in read_shard(shard, columns):
            if marked[at : at + batch.num_rows].any():
                yield at, batch
            at += batch.num_rows
        return
    first = 0
    for unit in shard.units:
        with _opened(unit) as file:
            wanted = [name for name in columns if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if marked[first : first + rows].any():
                    at = first
                    for whole in file.iter_batches(BATCH_ROWS, [group], wanted, use_threads=False):
                        for batch in bounded(whole):
                            yield at, batch
                            at += batch.num_rows
                first += rows


@contextmanager
def _opened(unit: Unit) -> Iterator[pq.ParquetFile]:
    """One of our own shards."""
    try:
        with pq.ParquetFile(unit.path, page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{unit.path}: can't be read ({error}); run the stage that wrote it again with --force"
        ) from error


def _read_unit(
    unit: Unit, columns: list[str] | None, dropped: Callable[[Processed], None] | None
) -> Iterator[pa.RecordBatch]:
    if unit.format == NATIVE:
        with _opened(unit) as file:
            present = file.schema_arrow.names
            wanted = present if columns is None else [c for c in columns if c in present]
            yield from file.iter_batches(batch_size=BATCH_ROWS, columns=wanted, use_threads=False)
        return
    for processed in foreign.read_documents(unit):
        batch = processed.batch
        if processed.rule is not None:
            if dropped is not None and processed.rule.null_count < len(processed.rule):
                dropped(_rows(processed, processed.rule.is_valid()))
            batch = batch.filter(processed.rule.is_null())
        if columns is not None:
            batch = batch.select([c for c in columns if c in batch.schema.names])
        if batch.num_rows:
            yield batch


def _rows(processed: Processed, mask: pa.Array) -> Processed:
    arrays = ("rule", "value", "threshold", "kept_id", "kept_doc_id", "detail")
    given = {name: getattr(processed, name) for name in arrays}
    picked: dict[str, Any] = {name: None if a is None else a.filter(mask) for name, a in given.items()}
    return replace(processed, batch=processed.batch.filter(mask), **picked)


def bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """`batch` in slices of at most BATCH_ROWS rows and about BATCH_BYTES of text."""
    rows, size = batch.num_rows, batch.nbytes
    if rows <= BATCH_ROWS and size <= BATCH_BYTES:
        yield batch
        return
    if rows <= 1:
        yield batch
        return
    half = rows // 2
    yield from bounded(batch.slice(0, half))
    yield from bounded(batch.slice(half))


def scan(
    spark: SparkSession,
    source: Dataset,
    columns: list[str],
    function: ShardFunction,
    out: pa.Schema,
    partitions: int | None = None,
) -> DataFrame:
    """A lazy DataFrame of `function(batches, shard)` over all shards; see StageRun.scan."""
    return run_on_shards(
        spark, source.shards, lambda shard: function(read_shard(shard, columns), shard), out, partitions
    )


def run_on_shards(
    spark: SparkSession,
    shards: tuple[Shard, ...],
    function: Callable[[Shard], Iterable[pa.RecordBatch]],
    out: pa.Schema,
    partitions: int | None = None,
) -> DataFrame:
    """A lazy DataFrame of what `function` yields for each shard, in `partitions` tasks.

    By default every shard is a task of its own. Record batches are cast to `out`.
    """
    from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

    spark_schema = from_arrow_schema(out)
    wire = to_arrow_schema(spark_schema)
    shared = spark.sparkContext.broadcast(shards)

    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for index in batch.column(0).to_pylist():
                for result in function(shared.value[index]):
                    table = pa.Table.from_batches([result]).select(wire.names).cast(wire)
                    yield from table.to_batches()

    tasks = max(1, min(len(shards), partitions or len(shards)))
    return spark.range(0, len(shards), 1, tasks).mapInArrow(task, spark_schema)


def on_each(
    spark: SparkSession, items: Sequence[Item], function: Callable[[Item], T], partitions: int | None = None
) -> list[T]:
    """What `function` gives for each of `items` (shards, files), in their order; by default a task of its own each.

    For results that fit the driver. Spark plans, compiles and converts nothing for it: over a DataFrame the same
    would cost some CPU seconds of the JVM for the first and half of one for every further pass.
    """
    if not items:
        return []
    shared = spark.sparkContext.broadcast(items)
    tasks = max(1, min(len(items), partitions or len(items)))

    def task(numbers: Iterable[int]) -> Iterable[T]:
        return (function(shared.value[number]) for number in numbers)

    return spark.sparkContext.parallelize(range(len(items)), tasks).mapPartitions(task).collect()


def document_schema(columns: Iterable[str]) -> pa.Schema:
    """The Arrow schema of an empty dataset with these columns."""
    return pa.schema([(c, schema.BY_NAME[c].type) for c in columns if c in schema.BY_NAME])
