"""What lies in an output, with size and checksum: counted by Spark tasks when written, checked by `verify`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.dataset import MANIFEST, run_on_shards
from pretrain_data.hashing import file_digest
from pretrain_data.stage import Shard, Unit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_FILE = pa.schema([("name", pa.string()), ("bytes", pa.int64()), ("xxh3", pa.string())])
_BLOCK = pa.schema([*_FILE, ("rows", pa.int64()), ("chars", pa.int64()), ("tokens", pa.int64())])


def files(folder: Path) -> list[str]:
    """Paths below `folder`, relative to it and sorted; the manifest is left out."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)


def stamps(spark: SparkSession, folder: Path, names: list[str], tasks: int | None) -> dict[str, dict[str, Any]]:
    """Bytes and XXH3-128 of the named files, one Spark task for several of them."""

    def work(shard: Shard) -> Iterator[pa.RecordBatch]:
        path = Path(shard.units[0].path)
        row = {"name": shard.name, "bytes": path.stat().st_size, "xxh3": file_digest(path)}
        yield pa.RecordBatch.from_pylist([row], _FILE)

    rows = _on_files(spark, folder, names, work, _FILE, tasks)
    return {row.pop("name"): row for row in rows}


def count_documents(spark: SparkSession, folder: Path, names: list[str], tasks: int | None) -> list[dict[str, Any]]:
    """Rows, characters, tokens, bytes and checksum of the named Parquet files of `folder`, sorted by name."""

    def work(shard: Shard) -> Iterator[pa.RecordBatch]:
        path = Path(shard.units[0].path)
        row: dict[str, Any] = {"name": shard.name, "bytes": path.stat().st_size, "xxh3": file_digest(path)}
        row |= {"rows": 0, "chars": 0, "tokens": 0}
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["tokens", "text"], batch_size=1024):
                row["rows"] += batch.num_rows
                row["tokens"] += pc.sum(batch.column("tokens")).as_py() or 0
                row["chars"] += pc.sum(pc.utf8_length(batch.column("text"))).as_py() or 0
        yield pa.RecordBatch.from_pylist([row], _BLOCK)

    return [
        r | {"name": r["name"].removesuffix(".parquet")} for r in _on_files(spark, folder, names, work, _BLOCK, tasks)
    ]


def _on_files(
    spark: SparkSession, folder: Path, names: list[str], work: Any, out: pa.Schema, tasks: int | None
) -> list[dict[str, Any]]:
    if not names:
        return []
    shards = tuple(Shard(name, (Unit(str(folder / name), "file"),)) for name in names)
    rows = [row.asDict() for row in run_on_shards(spark, shards, work, out, tasks).collect()]
    return sorted(rows, key=lambda row: str(row["name"]))
