"""pii: personal data becomes placeholders, boilerplate lines go; the only stage that edits text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from pretrain_data import schema
from pretrain_data.kernels import boilerplate, pii
from pretrain_data.stage import Processed, Shard, Stage, StageConfig

Action = Literal["placeholder", "remove", "keep"]
_LISTS = Path(__file__).resolve().parents[1] / "wordlists"


class PiiConfig(StageConfig):
    """Which personal data is looked for, and what becomes of it."""

    types: tuple[str, ...] | None = Field(default=None, description="Types that are looked for. Default: all.")
    actions: dict[str, Action] = Field(
        default_factory=dict,
        description="Action by type: placeholder (<|phone|>), remove, or keep. Default: placeholder.",
    )
    max_spans: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="A document with more spans is dropped as pii_too_many: a list of people."
    )
    boilerplate: bool = Field(
        default=True, description="Remove reprint notices, credits, reference lists and the like."
    )
    boilerplate_formats: tuple[str, ...] = Field(
        default=("prose",), description="Formats that boilerplate is removed from."
    )
    min_chars: Annotated[int, Field(ge=0)] = Field(
        default=1, description="A document with fewer characters left is dropped as nothing_left."
    )

    @field_validator("types", "actions")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for name in value or ():
            if name not in pii.known_types():
                raise ValueError(f"unknown type {name}; known: {', '.join(pii.known_types())}")
        return value


class PiiStage(Stage[PiiConfig]):
    """Scrubs personal data and boilerplate."""

    name: ClassVar[str] = "pii"
    config_class = PiiConfig
    shardwise = True
    needs = ("doc_id", "text")
    adds = ("pii_spans",)

    def resources(self) -> list[Path]:
        return [_LISTS / "pii.yaml", _LISTS / "boilerplate.yaml"]

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        for batch in batches:
            yield self._scrub(batch)

    def _scrub(self, batch: pa.RecordBatch) -> Processed:
        config = self.config
        spans = pii.find(batch.column("text"), config.types)
        texts = batch.column("text").to_pylist()
        formats = batch.column("format").to_pylist() if "format" in batch.schema.names else ["prose"] * len(texts)
        metrics: Counter[str] = Counter()
        out, rules, values, limits = [], [], [], []
        for text, found, kind in zip(texts, spans, formats, strict=True):
            metrics.update(f"spans.{span.type}" for span in found)
            new = pii.scrub(text or "", found, self._replacement) if found else text or ""
            if config.boilerplate and kind in config.boilerplate_formats:
                shorter = boilerplate.remove(new)
                if len(shorter) < len(new):
                    metrics["boilerplate.documents"] += 1
                    metrics["boilerplate.chars"] += len(new) - len(shorter)
                new = shorter
            rule, value, limit = None, None, None
            if config.max_spans is not None and len(found) > config.max_spans:
                rule, value, limit = "pii_too_many", float(len(found)), float(config.max_spans)
            elif len(new.strip()) < config.min_chars:
                rule, value, limit = "nothing_left", float(len(new.strip())), float(config.min_chars)
            out.append(new)
            rules.append(rule)
            values.append(value)
            limits.append(limit)
        metrics["documents_with_spans"] = sum(1 for found in spans if found)
        at = batch.schema.get_field_index("text")
        scrubbed = batch.set_column(at, "text", pa.array(out, pa.large_string()))
        column = pa.array([[s._asdict() for s in found] for found in spans], schema.PII_SPANS)
        known = scrubbed.schema.get_field_index("pii_spans")
        scrubbed = (
            scrubbed.set_column(known, "pii_spans", column)
            if known >= 0
            else scrubbed.append_column("pii_spans", column)
        )
        return Processed(
            scrubbed,
            rule=pa.array(rules, pa.string()),
            value=pa.array(values, pa.float64()),
            threshold=pa.array(limits, pa.float64()),
            metrics=metrics,
        )

    def _replacement(self, span: pii.Span, value: str) -> str:
        action = self.config.actions.get(span.type, "placeholder")
        return {"placeholder": f"<|{span.type.lower()}|>", "remove": "", "keep": value}[action]
