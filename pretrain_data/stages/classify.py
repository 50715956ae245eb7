"""classify: each document gets a domain, and by the taxonomy the channel whose loss it counts in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from pretrain_data import yamltree
from pretrain_data.errors import ConfigError
from pretrain_data.kernels import scoring
from pretrain_data.models import loading
from pretrain_data.stage import Processed, Shard, Stage, StageConfig

TAXONOMY = Path(loading.__file__).parent / "taxonomy.yaml"
OTHER = "other"
DECIMALS = 4


class ClassifyConfig(StageConfig):
    """Which model tells domains, and the taxonomy behind them."""

    model: str = Field(default=loading.DEFAULT, description="default, a folder, or a hub id of a sequence classifier.")
    revision: str | None = Field(default=None, description="Commit of a hub checkpoint; pin it.")
    taxonomy: Path = Field(default=TAXONOMY, description="YAML file of formats, domains and channels.")
    max_tokens: Annotated[int, Field(ge=8, le=4096)] = Field(default=256, description="Tokens read of a document.")
    reading: scoring.Reading = Field(
        default="head", description="What is read of a longer document: head, or head-middle-tail (half, two quarters)."
    )
    precision: loading.Precision = Field(default="auto", description="fp32, bf16, or auto: bf16 on a GPU.")
    tokens_per_batch: Annotated[int, Field(ge=64)] = Field(
        default=16_384, description="Tokens in one batch, padding included."
    )
    min_score: Annotated[float, Field(ge=0, le=1)] = Field(default=0.5, description="Below this the domain is `other`.")


class ClassifyStage(Stage[ClassifyConfig]):
    """Tells domains with a BERT-family encoder, and channels by the taxonomy."""

    name: ClassVar[str] = "classify"
    config_class = ClassifyConfig
    shardwise = True
    needs = ("doc_id", "text")
    adds = ("domain", "domain_score", "channel")

    def __init__(self, config: ClassifyConfig) -> None:
        super().__init__(config)
        self.taxonomy: dict[str, Any] = yamltree.load(config.taxonomy).value
        for part in ("formats", "domains", "channels"):
            if part not in self.taxonomy:
                raise ConfigError(f"{config.taxonomy}: {part} is missing")

    def resources(self) -> list[Path]:
        folder = loading.local_path(self.config.model, "domain")
        return [self.config.taxonomy, *([folder] if folder is not None else [])]

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        config = self.config
        classifier = loading.load(config.model, "domain", config.revision, scoring.device_of_task(), config.precision)
        for batch in batches:
            rows = batch.num_rows
            formats = batch.column("format").to_pylist() if "format" in batch.schema.names else [None] * rows
            languages = batch.column("lang").to_pylist() if "lang" in batch.schema.names else [None] * rows
            domains = [self.taxonomy["formats"].get(f) for f in formats]
            scores = np.ones(rows, np.float32)
            asked = [i for i, domain in enumerate(domains) if domain is None]
            texts = batch.column("text").take(pa.array(asked, pa.int64())).to_pylist()
            read = classifier.read([t or "" for t in texts], config.max_tokens, config.reading)
            found = classifier.score(read, config.tokens_per_batch)
            for i, row in zip(asked, found, strict=True):
                best = int(row.argmax())
                scores[i] = round(float(row[best]), DECIMALS)
                domains[i] = classifier.labels[best] if scores[i] >= config.min_score else OTHER
            out = batch
            for name, values in (
                ("domain", pa.array(domains, pa.string())),
                ("domain_score", pa.array(scores, pa.float32())),
                ("channel", pa.array([self._channel(d, lang) for d, lang in zip(domains, languages, strict=True)])),
            ):
                known = out.schema.get_field_index(name)
                out = out.set_column(known, name, values) if known >= 0 else out.append_column(name, values)
            yield Processed(out, metrics={"asked": len(asked)})

    def _channel(self, domain: str | None, lang: str | None) -> str:
        parent = self.taxonomy["domains"].get(domain, "knowledge")
        for line in self.taxonomy["channels"]:
            if line["parent"] == parent and line.get("lang", lang) == lang:
                return str(line["channel"])
        return "other-knowledge"
