"""The keys of a stage that keeps or drops by scores."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pretrain_data.errors import ConfigError
from pretrain_data.selection.expression import keeps
from pretrain_data.stage import StageConfig

Attribute = Literal["source", "lang", "format", "domain", "channel"]
Score = Annotated[float, Field(ge=0, le=1)]


class CutConfig(BaseModel):
    """What `cut` stands for in `keep_if`, for each group of documents."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: tuple[Attribute, ...] = Field(
        default=("lang",), min_length=1, description="What makes a group: source, lang, format, domain, channel."
    )
    at: Score | None = Field(default=None, description="The cut of groups that `values` doesn't name.")
    values: dict[str, Score] = Field(
        default_factory=dict, description="Cuts by group, attributes in the order of `by`: {zh/news: 0.41}."
    )
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Set each group's cut so that this share of its scored documents lies below it, at most.",
    )
    min_documents: Annotated[int, Field(ge=1)] = Field(
        default=100, description="A group of fewer scored documents takes the cut of all; with quantile."
    )
    sample: Annotated[int, Field(ge=100)] = Field(
        default=20_000,
        description="Documents, about, that quality scores beforehand to find quantiles; selection reads all scores.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> CutConfig:
        if (self.quantile is None) == (self.at is None and not self.values):
            raise ValueError("needs either quantile, or at and values")
        if self.values and self.at is None:
            raise ValueError("values need at, the cut of all other groups")
        for name in self.values:
            if name.count("/") < len(self.by) - 1:
                raise ValueError(f"values.{name}: must be {'/'.join(self.by)}")
        return self


class SelectionConfig(StageConfig):
    """Which of the scored documents are kept. A document without a score is always kept."""

    keep_if: str | None = Field(
        default=None,
        description="Predicate, as of rules, over score, cut, chance, pareto, chars, lang, source, format, domain, "
        "channel, signals.NAME ...; documents that it doesn't hold for are dropped. Default: score >= cut where cut "
        "is set, else all are kept.",
    )
    cut: CutConfig | None = Field(default=None, description="What `cut` is: a number, or cuts by group.")
    pareto_alpha: Annotated[float, Field(gt=0)] = Field(
        default=9.0, description="Shape of the draws `pareto` (GPT-3: 9, with keep_if: pareto > 1 - score)."
    )
    tokenizer: str = Field(default="default", description="Whose tokens plan quality counts; as of mix.")
    count_tokens: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="Share of the documents whose tokens are counted, where they aren't known."
    )

    @field_validator("cut", mode="before")
    @classmethod
    def _a_number_is_one_cut(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return {"at": value} if number else value

    @model_validator(mode="after")
    def _compiles(self) -> SelectionConfig:
        try:
            predicate = keeps(self.expression)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if self.keep_if is not None and "cut" in predicate.names and self.cut is None:
            raise ValueError("keep_if reads cut, and cut is not set")
        if self.cut is not None and "cut" not in predicate.names:
            raise ValueError("cut is set, and keep_if doesn't read it")
        return self

    @property
    def expression(self) -> str:
        """What keeps a document; by default `score >= cut`, with a cut of 0 where none is set."""
        return "score >= cut" if self.keep_if is None else self.keep_if
