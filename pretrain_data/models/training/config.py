"""What `pretrain-data train quality CONFIG` and `train domain CONFIG` read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pretrain_data.kernels import scoring
from pretrain_data.llm import EndpointConfig, Limits


class Part(BaseModel):
    """A mapping in the config; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceRule(Part):
    """All documents that fit get this label; the first rule that fits decides."""

    label: str = Field(description="The label given.")
    source: list[str] = Field(default_factory=lambda: ["*"], description="Names of sources, with * and ?.")
    lang: list[str] | None = Field(default=None, description="Languages; default: any.")
    where: dict[str, list[str]] = Field(default_factory=dict, description="Other columns and the values that fit.")


class LabelledFile(Part):
    """Parquet or JSON lines with texts; labelled by a column, by the rules, or by the LLM."""

    path: Path = Field(description="A Parquet or JSONL file, or a folder of them.")
    text: str = Field(default="text", description="Column of the text.")
    label: str | None = Field(default=None, description="Column of the label; null: label by `rules` or `llm`.")
    lang: str | None = Field(default="lang", description="Column of the language; null or absent: und.")
    source: str | None = Field(default="source", description="Column of the source; null: the file's name.")
    rename: dict[str, str] = Field(default_factory=dict, description="Labels to be called otherwise.")
    drop: list[str] = Field(default_factory=list, description="Labels that are left out.")
    strip: str | None = Field(
        default=None,
        description="Regular expression of what is taken out of the texts: marks that give a source away, as notes of "
        "its makers do.",
    )

    @field_validator("strip")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from None
        return value


class Llm(Part):
    """A language model that labels, and what that may cost."""

    endpoint: EndpointConfig = Field(description="Where the model is and how it is asked.")
    limits: Limits = Field(default_factory=Limits, description="What may be asked and spent.")
    prompt: Path = Field(description="Text file with {text} where the document goes.")
    labels: dict[str, str] = Field(description="What the answer says (a word or number) → label.")
    answer: str = Field(
        default=r"(?i)(?:score|label)?\s*[:=]?\s*([\w-]+)\s*\.?\s*$",
        description="Regular expression whose first group is the answer; its last match counts.",
    )
    documents: Annotated[int, Field(ge=1)] = Field(default=10_000, description="Most documents asked about.")
    chars: Annotated[int, Field(ge=100)] = Field(default=4_000, description="Characters of a document that are sent.")
    cost_per_million_in: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Price of 1 M prompt tokens.")
    cost_per_million_out: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Price of 1 M answer tokens.")


class TrainConfig(Part):
    """Labels, split, model and limits of one training."""

    files: list[LabelledFile] = Field(min_length=1, description="Where the texts are.")
    rules: list[SourceRule] = Field(default_factory=list, description="Labels by source.")
    llm: Llm | None = Field(default=None, description="Labels by a language model for what has none yet.")
    formats: list[str] | None = Field(
        default=None,
        description="Only documents of these formats, which are told from the text where a file has no column format; "
        "what the taxonomy tells by format, a domain model need not learn. Default: all.",
    )
    held_out: list[str] = Field(
        default_factory=list,
        description="Sources, with * and ?, that the model never sees; the figures are on them. "
        "Without any, held_out_share of the sources.",
    )
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2, description="Share of each label's sources held out where held_out is empty; at least one stays."
    )
    validation_share: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.1, description="Share of the training documents that early stopping looks at."
    )
    most_a_source: Annotated[int, Field(ge=1)] = Field(
        default=100_000, description="Most documents of one source, language and label."
    )
    engine: Literal["bert", "fasttext"] = Field(default="bert", description="What is trained.")
    base: str = Field(default="default", description="Checkpoint to start from: default, a folder or a hub id.")
    revision: str | None = Field(default=None, description="Commit of a hub checkpoint; pin it.")
    out: Path = Field(description="Folder of the new checkpoint.")
    max_tokens: Annotated[int, Field(ge=8, le=4096)] = Field(default=256, description="Tokens read of a document.")
    reading: scoring.Reading = Field(
        default="head",
        description="What is read of a longer document, by the figures and by fastText; an encoder learns from crops.",
    )
    features: Annotated[int, Field(ge=1000)] | None = Field(
        default=None,
        description="fastText only: quantise the model and keep this many words and pairs, some 50 bytes each.",
    )
    epochs: Annotated[int, Field(ge=1)] = Field(default=3, description="Most passes over the training documents.")
    tokens_per_batch: Annotated[int, Field(ge=64)] = Field(default=4096, description="Tokens in one batch.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(default=5e-5, description="At its height.")
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.05, description="Share given to the rest.")
    patience: Annotated[int, Field(ge=1)] = Field(
        default=3, description="Looks at the validation documents without gain before it stops."
    )
    looks_per_epoch: Annotated[int, Field(ge=1)] = Field(default=2, description="How often it looks at them.")
    minutes: Annotated[float, Field(gt=0)] | None = Field(default=None, description="Ends in this time.")
    balance: bool = Field(default=True, description="Weigh labels, within each language, against their frequency.")
    crops: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.3, description="Share of training documents read from a place other than their beginning."
    )
    short: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="Share of training documents cut to a random shorter length."
    )
    corrupt: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="Quality only: documents labelled low that are made by spoiling high ones, per high one.",
    )
    half: bool = Field(default=False, description="Save in half precision.")
    seed: int = Field(default=20260101, description="Of split, order and weights.")

    @model_validator(mode="after")
    def _labelled(self) -> TrainConfig:
        if not self.rules and self.llm is None and all(f.label is None for f in self.files):
            raise ValueError("needs labels: a label column in files, rules, or llm")
        return self
