"""synthesize: selected documents condensed or rewritten by a language model, as a source of their own.

Long, thin, valuable documents are chosen (`prepare`), asked about through a cache that loses no answer, and checked.
What passes is a new document: `source_id` is the original's, `synthetic_*` name its doc_id, the prompt and the model.
It is an input of the next ingest, so that rules, personal data, dedup against the corpus and the rest apply to it:

    stages: {ingest: {inputs: [{path: crawl}, {path: work/synthesize/documents, source: synthetic}]}}
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field

from pretrain_data import schema
from pretrain_data.dataset import Dataset, read_shard
from pretrain_data.errors import ConfigError, InputError, PretrainDataError
from pretrain_data.kernels.density import density
from pretrain_data.llm import AnswerCache, Asker, Endpoint, EndpointConfig, EndpointRefused, Failure, Limits, Prompt
from pretrain_data.mixing.mixture import Condition, Leaf
from pretrain_data.stage import Processed, Shard, SourceStage, StageConfig, StageRun
from pretrain_data.synthesis import checks, templates

log = logging.getLogger(__name__)

#: Chosen documents are named on the driver.
MOST_DOCUMENTS = 5_000_000
CHOSEN = pa.schema([("shard", pa.string()), ("row", pa.int64()), ("doc_id", pa.string()), ("worth", pa.float64())])


class SynthesizeConfig(StageConfig):
    """Which documents, by which model and prompt, and what an answer must keep to."""

    endpoint: EndpointConfig = Field(description="The model: an OpenAI-compatible endpoint.")
    limits: Limits = Field(default=Limits(), description="Concurrency and budget.")
    on_budget: Literal["stop", "accept"] = Field(
        default="stop",
        description="When the budget is spent: end with an error (answers are kept, a run with more goes on), or "
        "commit what there is.",
    )
    prompt: str = Field(default="condense", description="condense, textbook, or a folder with en.txt and zh.txt.")
    source: str = Field(default="synthetic", description="Goes into the column source.")
    cache: str | None = Field(default=None, description="Folder of the answers. Default: llm/ in the workspace.")
    where: dict[str, Condition] = Field(
        default_factory=dict, description="Column → a value, a list of values, or {min, max}; all must fit."
    )
    min_chars: int = Field(default=2000, ge=1, description="Shorter documents are not asked about.")
    max_chars: int = Field(default=60_000, ge=1, description="Longer ones neither: they must fit the model.")
    max_documents: int = Field(
        default=10_000, ge=1, le=MOST_DOCUMENTS, description="Documents asked about at most, the most worthwhile ones."
    )
    min_ratio: float = Field(default=0.1, ge=0, description="Characters of an answer over those of the original.")
    max_ratio: float = Field(default=0.8, gt=0, description="The same, at most.")
    max_copied: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of an answer's n-grams (8 words, 13 characters) out of the original.",
    )
    max_invented_numbers: int = Field(default=0, ge=0, description="Numbers that the original doesn't have, at most.")
    min_numbers_kept: float = Field(default=0.3, ge=0, le=1, description="Share of the original's numbers, at least.")
    max_error_rate: float = Field(
        default=0.05, ge=0, le=1, description="Share of questions without an answer above which the run is refused."
    )

    OPERATIONAL: ClassVar[frozenset[str]] = StageConfig.OPERATIONAL | {"cache"}


class SynthesizeStage(SourceStage[SynthesizeConfig]):
    """New, dense documents from old ones, by a language model."""

    name: ClassVar[str] = "synthesize"
    config_class: ClassVar[type[StageConfig]] = SynthesizeConfig
    adds: ClassVar[tuple[str, ...]] = ("synthetic_from", "synthetic_prompt", "synthetic_model")
    errors: ClassVar[frozenset[str]] = frozenset({"poison", "no_answer"})

    def __init__(self, config: SynthesizeConfig) -> None:
        super().__init__(config)
        if config.min_chars > config.max_chars or config.min_ratio > config.max_ratio:
            raise ConfigError("stages.synthesize: min_chars and min_ratio must not be over max_chars and max_ratio")
        self.templates = templates.load(config.prompt)
        self.chosen: Path | None = None
        self.cache: Path | None = None

    def resources(self) -> list[Path]:
        return templates.template_files(self.config.prompt)

    def plan(self, root: Path) -> list[Shard]:
        if self.config.input is None:
            raise InputError("stages.synthesize.input: name the documents, e.g. ../work/classify")
        return list(Dataset.open_input(self.config.input, root).shards)

    def prepare(self, run: StageRun) -> None:
        self.chosen = run.scratch / "chosen"
        self.cache = Path(self.config.cache) if self.config.cache else run.workspace / "llm"
        self._choose(run)
        with AnswerCache(self.cache) as cache:
            asker = Asker(Endpoint(self.config.endpoint, self.config.limits.concurrency), cache, self.config.limits)
            stopped: Failure | None = None
            for count, (_, result) in enumerate(asker.ask(self._prompts(run.source.shards)), 1):
                if isinstance(result, Failure) and result.kind != "no_answer":
                    stopped = result
                if count % 1000 == 0:
                    log.info("%d questions, %d from the cache, %d without an answer", count, asker.cached, asker.failed)
            run.metrics["questions"] = {"cached": asker.cached, "answered": asker.answered, "failed": asker.failed}
            run.metrics["requests"] = asker.endpoint.requests
            run.metrics["tokens_in_cache"] = cache.tokens
            if cache.broken:
                run.warn(f"{cache.broken} answers in {self.cache} couldn't be read and were asked for again")
        if stopped is not None and stopped.kind == "refused":
            raise EndpointRefused(stopped.detail)
        if stopped is not None and self.config.on_budget == "stop":
            raise PretrainDataError(
                f"stage synthesize: the budget is spent ({stopped.detail}); {asker.answered + asker.cached:,} answers "
                "are kept: raise stages.synthesize.limits and run again, or set on_budget: accept"
            )
        if stopped is not None:
            run.warn(f"the budget was spent before all questions were asked: {stopped.detail}")

    def _choose(self, run: StageRun) -> None:
        """Name the documents to ask about, the most worthwhile ones of those that fit."""
        from pyspark.sql import functions as F

        columns = {"doc_id", "text", "lang", "quality_score", "density", *self.config.where}
        rows = run.scan(sorted(columns), self._worth, CHOSEN)
        best = rows.orderBy(F.col("worth").desc(), "doc_id").limit(self.config.max_documents)
        by_shard: dict[str, list[int]] = {}
        for row in best.select("shard", "row").toLocalIterator():  # at most max_documents
            by_shard.setdefault(row["shard"], []).append(row["row"])
        assert self.chosen is not None
        for shard, places in by_shard.items():
            path = self.chosen / f"{shard}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.array(sorted(places), np.int64))
        run.metrics["chosen"] = sum(map(len, by_shard.values()))

    def _worth(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
        """Shard, row, doc_id and worth of the documents that fit: long, thin and good is worth most.

        Worth is characters times quality_score (0.5 where there is none) over density.
        """
        leaf = Leaf(path="stages.synthesize.where", conditions=tuple(self.config.where.items()), max_epochs=1)
        row = 0
        for batch in batches:
            texts = batch.column("text").to_pylist()
            chars = np.array([len(t) for t in texts])
            languages = _languages(batch)
            fits = leaf.fits(batch) & (chars >= self.config.min_chars) & (chars <= self.config.max_chars)
            fits &= np.array([lang in self.templates.texts for lang in languages], bool)
            at = np.flatnonzero(fits)
            quality, thin = np.full(len(texts), 0.5), np.ones(len(texts))
            names = batch.schema.names
            if "quality_score" in names:
                scores = batch.column("quality_score").cast(pa.float64()).fill_null(0.5)
                quality = scores.to_numpy(zero_copy_only=False)
            if "density" in names:
                thin = batch.column("density").cast(pa.float64()).fill_null(1.0).to_numpy(zero_copy_only=False)
            else:
                thin[at] = [density(texts[i]) for i in at]
            worth = chars * quality / np.maximum(thin, 1e-3)
            columns = {
                "shard": pa.array([shard.name] * len(at), pa.string()),
                "row": pa.array(row + at, pa.int64()),
                "doc_id": batch.column("doc_id").take(pa.array(at)).cast(pa.string()),
                "worth": pa.array(worth[at]),
            }
            yield pa.RecordBatch.from_pydict(columns, CHOSEN)
            row += len(texts)

    def _prompts(self, shards: tuple[Shard, ...]) -> Iterator[Prompt]:
        for shard in shards:
            for batch in self._originals(shard):
                for doc_id, text, lang in zip(
                    batch.column("doc_id").to_pylist(), batch.column("text").to_pylist(), _languages(batch), strict=True
                ):
                    yield Prompt(doc_id, self.templates.messages(text, str(lang)))

    def _originals(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        """The chosen documents of a shard, in order."""
        assert self.chosen is not None
        path = self.chosen / f"{shard.name}.npy"
        if not path.exists():
            return
        places, row = np.load(path), 0
        for batch in read_shard(shard):
            low, high = np.searchsorted(places, [row, row + batch.num_rows])
            if high > low:
                yield batch.take(pa.array(places[low:high] - row))
            row += batch.num_rows

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        if self.cache is None:
            raise RuntimeError("synthesize asks before it writes: call prepare first")
        cache = AnswerCache(self.cache)
        for batch in self._originals(shard):
            yield self._judge(batch, cache)

    def _judge(self, batch: pa.RecordBatch, cache: AnswerCache) -> Processed:
        config = self.config
        bounds = checks.Bounds(
            config.min_ratio, config.max_ratio, config.max_copied, config.max_invented_numbers, config.min_numbers_kept
        )
        languages = _languages(batch)
        theirs = batch.column("source_id" if "source_id" in batch.schema.names else "doc_id").to_pylist()
        rows: list[dict[str, Any]] = []
        faults: list[checks.Fault | None] = []
        for doc_id, source_id, original, lang in zip(
            batch.column("doc_id").to_pylist(), theirs, batch.column("text").to_pylist(), languages, strict=True
        ):
            answer = cache.get(config.endpoint.key(self.templates.messages(original, str(lang))))
            text = answer.text.strip() if answer else ""
            name = f"{doc_id}\0{self.config.prompt}\0{self.templates.version}\0{text}"
            rows.append(
                {
                    "doc_id": xxhash.xxh3_128_hexdigest(name.encode()),
                    "source_id": source_id,
                    "source": config.source,
                    "text": text,
                    "origin": f"{config.source}/{config.prompt}#{doc_id}",
                    "lang": lang,
                    "synthetic_from": doc_id,
                    "synthetic_prompt": f"{Path(config.prompt).name}@{self.templates.version}",
                    "synthetic_model": answer.model if answer else None,
                }
            )
            faults.append(
                checks.check(answer.text, answer.finish_reason, original, str(lang), bounds)
                if answer
                else checks.Fault("no_answer")
            )
        kinds = {name: schema.BY_NAME[name].type if name in schema.BY_NAME else pa.string() for name in rows[0]}
        made = pa.RecordBatch.from_pylist(rows, pa.schema(list(kinds.items())))
        characters = [float(sum(map(len, batch.column("text").to_pylist()))), float(sum(len(r["text"]) for r in rows))]
        return Processed(
            made,
            rule=pa.array([f.rule if f else None for f in faults], pa.string()),
            value=pa.array([f.value if f else None for f in faults], pa.float64()),
            threshold=pa.array([f.threshold if f else None for f in faults], pa.float64()),
            detail=pa.array([f"from {r['synthetic_from']}" for r in rows], pa.string()),
            metrics={"characters_of_originals": characters[0], "characters_of_answers": characters[1]},
        )


def _languages(batch: pa.RecordBatch) -> list[str | None]:
    """Language of each row, told where the input doesn't say."""
    if "lang" in batch.schema.names:
        found: list[str | None] = batch.column("lang").to_pylist()
        return found
    return [checks.language.detect(text)[0] for text in batch.column("text").to_pylist()]
