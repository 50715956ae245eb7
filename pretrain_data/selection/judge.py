"""Judges batches by `keep_if`, with the cut of each document's group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data.kernels.tokens import Encoder, count_column
from pretrain_data.selection import curve
from pretrain_data.selection.config import SelectionConfig
from pretrain_data.selection.expression import COUNTED, drawn, drops, keeps, scores, strings, view
from pretrain_data.stage import Processed

RULE = "low_quality"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Cuts:
    """A cut for each group of documents, and one for all others."""

    by: tuple[str, ...] = ("lang",)
    other: float = 0.0
    values: Mapping[str, float] = field(default_factory=dict)

    def of(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """The cut of each document."""
        codes, names = groups(batch, self.by)
        found = np.array([self.values.get(name, self.other) for name in names], np.float32)
        return found[codes] if len(names) else np.zeros(0, np.float32)


def groups(batch: pa.RecordBatch, by: tuple[str, ...]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """For each document the number of its group, and the names of the groups: values joined by `/`."""
    joined = pc.binary_join_element_wise(*(attribute(batch, name) for name in by), "/")
    coded = joined.dictionary_encode()
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int64), coded.dictionary.to_pylist()


def attribute(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column of text, `unknown` where there is none."""
    return pc.fill_null(strings(batch, name), UNKNOWN)


def judge(batch: pa.RecordBatch, config: SelectionConfig, cuts: Cuts, seed: int) -> Processed:
    """The batch, and what of it is dropped for which comparison. A document without a score is kept."""
    columns = dict(view(batch, keeps(config.expression).names, seed, config.pareto_alpha))
    columns["cut"] = cuts.of(batch)
    unscored = np.isnan(columns["score"])
    gone = ~(unscored | keeps(config.expression).test(columns))
    value, threshold = drops(config.expression).evidence(columns, gone)
    return Processed(
        batch,
        rule=pa.array(np.full(batch.num_rows, RULE), mask=~gone),
        value=pa.array(value, from_pandas=True),
        threshold=pa.array(threshold, from_pandas=True),
        metrics={"scored": float((~unscored).sum()), "passed_by": float(unscored.sum())},
    )


def curve_rows(batch: pa.RecordBatch, config: SelectionConfig, seed: int, encoder: Encoder) -> pa.Table:
    """A row a document: its groups, the last step at which it is kept, characters, and tokens where counted."""
    keep = keeps(config.expression)
    columns = dict(view(batch, keep.names, seed, config.pareto_alpha))
    unscored = np.isnan(columns["score"])

    def kept(cut: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        columns["cut"] = cut
        return unscored | keep.test(columns)

    last = curve.last_kept(kept, batch.num_rows)
    chars = pc.fill_null(pc.utf8_length(batch.column("text")), 0).cast(pa.int64())
    if "tokens" in batch.schema.names:
        counted, tokens = chars, pc.fill_null(batch.column("tokens").cast(pa.int64()), 0)
    else:
        taken = drawn(batch.column("doc_id"), seed, COUNTED) < config.count_tokens
        found = np.zeros(batch.num_rows, np.int64)
        if taken.any():
            found[taken] = count_column(batch.column("text").filter(pa.array(taken)), encoder)
        counted, tokens = pc.multiply(chars, pa.array(taken.astype(np.int64))), pa.array(found)
    ones = pa.array(np.ones(batch.num_rows, np.int64))
    groups = [attribute(batch, name) for name in curve.GROUP]
    return pa.Table.from_arrays([*groups, pa.array(last), ones, chars, counted, tokens], names=curve.SCHEMA.names)


def scored(batch: pa.RecordBatch, config: SelectionConfig) -> pa.Table:
    """Group and step of the score of each document that has one, for the quantiles."""
    assert config.cut is not None
    found = scores(batch)
    known = ~np.isnan(found)
    step = np.floor(np.where(known, found, 0).astype(np.float64) * curve.STEPS + 1e-3).astype(np.int32)
    codes, names = groups(batch, config.cut.by)
    table = pa.table({"group": pa.array(names, pa.string()).take(pa.array(codes)), "step": step})
    return table.filter(pa.array(known))
