"""Rules: computes the signals of each document once and drops documents by predicates over them.

Adds `signals` (see `kernels.signals`). A dropped document's ledger entry names the first rule that
drops it, the value that the rule's first true comparison measured, and what it was held against.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pretrain_data.errors import ConfigError
from pretrain_data.kernels import signals
from pretrain_data.rules import wordlists
from pretrain_data.rules.expression import NUMBER, STRING, Batch, Vocabulary
from pretrain_data.rules.ruleset import (
    RuleConfig,
    RuleSet,
    Variant,
    as_configs,
    compile_rules,
    load_rules,
    rule_file_closure,
)
from pretrain_data.stage import Processed, Shard, Stage, StageConfig

#: Columns that a rule may read, and what stands for a missing or null one.
STRINGS = {"lang": "und", "format": "prose", "source": None, "url": None, "title": None, "domain": None}
NUMBERS = ("lang_score", "quality_score", "domain_score")


class RulesConfig(StageConfig):
    """Signals and the rules over them."""

    files: list[Path] = Field(
        default_factory=lambda: [Path("web")],
        description="Rule files, in order: paths, or names of bundled ones (web, gopher_quality, c4 ...).",
    )
    rules: list[RuleConfig] = Field(default_factory=list, description="Rules that come after those of `files`.")
    adjust: dict[str, Variant] = Field(
        default_factory=dict,
        description="Changes to rules of `files` by name: off, other parameters, or another predicate.",
    )
    max_penalty: float | None = Field(
        default=None, gt=0, description="Drop a document whose soft rules add up to more, in penalty points."
    )
    wordlists: list[Path] = Field(
        default_factory=list,
        description="Further word lists TOPIC.LANG.txt; each topic adds signals kw_TOPIC, kw_TOPIC_lines.",
    )
    short_line: int = Field(default=30, ge=1, description="Longest short line, in code points (FineWeb: 30).")
    c4_min_words: int = Field(default=3, ge=0, description="Words that a line of C4 has at least.")
    c4_max_word: int = Field(default=1000, ge=1, description="Longest word in a line of C4, in code points.")
    infer_lang: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Where lang is missing or und, rules see zh from this share of Han on, else en from this "
        "share of Latin letters on. 1.0 and more of neither: und.",
    )

    @model_validator(mode="after")
    def _compiles(self) -> RulesConfig:
        if all(path.is_file() or len(path.parts) == 1 for path in [*self.files, *self.wordlists]):
            try:
                rule_set(self)
            except ConfigError as error:
                if "no rule file" not in str(error) and "can't be read" not in str(error):
                    raise ValueError(str(error)) from None
        return self


def vocabulary(categories: tuple[str, ...]) -> Vocabulary:
    """The names that rules may use, given the topics of the word lists."""
    types = dict.fromkeys(STRINGS, STRING) | dict.fromkeys(NUMBERS, NUMBER)
    return Vocabulary(types | {f"signals.{f.name}": NUMBER for f in signals.fields(categories)})


def rule_set(config: RulesConfig) -> RuleSet:
    """Compile the config's rules. Raises ConfigError that lists every fault."""
    topics = dict.fromkeys(wordlists.topic(p) for p in [*wordlists.bundled(), *config.wordlists])
    topics.pop(wordlists.STOP_WORDS, None)
    configs = load_rules(config.files, config.adjust)
    configs += as_configs("rules", config.rules)
    return compile_rules(configs, vocabulary(tuple(topics)), config.max_penalty)


class Rules(Stage[RulesConfig]):
    """Computes signals and drops documents by rules over them."""

    name = "rules"
    config_class = RulesConfig
    shardwise = True
    needs = ("text",)
    adds = ("signals",)

    def __init__(self, config: RulesConfig) -> None:
        super().__init__(config)
        for path in config.wordlists:
            if not path.is_file():
                raise ConfigError(f"stages.rules.wordlists: no word list {path}")
        _ = self.rule_set  # faults are told before anything runs

    def resources(self) -> list[Path]:
        return [*rule_file_closure(self.config.files), *wordlists.bundled(), *self.config.wordlists]

    @cached_property
    def rule_set(self) -> RuleSet:
        return rule_set(self.config)

    @cached_property
    def options(self) -> signals.SignalOptions:
        paths = [*wordlists.bundled(), *self.config.wordlists]
        topics = wordlists.read_topics([p for p in paths if wordlists.topic(p) != wordlists.STOP_WORDS])
        stops = {p.name.split(".")[1]: wordlists.read(p) for p in paths if p.name.startswith(wordlists.STOP_WORDS)}
        return signals.SignalOptions(
            stops.get("en", []),
            stops.get("zh", []),
            topics,
            self.config.short_line,
            self.config.c4_min_words,
            self.config.c4_max_word,
        )

    def __getstate__(self) -> dict[str, object]:
        return {"config": self.config}  # compiled rules and tables are made again where they are used

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        for batch in batches:
            struct = signals.compute(batch.column("text"), self.options)
            view = self.view(batch, struct)
            verdict = self.rule_set.judge(view)
            names = [*(r.name for r in self.rule_set.rules), "penalty"]
            metrics: dict[str, float] = defaultdict(float)
            hard = np.array([r.penalty is None for r in self.rule_set.rules], bool)
            alone = verdict.fires[hard].sum(axis=0) == 1 if hard.any() else np.zeros(batch.num_rows, bool)
            for number, rule in enumerate(self.rule_set.rules):
                fires = verdict.fires[number]
                metrics[f"rule.{rule.name}.fires"] = int(fires.sum())
                if rule.penalty is None:
                    metrics[f"rule.{rule.name}.alone"] = int((fires & alone).sum())
            first = verdict.first
            out = _with_column(batch, "signals", struct)
            yield Processed(
                out,
                rule=pa.array(names).take(pa.array(first, mask=first < 0)),
                value=pa.array(verdict.value, from_pandas=True),
                threshold=pa.array(verdict.threshold, from_pandas=True),
                metrics=metrics,
            )

    def view(self, batch: pa.RecordBatch, struct: pa.StructArray) -> Batch:
        """The columns as rules see them: missing strings filled in, language inferred where unknown."""
        view: dict[str, object] = {
            f"signals.{field.name}": struct.field(i).to_numpy() for i, field in enumerate(struct.type)
        }
        present = set(batch.schema.names)
        for name, default in STRINGS.items():
            column = batch.column(name) if name in present else pa.nulls(batch.num_rows, pa.string())
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            view[name] = column if default is None else pc.fill_null(column, default)
        for name in NUMBERS:
            column = batch.column(name) if name in present else pa.nulls(batch.num_rows, pa.float32())
            view[name] = column.to_numpy(zero_copy_only=False)
        view["lang"] = self._infer(view)
        return view  # type: ignore[return-value]

    def _infer(self, view: dict[str, object]) -> pa.Array:
        least = self.config.infer_lang
        zh = pa.array(view["signals.zh_share"] >= least)  # type: ignore[operator]
        en = pa.array(view["signals.latin_share"] >= least)  # type: ignore[operator]
        guess = pc.if_else(zh, "zh", pc.if_else(en, "en", "und"))
        return pc.if_else(pc.equal(view["lang"], "und"), guess, view["lang"])


def _with_column(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    """`batch` with `column` set, in place of one of that name that it has already."""
    if name in batch.schema.names:
        return batch.set_column(batch.schema.get_field_index(name), name, column)
    return batch.append_column(name, column)
