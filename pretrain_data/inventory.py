"""What lies in an output, with size and checksum: counted by Spark tasks when written, checked by `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.dataset import MANIFEST, on_each
from pretrain_data.hashing import file_digest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def files(folder: Path) -> list[str]:
    """Paths below `folder`, relative to it and sorted; the manifest is left out."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)


def stamps(spark: SparkSession, folder: Path, names: list[str], tasks: int | None) -> dict[str, dict[str, Any]]:
    """Bytes and XXH3-128 of the named files, one Spark task for several of them."""

    def work(name: str) -> dict[str, Any]:
        return _stamp(folder / name)

    return dict(zip(names, on_each(spark, names, work, tasks), strict=True))


def count_documents(spark: SparkSession, folder: Path, names: list[str], tasks: int | None) -> list[dict[str, Any]]:
    """Rows, characters, tokens, bytes and checksum of the named Parquet files of `folder`, sorted by name."""

    def work(name: str) -> dict[str, Any]:
        row = {"name": name.removesuffix(".parquet"), **_stamp(folder / name), "rows": 0, "chars": 0, "tokens": 0}
        with pq.ParquetFile(folder / name) as file:
            for batch in file.iter_batches(columns=["tokens", "text"], batch_size=1024):
                row["rows"] += batch.num_rows
                row["tokens"] += pc.sum(batch.column("tokens")).as_py() or 0
                row["chars"] += pc.sum(pc.utf8_length(batch.column("text"))).as_py() or 0
        return row

    return sorted(on_each(spark, names, work, tasks), key=lambda row: str(row["name"]))


def _stamp(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "xxh3": file_digest(path)}
