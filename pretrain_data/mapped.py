"""Arrow files that are mapped, not read."""

from __future__ import annotations

import uuid
from pathlib import Path

import pyarrow as pa


def save(path: Path, table: pa.Table, compression: str | None = None) -> None:
    """Write a table as one record batch; a task that runs twice writes the same file twice.

    What is compressed (`zstd`, `lz4`) is smaller and no longer mapped but read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with (
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer,
    ):
        writer.write_table(table.combine_chunks())
    temporary.rename(path)


def load(path: Path) -> pa.Table:
    """The table of a file, mapped."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
