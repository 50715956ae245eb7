"""pii: personal data is replaced, boilerplate lines go. Beside dedup's passages the only stage that edits text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pretrain_data import schema
from pretrain_data.errors import ConfigError
from pretrain_data.kernels import boilerplate, pii
from pretrain_data.kernels.keywords import Matcher, compile_keywords
from pretrain_data.kernels.pii import evidence, names, surrogates
from pretrain_data.kernels.pii.replace import replace, values
from pretrain_data.kernels.unsafe import line_chars, line_hits, per_document, without_lines
from pretrain_data.models.config import check_pin
from pretrain_data.rules.wordlists import read_topics
from pretrain_data.stage import Processed, Shard, Stage, StageConfig

Action = Literal["placeholder", "surrogate", "hash", "remove", "keep"]
Where = Literal["beside", "everywhere", "off"]
_PACKAGE = Path(__file__).resolve().parents[1]
_LISTS = _PACKAGE / "wordlists"


class NamesConfig(BaseModel):
    """Who looks for names, and how sure it must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str = Field(
        default="default",
        description="`default`: the package's tagger; else a token classifier, by folder or hub id.",
    )
    revision: str | None = Field(
        default=None, description="Commit of a hub checkpoint, 40 hex digits; hub ids need it."
    )
    caution: float = Field(
        default=0.0,
        description='Added to the default engine\'s score of "no name": above 0 fewer and surer names, below 0 more.',
    )
    threshold: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="Score that a token classifier's name must have."
    )
    keep: Path | None = Field(default=None, description="File of names that stay, one a line: public figures.")

    @model_validator(mode="after")
    def _pinned(self) -> NamesConfig:
        check_pin(self.engine, self.revision)
        return self


class UnsafeConfig(BaseModel):
    """Which topics have no place, and how many of their words a document or a line may have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topics: tuple[str, ...] = Field(
        default=("adult", "gambling", "fraud"), description="Topics of the package's word lists; empty: none."
    )
    lists: tuple[Path, ...] = Field(
        default=(), description="Word lists of the user's own, TOPIC.LANG.txt, one term a line; added to the topics."
    )
    document_hits: Annotated[int, Field(ge=1)] = Field(
        default=6, description="Matches of one topic below which a document is never dropped."
    )
    document_density: Annotated[float, Field(gt=0)] = Field(
        default=10.0, description="Matches in 1,000 characters from which it is dropped as unsafe_TOPIC."
    )
    document_score: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="quality_score from which a document stays and loses its unsafe lines alone: a report about fraud "
        "has its words too. Default: the score has no say; a document without one is dropped by density.",
    )
    line_hits: Annotated[int, Field(ge=1)] = Field(
        default=3, description="Matches from which a line of a document that stays can be removed."
    )
    line_density: Annotated[float, Field(gt=0)] = Field(
        default=60.0, description="Matches in 1,000 characters from which it is."
    )


class PiiOverride(BaseModel):
    """Other actions for documents of some languages or formats."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lang: tuple[str, ...] | None = Field(default=None, description="Languages that it holds for. Default: all.")
    format: tuple[str, ...] | None = Field(default=None, description="Formats that it holds for. Default: all.")
    actions: dict[str, Action] = Field(description="Action by type.")


