"""One shard through one stage, on an executor: read, process, check, write, and only then the sidecar.

The sidecar `<staging>/shards/<name>.json` is written last: a shard that has one is done, whatever happened
to the job since. An attempt leaves a marker while it is at work; a marker of a process that is gone means
that the shard killed its worker (or that somebody did), and the next attempt is made with care: `isolate`.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from pretrain_data import isolate
from pretrain_data.dataset import read_shard
from pretrain_data.errors import AccountingError, PretrainDataError, storage
from pretrain_data.poison import Poison
from pretrain_data.stage import Processed, Shard, SourceStage, Stage
from pretrain_data.writer import ShardWriter, write_atomically


def run_shard(stage: Stage[Any], shard: Shard, staging: Path) -> dict[str, Any]:
    """Process one shard of `stage` and write it under `staging`; the sidecar's content is returned.

    A shard that has its sidecar already is not done again. A document that makes a `shardwise` stage raise,
    crash, stall or run out of memory is dropped as `poison`. Raises AccountingError when the stage loses,
    adds or reorders rows, StorageError when the disk is full or the like.
    """
    sidecar = staging / "shards" / f"{shard.name}.json"
    if sidecar.exists():
        return _read(sidecar)
    with storage(staging):
        return _run(stage, shard, staging, sidecar)


def _run(stage: Stage[Any], shard: Shard, staging: Path, sidecar: Path) -> dict[str, Any]:
    if not stage.shardwise:
        return attempt(stage, shard, staging)
    marker = staging / "attempts" / f"{shard.name}.json"
    if not _died(marker):
        try:
            with _marked(marker):
                return attempt(stage, shard, staging)
        except (PretrainDataError, OSError):
            raise  # the input's, the config's or the machine's fault, not a document's
        except Exception as error:
            cause = error
    else:
        cause = None
    with _marked(marker):
        isolate.run(stage, shard, lambda poison, heard: attempt(stage, shard, staging, poison, heard), cause)
    return _read(sidecar)


def attempt(
    stage: Stage[Any],
    shard: Shard,
    staging: Path,
    poison: Poison | None = None,
    heard: Callable[[int, int], None] = lambda rows_in, rows_out: None,
) -> dict[str, Any]:
    """Process and write the shard without its `poison`; `heard` is told how many rows went in and came out."""
    poison = poison or Poison()
    started, cpu = time.time(), time.process_time()
    writer = ShardWriter(stage.name, shard.name, staging)
    source = isinstance(stage, SourceStage)
    try:
        with isolate.watched(stage.config.stall_seconds) as alive:
            watch = _Watch(stage.name, shard.name)

            def tell() -> None:
                alive()
                heard(watch.rows_in, watch.rows_in - watch.waiting)

            if source:
                shard = poison.without(shard, writer.write)
            batches = iter(()) if source else watch.incoming(shard, writer, poison, tell)
            for processed in stage.process(batches, shard):
                if not source:
                    watch.outgoing(processed)
                tell()
                writer.write(processed)
            watch.finish()
            stats = writer.close()
    except BaseException:
        writer.abandon()
        raise
    stats["seconds"] = round(time.time() - started, 3)
    stats["cpu_seconds"] = round(time.process_time() - cpu, 3)
    write_atomically(staging / "shards" / f"{shard.name}.json", json.dumps(stats, ensure_ascii=False, sort_keys=True))
    return stats


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


class _Watch:
    """Checks that the rows which come out are those that went in, in order."""

    def __init__(self, stage: str, shard: str) -> None:
        self.where = f"stage {stage}, shard {shard}"
        self.ids: list[pa.Array] = []
        self.waiting = self.rows_in = 0

    def incoming(
        self, shard: Shard, writer: ShardWriter, poison: Poison, tell: Callable[[], None]
    ) -> Iterator[pa.RecordBatch]:
        read = 0
        for whole in read_shard(shard, dropped=writer.write):
            batch = poison.strained(whole, read, writer.write)
            read += whole.num_rows
            if not batch.num_rows:
                continue
            self.ids.append(batch.column("doc_id"))
            self.waiting += batch.num_rows
            self.rows_in += batch.num_rows
            tell()
            yield batch

    def outgoing(self, processed: Processed) -> None:
        out = processed.batch.column("doc_id")
        if len(out) > self.waiting:
            raise AccountingError(f"{self.where}: {len(out)} rows came out of {self.waiting}")
        taken = 0
        while taken < len(out):
            head = self.ids.pop(0)
            count = min(len(head), len(out) - taken)
            if not head.slice(0, count).equals(out.slice(taken, count)):
                raise AccountingError(f"{self.where}: documents came out in another order than they went in")
            if count < len(head):
                self.ids.insert(0, head.slice(count))
            taken += count
        self.waiting -= len(out)

    def finish(self) -> None:
        if self.waiting:
            raise AccountingError(f"{self.where}: {self.waiting} documents went in and did not come out")


@contextmanager
def _marked(marker: Path) -> Iterator[None]:
    """The marker stays exactly where this process ends without a word."""
    write_atomically(marker, json.dumps({"host": socket.gethostname(), "process": os.getpid()}))
    try:
        yield
    finally:
        marker.unlink(missing_ok=True)


def _died(marker: Path) -> bool:
    """Whether an attempt at the shard ended without a word. One that another host has at work seems dead too."""
    try:
        owner = _read(marker)
    except FileNotFoundError:
        return False
    if owner["host"] != socket.gethostname():
        return True
    if owner["process"] == os.getpid():
        return True  # a new process with an old number
    return not Path(f"/proc/{owner['process']}").exists()
