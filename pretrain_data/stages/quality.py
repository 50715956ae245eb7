"""quality: an encoder's score for prose, as one feature among others; other formats never meet it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pretrain_data.kernels import scoring
from pretrain_data.models import loading
from pretrain_data.stage import Processed, Shard, Stage, StageConfig

DECIMALS = 4  # a score is kept to these: the rest differs between devices


class QualityConfig(StageConfig):
    """Which model scores, and what a low score means."""

    model: str = Field(default=loading.DEFAULT, description="default, a folder, or a hub id of a sequence classifier.")
    revision: str | None = Field(default=None, description="Commit of a hub checkpoint; pin it.")
    label: str = Field(default="high", description="The label whose probability is the score, of several.")
    max_tokens: Annotated[int, Field(ge=8, le=4096)] = Field(default=256, description="Tokens read of a document.")
    reading: scoring.Reading = Field(
        default="head", description="What is read of a longer document: head, or head-middle-tail (half, two quarters)."
    )
    precision: loading.Precision = Field(default="auto", description="fp32, bf16, or auto: bf16 on a GPU.")
    tokens_per_batch: Annotated[int, Field(ge=64)] = Field(
        default=16_384, description="Tokens in one batch, padding included."
    )
    formats: tuple[str, ...] = Field(default=("prose",), description="Formats that are scored; all others pass.")
    min_score: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        description="Drop scored documents below this, by language; `other` for languages not named. Default: none.",
    )


class QualityStage(Stage[QualityConfig]):
    """Scores prose with a BERT-family encoder."""

    name: ClassVar[str] = "quality"
    config_class = QualityConfig
    shardwise = True
    needs = ("doc_id", "text")
    adds = ("quality_score",)

    def resources(self) -> list[Path]:
        folder = loading.local_path(self.config.model, "quality")
        return [folder] if folder is not None else []

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        config = self.config
        classifier = loading.load(config.model, "quality", config.revision, scoring.device_of_task(), config.precision)
        index = classifier.labels.index(config.label) if config.label in classifier.labels else 0
        for batch in batches:
            wanted = formats_mask(batch, config.formats)
            texts = batch.column("text").filter(wanted).to_pylist()
            read = classifier.read([t or "" for t in texts], config.max_tokens, config.reading)
            found = classifier.score(read, config.tokens_per_batch)
            scores = np.full(batch.num_rows, np.nan, np.float32)
            mask = wanted.to_numpy(zero_copy_only=False)
            scores[mask] = np.round(found[:, index], DECIMALS)
            yield self._judge(batch, pa.array(scores, pa.float32(), mask=~mask))

    def _judge(self, batch: pa.RecordBatch, scores: pa.Array) -> Processed:
        known = batch.schema.get_field_index("quality_score")
        out = (
            batch.set_column(known, "quality_score", scores)
            if known >= 0
            else batch.append_column("quality_score", scores)
        )
        limits = self.config.min_score
        languages = batch.column("lang").to_pylist() if "lang" in batch.schema.names else ["other"] * batch.num_rows
        limit = pa.array([limits.get(lang, limits.get("other")) for lang in languages], pa.float64())
        low = pc.fill_null(pc.less(scores.cast(pa.float64()), limit), False)
        rule = pc.if_else(low, pa.scalar("low_quality"), pa.scalar(None, pa.string()))
        metrics = {"scored": float(len(scores) - scores.null_count), "passed_by": float(scores.null_count)}
        return Processed(out, rule=rule, value=scores.cast(pa.float64()), threshold=limit, metrics=metrics)


def formats_mask(batch: pa.RecordBatch, formats: tuple[str, ...]) -> Any:
    """Which rows have one of these formats; without the column, all."""
    if "format" not in batch.schema.names:
        return pa.array([True] * batch.num_rows)
    return pc.fill_null(pc.is_in(batch.column("format"), pa.array(formats, pa.string())), True)