class PiiConfig(StageConfig):
    """Which personal data is looked for, and what becomes of it."""

    types: tuple[str, ...] | None = Field(
        default=None, description="Types that are looked for, and secrets always. Default: all."
    )
    disguised: bool = Field(
        default=True, description="Look for e-mail addresses written as `name [at] site [dot] org` or with （at） too."
    )
    actions: dict[str, Action] = Field(
        default_factory=dict,
        description="Action by type: placeholder (<|phone|>), surrogate (a made-up value of the same form), hash, "
        "remove, or keep. Default: placeholder. Secrets can't be kept.",
    )
    overrides: tuple[PiiOverride, ...] = Field(
        default=(), description="Other actions by language and format; of several that fit the last one counts."
    )
    key_file: Path | None = Field(
        default=None, description="File whose bytes key surrogates and hashes; the same key gives the same values."
    )
    where: dict[str, Where] = Field(
        default_factory=dict,
        description="Where PERSON, ADDRESS and BIRTH_DATE are scrubbed: beside another identifier or in a document of "
        "personal kind (default), everywhere, or off.",
    )
    beside_chars: Annotated[int, Field(ge=0)] = Field(
        default=200, description="Characters that count as beside an identifier."
    )
    names: NamesConfig = Field(default_factory=NamesConfig, description="How names are found.")
    max_spans: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="A document with more spans is dropped as pii_too_many: a list of people."
    )
    max_by_type: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, description="A document with more spans of a type is dropped as pii_too_many."
    )
    boilerplate: bool = Field(
        default=True, description="Remove reprint notices, credits, reference lists and the like."
    )
    boilerplate_formats: tuple[str, ...] = Field(
        default=("prose",), description="Formats that boilerplate is removed from."
    )
    unsafe: UnsafeConfig = Field(default_factory=UnsafeConfig, description="Adult, gambling and fraud texts.")
    min_chars: Annotated[int, Field(ge=0)] = Field(
        default=1, description="A document with fewer characters left is dropped as nothing_left."
    )

    @field_validator("types", "actions", "max_by_type")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for name in value or ():
            if name not in pii.known_types():
                raise ValueError(f"unknown type {name}; known: {', '.join(pii.known_types())}")
        return value

    @field_validator("where")
    @classmethod
    def _weak(cls, value: Any) -> Any:
        for name in value:
            if name not in pii.weak_types():
                raise ValueError(f"{name} is scrubbed wherever it stands; can be set for {', '.join(pii.weak_types())}")
        return value

    @model_validator(mode="after")
    def _possible(self) -> PiiConfig:
        for actions in (self.actions, *(override.actions for override in self.overrides)):
            self._known(actions)
            for name, action in actions.items():
                if action == "keep" and name in pii.secret_types():
                    raise ValueError(f"{name} is a secret and can't be kept")
                if action == "surrogate" and name not in surrogates.TYPES:
                    raise ValueError(f"no surrogate for {name}; there are some for {', '.join(surrogates.TYPES)}")
                if action in ("surrogate", "hash") and self.key_file is None:
                    raise ValueError(f"{action} of {name} needs key_file")
        return self


