"""The keys of a stage or a part of it that asks a model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pretrain_data.kernels import scoring
from pretrain_data.models import loading

COMMIT = re.compile(r"[0-9a-f]{40}")


def check_pin(model: str, revision: str | None) -> None:
    """Raise ValueError for a hub id that isn't pinned to a commit."""
    if loading.is_hub_id(model) and not COMMIT.fullmatch(revision or ""):
        raise ValueError(
            f"model {model} is no folder here; as a hub id it needs a revision, which is {revision or 'not set'}: pin "
            "it to a commit (40 hex digits, from the model's page, Files and versions), so that every run reads the "
            "same weights"
        )


class CascadeConfig(BaseModel):
    """A cheap model in front: what it is sure of, the encoder is never asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: Path = Field(
        default=Path(loading.DEFAULT),
        description="Folder of a fastText model with the labels of `model` (`train … engine=fasttext`); default: the "
        "carried one.",
    )
    sure: Annotated[float, Field(gt=0.5, le=1)] = Field(
        default=0.98, description="Probability from which its answer counts."
    )

    def folder(self, task: str) -> Path:
        """Where the cheap model is."""
        return loading.first_of(task) if self.first == Path(loading.DEFAULT) else self.first


class ModelKeys(BaseModel):
    """Which model is asked, how much of a document it reads, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(default=loading.DEFAULT, description="default, a folder, or a hub id of a sequence classifier.")
    revision: str | None = Field(
        default=None, description="Commit of a hub checkpoint, 40 hex digits; hub ids need it."
    )
    max_tokens: Annotated[int, Field(ge=8, le=4096)] = Field(default=256, description="Tokens read of a document.")
    reading: scoring.Reading = Field(
        default="head", description="What is read of a longer document: head, or head-middle-tail (half, two quarters)."
    )
    precision: loading.Precision = Field(default="auto", description="fp32, bf16, or auto: bf16 on a GPU.")
    tokens_per_batch: Annotated[int, Field(ge=64)] | None = Field(
        default=None,
        description="Tokens in one batch, padding included. Default: 1,024 on a CPU, whose cache they fit; 131,072 "
        "on a GPU, halved where memory runs out.",
    )
    cascade: CascadeConfig | Literal[False] | None = Field(
        default=None,
        description="A cheap model that decides the clear cases. Default: where `model` is the carried one, the cheap "
        "one carried in front of it, if there is one; false: none.",
    )

    @model_validator(mode="after")
    def _pinned(self) -> ModelKeys:
        check_pin(self.model, self.revision)
        return self

    def cascade_of(self, task: str) -> CascadeConfig | None:
        """The cascade that `cascade` and its default mean for this task."""
        if self.cascade is None:
            carried = self.model == loading.DEFAULT and loading.first_of(task).is_dir()
            return CascadeConfig() if carried else None
        return self.cascade or None


class ScorerKeys(ModelKeys):
    """A model whose answer is one number from 0 to 1."""

    label: str = Field(default="high", description="The label whose probability is the score, of several.")
    logit_range: tuple[float, float] | None = Field(
        default=None, description="Of a regression head: the outputs that stand for 0 and 1. Default: its sigmoid."
    )

    @model_validator(mode="after")
    def _ascending(self) -> ScorerKeys:
        if self.logit_range is not None and self.logit_range[0] >= self.logit_range[1]:
            raise ValueError("logit_range: the first must be below the second")
        return self

    def score_of(self, labels: tuple[str, ...]) -> int:
        """Which of the model's outputs is the score. Raises ConfigError where `label` isn't among several."""
        return loading.index_of(self.label, labels, self.model)


def open_scorer(keys: ModelKeys, task: str, device: str) -> loading.Scorer:
    """The scorer that the keys describe, loaded once a process. Raises InputError or ConfigError."""
    span: Any = getattr(keys, "logit_range", None)
    scorer = loading.load(keys.model, task, keys.revision, device, keys.precision, span)
    cascade = keys.cascade_of(task)
    if cascade is None:
        return scorer
    from pretrain_data.models.cascade import Cascade

    return Cascade.of(loading.load(str(cascade.folder(task)), task), scorer, cascade.sure)


def model_files(keys: ModelKeys, task: str) -> list[Path]:
    """Local folders whose content decides what the keys mean; none for a hub id, which is pinned."""
    folder, cascade = loading.local_path(keys.model, task), keys.cascade_of(task)
    return [*([folder] if folder is not None else []), *([cascade.folder(task)] if cascade is not None else [])]
