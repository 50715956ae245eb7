"""Cuts by quantile: a first pass over scores, before the first document is judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pretrain_data.selection.config import CutConfig, SelectionConfig
from pretrain_data.selection.curve import STEPS
from pretrain_data.selection.expression import CALIBRATED, drawn
from pretrain_data.selection.judge import Cuts, scored
from pretrain_data.stage import Shard, StageRun

if TYPE_CHECKING:
    from pretrain_data.selection.stage import SelectingStage

OUT = pa.schema([("group", pa.string()), ("step", pa.int32()), ("documents", pa.int64())])


def given(config: SelectionConfig) -> Cuts | None:
    """The cuts that the config states; None where they are to be measured."""
    cut = config.cut
    if cut is None:
        return Cuts()
    return None if cut.quantile is not None else Cuts(cut.by, cut.at or 0.0, cut.values)


def measured(stage: SelectingStage[Any], run: StageRun) -> tuple[Cuts, int]:
    """The quantile of each group's scores, and on how many documents they stand.

    Where the stage makes the scores itself, on a sample of documents by their ids.
    """
    from pyspark.sql import functions as f

    config: SelectionConfig = stage.config
    assert config.cut is not None
    share = 1.0
    if stage.samples:
        documents = _documents(run)
        share = min(1.0, config.cut.sample / documents) if documents else 1.0
    seed = run.seed

    def count(batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
        for batch, _ in stage.scored(_sampled(batches, seed, share)):
            rows = scored(batch, config).group_by(["group", "step"]).aggregate([([], "count_all")])
            yield from rows.rename_columns(OUT.names).to_batches()

    wanted = ["doc_id", "quality_score", *config.cut.by]
    if stage.samples:
        wanted += ["text", "lang", "format"]
    frame = run.scan(list(dict.fromkeys(wanted)), count, OUT).groupBy("group", "step").agg(f.sum("documents"))
    rows = frame.collect()  # groups times the steps of a score: bounded
    return cuts(config.cut, [(r[0], r[1], r[2]) for r in rows]), sum(r[2] for r in rows)


def _documents(run: StageRun) -> int:
    if all(shard.rows is not None for shard in run.source.shards):
        return sum(shard.rows or 0 for shard in run.source.shards)

    def count(batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"documents": [sum(b.num_rows for b in batches)]})

    rows = run.scan(["doc_id"], count, pa.schema([("documents", pa.int64())])).agg({"documents": "sum"}).collect()
    return int(rows[0][0] or 0)


def _sampled(batches: Iterator[pa.RecordBatch], seed: int, share: float) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if share >= 1:
            yield batch
            continue
        yield batch.filter(pa.array(drawn(batch.column("doc_id"), seed, CALIBRATED) < share))


def cuts(config: CutConfig, rows: list[tuple[str, int, int]]) -> Cuts:
    """Cuts from (group, step of the score, documents).

    Of n documents in order of score the cut is the score of number ⌊quantile · n⌋, counted from 0: no larger share lies
    below it, and no higher cut has that property.
    """
    assert config.quantile is not None
    counts: dict[str, np.ndarray] = {}
    for group, step, documents in rows:
        counts.setdefault(group, np.zeros(STEPS + 1, np.int64))[step] += documents
    whole = sum(counts.values(), np.zeros(STEPS + 1, np.int64))
    values = {g: _quantile(n, config.quantile) for g, n in sorted(counts.items()) if n.sum() >= config.min_documents}
    return Cuts(config.by, _quantile(whole, config.quantile), values)


def _quantile(counts: np.ndarray, share: float) -> float:
    total = int(counts.sum())
    if not total:
        return 0.0
    step = int(np.searchsorted(np.cumsum(counts), int(share * total), side="right"))
    return step / STEPS