class PiiStage(Stage[PiiConfig]):
    """Scrubs personal data and boilerplate."""

    name: ClassVar[str] = "pii"
    config_class = PiiConfig
    shardwise = True
    needs = ("doc_id", "text")
    adds = ("pii_spans",)

    def __init__(self, config: PiiConfig) -> None:
        super().__init__(config)
        self._key = _read(config.key_file) if config.key_file else b""
        kept = _read(config.names.keep).decode() if config.names.keep else ""
        self._kept = frozenset("".join(line.split()).casefold() for line in kept.splitlines() if line.strip())

    def resources(self) -> list[Path]:
        config = self.config
        files = [_LISTS / "pii.yaml", _LISTS / "boilerplate.yaml", _LISTS / "pii_surnames.zh.txt"]
        files.append(_PACKAGE / "models" / "default" / "names.safetensors")
        files += self._lists()
        model = Path(config.names.engine)
        files += sorted(path for path in model.rglob("*") if path.is_file()) if model.is_dir() else []
        return files + [path for path in (config.key_file, config.names.keep) if path]

    def _lists(self) -> list[Path]:
        """The word lists of unsafe topics."""
        unsafe = self.config.unsafe
        own = [path for topic in unsafe.topics for path in sorted(_LISTS.glob(f"{topic}.*.txt"))]
        return own + list(unsafe.lists)

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        for batch in batches:
            yield self._scrub(batch)

    def _scrub(self, batch: pa.RecordBatch) -> Processed:
        config = self.config
        text = batch.column("text")
        spans = self.spans(text)
        metrics = _counts(batch, spans)
        scrubbed = self._replaced(batch, spans) if len(spans) else text.cast(pa.large_string()).fill_null("")
        if config.boilerplate:
            formats = batch.column("format") if "format" in batch.schema.names else None
            wanted = None if formats is None else pc.is_in(formats, pa.array(config.boilerplate_formats, formats.type))
            scrubbed, removed = boilerplate.remove(scrubbed, wanted)
            if removed.any():
                metrics["boilerplate.documents"] += int((removed > 0).sum())
                metrics["boilerplate.chars"] += int(removed.sum())
        verdict = _Verdict(len(batch))
        scores = batch.column("quality_score") if "quality_score" in batch.schema.names else None
        scrubbed = self._without_unsafe(scrubbed, scores, verdict, metrics)
        self._judge(spans, scrubbed, verdict)
        out = _with(_with(batch, "text", scrubbed), "pii_spans", spans.to_arrow(len(batch), schema.PII_SPANS))
        rule, value, limit = verdict.arrays()
        return Processed(out, rule=rule, value=value, threshold=limit, metrics=metrics)

    def spans(self, text: pa.Array) -> pii.Spans:
        """What is scrubbed in each text."""
        config = self.config
        where = {name: config.where.get(name, "beside") for name in pii.weak_types()}
        asked_for = set(config.types or pii.known_types()) | set(pii.secret_types())
        wanted = [name for name in pii.known_types() if name in asked_for and where.get(name) != "off"]
        kinds = tuple(name for name in wanted if name != "PERSON")
        find = partial(pii.find, types=kinds, disguised=config.disguised)
        found = find(text)
        hard = found.where(~found.of(pii.weak_types()))
        whole = evidence.personal(text, hard)
        if "PERSON" in wanted:
            everywhere = where["PERSON"] == "everywhere"
            asked = np.ones(len(text), bool) if everywhere else whole | (hard.per_row(len(text)) > 0)
            rows = np.flatnonzero(asked)
            rows = rows[~evidence.scrubbed_before(text.take(pa.array(rows)))]
            if len(rows):
                persons = names.within(self._engine(), text, rows)
                persons = names.without(persons, text, self._kept)
                found = found.over(persons)
                # What touched a name may match when it is gone.
                with_names = np.unique(persons.rows)
                hidden = names.hidden(text, persons)
                again = names.within(find, hidden, with_names)
                found = found.over(again)
        return evidence.beside(
            found, [name for name, place in where.items() if place == "beside"], whole, config.beside_chars
        )

    def _engine(self) -> names.Engine:
        settings = self.config.names
        if settings.engine == "default":
            return partial(names.default_engine, caution=settings.caution)
        from pretrain_data.models.names import hugging_face

        return partial(hugging_face, model=settings.engine, threshold=settings.threshold, revision=settings.revision)

    def _replaced(self, batch: pa.RecordBatch, spans: pii.Spans) -> pa.Array:
        """The texts with each span as its action says; equal replacements are written once."""
        text = batch.column("text")
        langs, formats = (_by_span(batch, name, spans) for name in ("lang", "format"))
        actions = [
            self._action(spans.names[kind], lang, form)
            for kind, lang, form in zip(spans.types.tolist(), langs, formats, strict=True)
        ]
        needed = np.array([action in ("surrogate", "hash", "keep") for action in actions])
        real = iter(values(text, spans.where(needed)) if needed.any() else ())
        pool: dict[str, int] = {}
        choice = np.empty(len(spans), np.int64)
        for i, (action, kind) in enumerate(zip(actions, spans.types.tolist(), strict=True)):
            new = self._replacement(action, spans.names[kind], next(real) if needed[i] else "")
            choice[i] = pool.setdefault(new, len(pool))
        return replace(text, spans, choice, list(pool))

    def _action(self, kind: str, lang: str | None, form: str | None) -> Action:
        action = self.config.actions.get(kind, "placeholder")
        for override in self.config.overrides:
            fits = (override.lang is None or lang in override.lang) and (
                override.format is None or form in override.format
            )
            if fits:
                action = override.actions.get(kind, action)
        return action

    def _replacement(self, action: Action, kind: str, value: str) -> str:
        if action == "surrogate":
            return surrogates.surrogate(value, self._key, kind)
        if action == "hash":
            return f"<|{kind.lower()}:{surrogates.digest(value, self._key, kind)}|>"
        return {"placeholder": f"<|{kind.lower()}|>", "remove": "", "keep": value}[action]

    def _without_unsafe(
        self, text: pa.Array, scores: pa.Array | None, verdict: _Verdict, metrics: Counter[str]
    ) -> pa.Array:
        """Drop documents thick with words of a topic, and such lines from the others."""
        unsafe = self.config.unsafe
        matcher = _matcher(tuple(self._lists()))
        if not matcher.categories:
            return text
        hits, rows, borders = line_hits(text, matcher)
        chars = np.maximum(pc.utf8_length(text).to_numpy(zero_copy_only=False), 1)
        spared = np.zeros(len(text), bool)
        if unsafe.document_score is not None and scores is not None:
            spared = pc.fill_null(scores, -1.0).to_numpy(zero_copy_only=False) >= unsafe.document_score
        for topic, counts in zip(matcher.categories, per_document(hits, rows, len(text)), strict=True):
            density = 1000 * counts / chars
            thick = (counts >= unsafe.document_hits) & (density >= unsafe.document_density)
            if (thick & spared).any():
                metrics["unsafe.spared"] += int((thick & spared).sum())
            verdict.drop(f"unsafe_{topic}", density, unsafe.document_density, thick & ~spared)
        most = hits.max(axis=0)
        lines = most >= unsafe.line_hits
        if lines.any():
            lines &= 1000 * most >= unsafe.line_density * line_chars(text, borders)
        lines &= ~verdict.dropped[rows]
        if lines.any():
            metrics["unsafe.lines"] += int(lines.sum())
            metrics["unsafe.documents"] += len(np.unique(rows[lines]))
        return without_lines(text, lines, rows, borders)

    def _judge(self, spans: pii.Spans, text: pa.Array, verdict: _Verdict) -> None:
        """Drop documents with too many spans, or with nothing left."""
        config = self.config
        if config.max_spans is not None:
            counts = spans.per_row(len(text))
            verdict.drop("pii_too_many", counts, config.max_spans, counts > config.max_spans)
        for kind, most in sorted(config.max_by_type.items()):
            counts = spans.where(spans.of([kind])).per_row(len(text))
            verdict.drop("pii_too_many", counts, most, counts > most)
        left = pc.utf8_length(pc.utf8_trim_whitespace(text)).to_numpy(zero_copy_only=False)
        verdict.drop("nothing_left", left, config.min_chars, left < config.min_chars)


