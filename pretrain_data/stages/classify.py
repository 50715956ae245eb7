"""classify: each document gets a domain, and by the taxonomy the channel whose loss it counts in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pretrain_data.kernels import scoring
from pretrain_data.models import taxonomy
from pretrain_data.models.config import ModelKeys, model_files, open_scorer
from pretrain_data.stage import Processed, Shard, Stage, StageConfig

DECIMALS = 4


class ClassifyConfig(ModelKeys, StageConfig):
    """Which model tells domains, the taxonomy behind them, and how sure it must be."""

    max_tokens: Annotated[int, Field(ge=8, le=4096)] = Field(default=384, description="Tokens read of a document.")
    reading: scoring.Reading = Field(
        default="head-middle-tail",
        description="What is read of a longer document: head, or head-middle-tail (half, two quarters).",
    )
    taxonomy: Path = Field(default=taxonomy.FILE, description="YAML file of domains, formats and channels.")
    sure: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.6, description="From this probability on a document has one domain; below, all that min_score allows."
    )
    min_score: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.4, description="Where no domain reaches this the model abstains: the domain is `other`."
    )

    @model_validator(mode="after")
    def _ordered(self) -> ClassifyConfig:
        if self.min_score > self.sure:
            raise ValueError("min_score must not be above sure")
        return self


class ClassifyStage(Stage[ClassifyConfig]):
    """Tells domains by format or a model (fastText or an encoder of the BERT family), and channels by the taxonomy."""

    name: ClassVar[str] = "classify"
    config_class = ClassifyConfig
    shardwise = True
    needs = ("doc_id", "text")
    adds = ("domain", "domain_score", "domains", "channel")

    def __init__(self, config: ClassifyConfig) -> None:
        super().__init__(config)
        self.taxonomy = taxonomy.load(config.taxonomy)

    def resources(self) -> list[Path]:
        return [self.config.taxonomy, *model_files(self.config, "domain")]

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        scorer = open_scorer(self.config, "domain", scoring.device_of_task())
        labels = [self.taxonomy.domain(label, self.config.model) for label in scorer.labels]

        def read(batch: pa.RecordBatch) -> tuple[list[str | None], npt.NDArray[np.int64], Any]:
            domains = self._by_format(batch)
            asked = np.flatnonzero([domain is None for domain in domains])
            texts = batch.column("text").take(pa.array(asked)).to_pylist()
            return domains, asked, scorer.read([t or "" for t in texts], self.config.max_tokens, self.config.reading)

        for batch, (domains, asked, tokens) in scoring.ahead(batches, read):
            yield self._labelled(batch, domains, asked, scorer.score(tokens, self.config.tokens_per_batch), labels)

    def _by_format(self, batch: pa.RecordBatch) -> list[str | None]:
        if "format" not in batch.schema.names:
            return [None] * batch.num_rows
        return [self.taxonomy.formats.get(f) for f in batch.column("format").to_pylist()]

    def _labelled(
        self,
        batch: pa.RecordBatch,
        domains: list[str | None],
        asked: npt.NDArray[np.int64],
        found: npt.NDArray[np.float32],
        labels: list[str],
    ) -> Processed:
        """The batch with what `found` (asked × labels, probabilities) and the formats (`domains`, else None) say."""
        several: list[list[str]] = [[d] if d is not None else [] for d in domains]
        scores = np.ones(batch.num_rows, np.float32)
        found = np.round(found, DECIMALS)
        order = np.argsort(-found, axis=1, kind="stable")
        for i, row, ranked in zip(asked.tolist(), found, order, strict=True):
            scores[i] = row[ranked[0]]
            least = self.config.min_score
            possible = [labels[k] for k in ranked[: 1 if scores[i] >= self.config.sure else None] if row[k] >= least]
            several[i] = list(dict.fromkeys(possible))
            domains[i] = possible[0] if possible else taxonomy.OTHER
        unsure = sum(len(several[i]) != 1 for i in asked.tolist())
        langs = batch.column("lang").to_pylist() if "lang" in batch.schema.names else [None] * batch.num_rows
        channels = [self.taxonomy.channel(str(d), lang) for d, lang in zip(domains, langs, strict=True)]
        out = batch
        for name, values in (
            ("domain", pa.array(domains, pa.string())),
            ("domain_score", pa.array(scores, pa.float32())),
            ("domains", pa.array(several, pa.list_(pa.string()))),
            ("channel", pa.array(channels, pa.string())),
        ):
            known = out.schema.get_field_index(name)
            out = out.set_column(known, name, values) if known >= 0 else out.append_column(name, values)
        abstained = float(pc.sum(pc.equal(out.column("domain"), taxonomy.OTHER)).as_py() or 0)
        return Processed(out, metrics={"asked": len(asked), "unsure": unsure, "other": abstained})
