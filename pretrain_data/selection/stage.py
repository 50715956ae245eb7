"""What stages that keep or drop by scores share: cuts before, a curve beside the documents, their sum at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.dataset import read_manifest
from pretrain_data.errors import ConfigError
from pretrain_data.kernels.tokens import Encoder
from pretrain_data.selection import calibrate, curve
from pretrain_data.selection.config import SelectionConfig
from pretrain_data.selection.judge import Cuts, curve_rows, judge
from pretrain_data.stage import Processed, Shard, Stage, StageRun
from pretrain_data.tokenizers import load_saved, load_tokenizer, tokenizer_files

C = TypeVar("C", bound=SelectionConfig)
#: Rows that the sum of a curve may have on the driver: groups times the steps that occur.
MOST_ROWS = 5_000_000


class SelectingStage(Stage[C]):
    """Drops documents by `keep_if`. A subclass brings the scores: `scored` adds them to a batch."""

    #: Documents whose scores must be made to find quantiles cost as much as the stage itself: a sample of them.
    samples = False

    def __init__(self, config: C) -> None:
        super().__init__(config)
        self.cuts: Cuts | None = calibrate.given(config)
        self.seed = 0
        self.output: str | None = None  # where the curve goes; None: nowhere
        self.tokenizer: str | None = None  # saved where executors see it

    def resources(self) -> list[Path]:
        return tokenizer_files(self.config.tokenizer)

    def scored(self, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, dict[str, float]]]:
        """Batches with `quality_score`, and figures of each."""
        for batch in batches:
            yield batch, {}

    def prepare(self, run: StageRun) -> None:
        self.seed, self.output = run.seed, str(run.output)
        saved = run.scratch / "tokenizer.json"
        load_tokenizer(self.config.tokenizer).save(saved)
        self.tokenizer = str(saved)
        if self.cuts is not None:
            return
        self.cuts, documents = calibrate.measured(self, run)
        found = {"by": list(self.cuts.by), "all": self.cuts.other, "values": dict(self.cuts.values)}
        run.metrics["cuts"] = found
        run.metrics["calibrated_on"] = documents
        before = read_manifest(run.workspace / self.name) or {}
        if before.get("metrics", {}).get("cuts") != found:
            run.unchanged = frozenset()  # what was cut elsewhere can't be taken over

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        if self.output is None:
            yield from self._judge(batches, None)
            return
        writer = curve.CurveWriter(Path(self.output), shard.name)
        try:
            yield from self._judge(batches, writer)
            writer.close()
        finally:
            writer.abandon()

    def _judge(self, batches: Iterator[pa.RecordBatch], writer: curve.CurveWriter | None) -> Iterator[Processed]:
        if self.cuts is None:
            raise ConfigError(f"{self.name}: cut.quantile looks at all documents first; run the stage from a config")
        for batch, figures in self.scored(batches):
            processed = judge(batch, self.config, self.cuts, self.seed)
            if writer is not None:
                writer.add(curve_rows(batch, self.config, self.seed, self.encoder))
            yield replace(processed, metrics={**processed.metrics, **figures})

    @cached_property
    def encoder(self) -> Encoder:
        if self.tokenizer is None:
            return load_tokenizer(self.config.tokenizer)
        return load_saved(self.tokenizer)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "encoder"}  # made again where it is used

    def conclude(self, run: StageRun) -> None:
        """Add up the shards' curves; plan quality reads the sum."""
        from pyspark.sql import functions as f

        files = sorted(str(p) for p in (run.output / curve.FOLDER).rglob("*.parquet") if not p.name.startswith("."))
        if not files:
            return
        keys = [*curve.GROUP, "last"]
        frame = run.spark.read.parquet(*files).groupBy(*keys).agg(*(f.sum(c).alias(c) for c in curve.COUNTS)).cache()
        rows = frame.count()
        if rows > MOST_ROWS:
            run.warn(f"the curve has {rows:,} rows (sources × languages × …), too many to add up: no plan quality")
        else:
            pq.write_table(curve.summed(frame.toArrow().cast(curve.SCHEMA)), run.output / curve.WHOLE)
        frame.unpersist()