class _Verdict:
    """Which documents of a batch are dropped, by which rule, value and limit; the first rule counts."""

    def __init__(self, documents: int) -> None:
        self.dropped = np.zeros(documents, bool)
        self._rules = np.full(documents, None, object)
        self._values, self._limits = np.full(documents, np.nan), np.full(documents, np.nan)

    def drop(self, rule: str, measured: npt.NDArray[Any], limit: float, hit: npt.NDArray[np.bool_]) -> None:
        hit = hit & ~self.dropped
        self._rules[hit], self._values[hit], self._limits[hit] = rule, measured[hit], limit
        self.dropped |= hit

    def arrays(self) -> tuple[pa.Array, pa.Array, pa.Array]:
        values, limits = (pa.array(a, from_pandas=True) for a in (self._values, self._limits))
        return pa.array(self._rules, pa.string()), values, limits


@cache
def _matcher(lists: tuple[Path, ...]) -> Matcher:
    return compile_keywords(read_topics(lists))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"stages.pii: {path}: {error.strerror}") from None


def _by_span(batch: pa.RecordBatch, name: str, spans: pii.Spans) -> list[str | None]:
    """A column's value for each span; None where there is no such column."""
    if name not in batch.schema.names:
        return [None] * len(spans)
    values_: list[str | None] = batch.column(name).take(pa.array(spans.rows)).to_pylist()
    return values_


def _counts(batch: pa.RecordBatch, spans: pii.Spans) -> Counter[str]:
    """Spans by type, by type and language, and by type and source; never a value."""
    metrics: Counter[str] = Counter()
    langs, sources = (_by_span(batch, name, spans) for name in ("lang", "source"))
    for kind, lang, source in zip(spans.types.tolist(), langs, sources, strict=True):
        name = spans.names[kind]
        metrics[f"spans.{name}"] += 1
        metrics[f"lang.{lang or 'und'}.{name}"] += 1
        metrics[f"source.{source or 'none'}.{name}"] += 1
    metrics["documents_with_spans"] = len(np.unique(spans.rows))
    return metrics


def _with(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    at = batch.schema.get_field_index(name)
    return batch.set_column(at, name, column) if at >= 0 else batch.append_column(name, column)
