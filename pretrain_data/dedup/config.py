"""The keys under `stages.dedup`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pretrain_data.dedup.guard import Guard
from pretrain_data.dedup.passages import PassagesConfig
from pretrain_data.dedup.survivors import RankBy
from pretrain_data.mixing.mixture import Tokens
from pretrain_data.stage import StageConfig

#: Where the search for a threshold begins when the config names a token target alone.
LOWEST_WITH_TARGET = 0.5


class DedupConfig(StageConfig):
    """What counts as a duplicate, and which copy stays."""

    #: The list's content is asked for by the stage (`asked`); where it lies says nothing.
    OPERATIONAL = StageConfig.OPERATIONAL | {"withdrawn"}

    documents: Literal["near", "exact", "off"] = Field(
        default="near",
        description="near: documents whose similarity reaches the threshold, identical ones among them; exact: those "
        "alone that fold to the same tokens; off: no document is compared with another.",
    )
    passages: PassagesConfig | None = Field(
        default=None,
        description="Take out lines, paragraphs or long substrings that many documents share, after duplicates have "
        "gone; `{}`: with its defaults. Default: texts stay as they are.",
    )
    threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.8, description="Jaccard similarity of shingle sets from which two documents are duplicates."
    )
    verify: Literal["signature", "exact"] = Field(
        default="signature",
        description="How candidates are compared: by their signatures, or by their shingle sets.",
    )
    spacing_threshold: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Similarity from which documents share a similar_group. Default: threshold."
    )
    target_tokens: Tokens | None = Field(
        default=None,
        description="Tokens that must remain; the run then takes the strictest threshold of its curve that leaves "
        "them, in place of `threshold`.",
    )
    lowest_threshold: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Where the curve over thresholds begins; lower costs more candidates. Default: the lower of "
        "spacing_threshold and threshold, or 0.5 with target_tokens.",
    )
    curve_step: Annotated[float, Field(ge=0.001, le=0.5)] = Field(
        default=0.02, description="Step between the thresholds of the curve, which ends at 1."
    )
    tokenizer: str = Field(
        default="default",
        description="What the curve counts tokens with where documents have none yet: on a sample of them.",
    )
    token_sample: Annotated[int, Field(ge=1)] = Field(
        default=4_000, description="Documents in that sample, about; all of them where there are fewer."
    )
    shingle: Annotated[int, Field(ge=1, le=64)] = Field(default=5, description="Tokens in a shingle.")
    tokens: Literal["by_language", "unified"] = Field(
        default="by_language",
        description="unified: a Chinese character or a run of letters; by_language: single letters in languages of "
        "character_languages too.",
    )
    character_languages: tuple[str, ...] = Field(
        default=("zh", "ja"), description="Languages compared by characters rather than by words."
    )
    traditional: Literal["apart", "simplified"] = Field(
        default="apart",
        description="simplified: traditional Chinese characters count as their simplified ones (OpenCC's table), so "
        "that two editions of a text are alike. Texts keep their script.",
    )
    backend: Literal["kernel", "datasketch"] = Field(
        default="kernel",
        description="What makes signatures of shingles: the package's kernel, or datasketch, some twenty times slower.",
    )
    permutations: Annotated[int, Field(ge=16, le=512)] = Field(default=128, description="Length of a signature.")
    miss_probability: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.005, description="Probability that a pair at the lowest threshold is not even compared."
    )
    anchors: Annotated[int, Field(ge=1)] = Field(
        default=8, description="In a bucket each document is compared with this many first ones"
    )
    window: Annotated[int, Field(ge=1)] = Field(default=24, description="and with this many before it.")
    chain: Literal["split", "keep"] = Field(
        default="split",
        description="split: a member too unlike its survivor stays too; keep: a cluster has one survivor.",
    )
    margin: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="A member may be this much under the threshold to its survivor."
    )
    survivor: tuple[RankBy, ...] = Field(
        default=(
            RankBy(column="quality_score", order="desc"),
            RankBy(column="chars", order="desc"),
            RankBy(column="crawl_date", order="asc"),
        ),
        description="Who stays in a cluster: criteria in order; the last tie is broken by doc_id.",
    )
    incremental: bool = Field(
        default=False,
        description="Days (`dt=` partitions) one after the other: what an earlier day kept has precedence and is "
        "looked up in an index, so that a night costs what is new. Needs chain: split and a fixed threshold.",
    )

    withdrawn: Path | None = Field(
        default=None,
        description="File of doc_ids or source_ids, one a line, that are withdrawn: dropped as such, and what they "
        "stood for comes back. With incremental, days before the first that holds one stay as they are.",
    )
    guard: Guard = Field(default=Guard(), description="Bounds on what may be deleted.")

    @model_validator(mode="after")
    def _spacing_is_looser(self) -> DedupConfig:
        fixed = self.target_tokens is None
        if fixed and self.spacing_threshold is not None and self.spacing_threshold > self.threshold:
            raise ValueError("spacing_threshold must not be above threshold")
        return self

    @model_validator(mode="after")
    def _days_stay_decided(self) -> DedupConfig:
        if self.incremental and self.chain != "split":
            raise ValueError("incremental needs chain: split (new documents may not join two kept ones into one)")
        if self.incremental and self.target_tokens is not None:
            raise ValueError("incremental needs a fixed threshold: take it from `pretrain-data plan dedup`")
        return self

    @model_validator(mode="after")
    def _levels_make_sense(self) -> DedupConfig:
        if self.documents == "off" and self.passages is None:
            raise ValueError("documents: off without `passages` leaves nothing to do")
        given = [name for name in ("spacing_threshold", "target_tokens", "lowest_threshold") if getattr(self, name)]
        if self.documents != "near" and given:
            raise ValueError(f"{given[0]} needs documents: near")
        return self

    @property
    def cut(self) -> float:
        """The threshold that is in force where no target chooses another."""
        return self.threshold if self.documents == "near" else 1.0

    @property
    def simplified(self) -> bool:
        """Whether traditional characters fold to simplified ones."""
        return self.traditional == "simplified"

    @property
    def by_sets(self) -> bool:
        """Whether pairs are compared by their shingle sets."""
        return self.documents == "near" and self.verify == "exact"

    @property
    def signature(self) -> int:
        """Length of the signatures that are made: none where identical documents alone are looked for."""
        return self.permutations if self.documents == "near" else 0

    @property
    def lowest(self) -> float:
        """The lowest similarity that pairs are looked for at."""
        asked = [t for t in (self.spacing_threshold, self.lowest_threshold) if t is not None]
        if self.target_tokens is None:
            return min([self.cut, *asked])
        return min(asked, default=LOWEST_WITH_TARGET)

    @property
    def thresholds(self) -> list[float]:
        """Thresholds of the curve, from the lowest to 1, among them `threshold`."""
        low = max(self.lowest, self.spacing_threshold or 0.0)
        steps = int((1 - low) / self.curve_step + 1e-9)
        found = {round(1 - i * self.curve_step, 6) for i in range(steps + 1)} | {low}
        return sorted(found | ({self.cut} if self.target_tokens is None else set()))
