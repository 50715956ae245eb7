"""Small stages over a made-up corpus: they show the pipeline's own behaviour and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pretrain_data.stage import (
    OrderStage,
    Processed,
    Shard,
    SourceStage,
    Stage,
    StageConfig,
    StageRun,
    Unit,
)


class LinesConfig(StageConfig):
    """One document a line of each *.txt under `input`."""


class Lines(SourceStage[LinesConfig]):
    name = "lines"
    config_class = LinesConfig
    shardwise = True
    adds = ("doc_id", "source_id", "text", "lang")

    def plan(self, root: Path) -> list[Shard]:
        paths = sorted(Path(str(self.config.input)).glob("*.txt"))
        units = [Unit(str(p), "text", label=p.name) for p in paths]
        return [Shard(f"part-{i:05d}", (unit,)) for i, unit in enumerate(units)]

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        for unit in shard.units:
            lines = Path(unit.path).read_text(encoding="utf-8").splitlines()
            ids = [f"{unit.label}-{i}" for i in range(len(lines))]
            batch = pa.RecordBatch.from_arrays(
                [
                    pa.array(ids),
                    pa.array(ids),
                    pa.array(lines, pa.large_string()),
                    pa.array(["en"] * len(lines)),
                ],
                names=["doc_id", "source_id", "text", "lang"],
            )
            yield Processed(batch, metrics={"files": 1})


class ShortConfig(StageConfig):
    min_chars: int = Field(default=3, ge=0)
    fail_on: str | None = None  # a file; while it exists, the shard named in it fails
    fault: str | None = None  # "lose" | "reorder" | "invent"
    poison: bool = False  # whether the pass over the whole dies of the texts that Fragile dies of


class Short(Stage[ShortConfig]):
    """Drops texts under `min_chars` code points; `total` is a figure from the whole dataset."""

    name = "short"
    config_class = ShortConfig
    adds = ("total",)
    total = 0

    def prepare(self, run: StageRun) -> None:
        poison = self.config.poison

        def count(batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
            rows = 0
            for batch in batches:
                rows += batch.num_rows
                texts = batch.column("text").to_pylist() if poison else []
                if "segfault" in texts:
                    os.kill(os.getpid(), signal.SIGSEGV)
                while "loop" in texts:
                    pass
            yield pa.RecordBatch.from_pydict({"shard": [shard.name], "rows": [rows]})

        frame = run.scan(["text"], count, pa.schema([("shard", pa.string()), ("rows", pa.int64())]))
        self.total = sum(row["rows"] for row in frame.collect())
        run.metrics["total"] = self.total

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        failing = Path(self.config.fail_on) if self.config.fail_on else None
        if failing is not None and failing.exists() and failing.read_text() == shard.name:
            raise RuntimeError("made to fail")
        for incoming in batches:
            batch = incoming
            if self.config.fault == "lose":
                batch = batch.slice(1)
            elif self.config.fault == "reorder":
                batch = batch.take(pa.array(range(batch.num_rows - 1, -1, -1)))
            elif self.config.fault == "invent":
                batch = batch.take(pa.array([0, *range(batch.num_rows)]))
            batch = batch.append_column("total", pa.array([self.total] * batch.num_rows))
            chars = pc.utf8_length(batch.column("text"))
            short = pc.less(chars, self.config.min_chars)
            rule = pc.if_else(short, pa.scalar("too_short"), pa.scalar(None, pa.string()))
            limit = pa.array([float(self.config.min_chars)] * batch.num_rows)
            yield Processed(batch, rule, chars.cast(pa.float64()), limit, metrics={"seen": batch.num_rows})


class Upper(Stage[StageConfig]):
    """Texts in capitals; looks at one document at a time."""

    name = "upper"
    shardwise = True

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        for batch in batches:
            at = batch.schema.get_field_index("text")
            yield Processed(batch.set_column(at, "text", pc.utf8_upper(batch.column(at))), metrics={"rows": len(batch)})


class FragileConfig(StageConfig):
    stall_seconds: float = 6.0
    isolation_memory_mb: int = 256


class Fragile(Stage[FragileConfig]):
    """Texts in capitals; some words are more than the process can bear."""

    name = "fragile"
    config_class = FragileConfig
    shardwise = True

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        for batch in batches:
            for text in batch.column("text").to_pylist():
                if text == "segfault":
                    os.kill(os.getpid(), signal.SIGSEGV)
                elif text == "loop":
                    while True:
                        pass
                elif text == "hog":
                    bytearray(1 << 31)
                elif text == "raise":
                    raise ValueError(text)
            yield Processed(batch)


class Sort(OrderStage[StageConfig]):
    """One file of all documents by text; counts tokens as characters."""

    name = "sort"

    def write(self, run: StageRun, out: Path) -> None:
        paths = [unit.path for shard in run.source.shards for unit in shard.units]
        frame = run.spark.read.parquet(*paths).orderBy("text", "doc_id").select("doc_id", "text")
        table = pa.Table.from_pylist([r.asDict() for r in frame.collect()])
        table = table.append_column("tokens", pc.utf8_length(table["text"]).cast(pa.int32()))
        import pyarrow.parquet as pq

        (out / "documents").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, out / "documents" / "part-00000.parquet")


TOYS: dict[str, type[Stage[Any]]] = {"lines": Lines, "upper": Upper, "fragile": Fragile, "short": Short, "sort": Sort}
