"""Rules: computes the signals of each document once and drops documents by predicates over them.

Adds `signals` (see `kernels.signals`). A dropped document's ledger entry names the first rule that
drops it, the value that the rule's first true comparison measured, and what it was held against.

A run leaves an audit beside its documents: what each rule and all of them remove and how that shifts
the shares of languages, domains, sources, formats, lengths and hosts (`rules.audit`); `max_shift`
bounds it. `pretrain-data plan rules` shows it, and what other thresholds would do.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pretrain_data.errors import ConfigError, PretrainDataError
from pretrain_data.kernels import signals
from pretrain_data.rules import audit, auditfiles, urls, wordlists
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
from pretrain_data.stage import Processed, Shard, Stage, StageConfig, StageRun

#: Columns that a rule may read, and what stands for a missing or null one.
STRINGS = {"lang": "und", "format": "prose", "source": None, "url": None, "title": None, "domain": None}
NUMBERS = ("lang_score", "quality_score", "domain_score")


Attribute = Literal["lang", "domain", "source", "format", "length", "host"]

#: Beside the manifest: the audit of the run, as `audit.report` makes it.
REPORT = "audit.json"


class ShiftBound(BaseModel):
    """How far the rules as a whole may shift one attribute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float | None = Field(
        default=None, ge=0, le=1, description="Largest change of one value's share of documents or tokens."
    )
    divergence: float | None = Field(
        default=None, ge=0, le=1, description="Largest Jensen-Shannon divergence, in bits, of documents or tokens."
    )
    then: Literal["warn", "fail"] = Field(default="fail", description="What a run over the bound does.")

    @model_validator(mode="after")
    def _bounds_something(self) -> ShiftBound:
        if self.share is None and self.divergence is None:
            raise ValueError("needs share or divergence")
        return self


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
    url_lists: list[Path] = Field(
        default_factory=list,
        description="Blocklists of hosts and paths, TOPIC.txt (or a bundled one: no_text). Each gives rules the number "
        "urls.TOPIC, the line of the entry that the URL meets or 0; one that no rule reads drops as url_TOPIC.",
    )
    short_line: int = Field(default=30, ge=1, description="Longest short line, in code points (FineWeb: 30).")
    c4_min_words: int = Field(default=3, ge=0, description="Words that a line of C4 has at least.")
    c4_max_word: int = Field(default=1000, ge=1, description="Longest word in a line of C4, in code points.")
    audit: bool = Field(
        default=True,
        description="Keep the audit and every document's signals beside the documents, about 0.2 KB a document.",
    )
    max_shift: dict[Attribute, ShiftBound] = Field(
        default_factory=dict,
        description="Bounds on what the rules as a whole do to the make-up, e.g. {lang: {share: 0.05}}.",
    )
    infer_lang: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Where lang is missing or und, rules see zh from this share of Han on, else en from this "
        "share of Latin letters on. 1.0 and more of neither: und.",
    )

    @model_validator(mode="after")
    def _audited(self) -> RulesConfig:
        if self.max_shift and not self.audit:
            raise ValueError("max_shift needs audit: true")
        return self

    @model_validator(mode="after")
    def _compiles(self) -> RulesConfig:
        if all(path.is_file() or len(path.parts) == 1 for path in [*self.files, *self.wordlists, *self.url_lists]):
            try:
                rule_set(self)
            except ConfigError as error:
                if "no rule file" not in str(error) and "can't be read" not in str(error):
                    raise ValueError(str(error)) from None
        return self


def vocabulary(categories: tuple[str, ...], url_topics: tuple[str, ...] = ()) -> Vocabulary:
    """The names that rules may use, given the topics of the word lists and of the URL lists."""
    types = dict.fromkeys(STRINGS, STRING) | dict.fromkeys(NUMBERS, NUMBER)
    types |= {f"urls.{topic}": NUMBER for topic in url_topics}
    return Vocabulary(types | {f"signals.{f.name}": NUMBER for f in signals.fields(categories)})


def rule_set(config: RulesConfig) -> RuleSet:
    """Compile the config's rules. Raises ConfigError that lists every fault."""
    topics = dict.fromkeys(wordlists.topic(p) for p in [*wordlists.bundled(), *config.wordlists])
    topics.pop(wordlists.STOP_WORDS, None)
    configs = load_rules(config.files, config.adjust)
    configs += as_configs("rules", config.rules)
    url_topics = tuple(dict.fromkeys(urls.topic(urls.find(path)) for path in config.url_lists))
    names = vocabulary(tuple(topics), url_topics)
    read = compile_rules(configs, names, config.max_penalty).names
    own = [RuleConfig(name=f"url_{t}", drop_if=f"urls.{t} > 0") for t in url_topics if f"urls.{t}" not in read]
    return compile_rules([*as_configs("url_lists", own), *configs], names, config.max_penalty)


def adjusted(config: RulesConfig, changes: list[str]) -> RulesConfig:
    """`config` with rules changed: each change is RULE.PARAMETER=NUMBER or RULE=off.

    Raises ConfigError for a change of another form and for an unknown rule or parameter.
    """
    adjust: dict[str, Variant] = dict(config.adjust)
    own = {rule.name: rule for rule in config.rules}
    for change in changes:
        name, _, value = change.partition("=")
        rule, _, parameter = name.partition(".")
        if not parameter and value == "off":
            adjust[rule] = False
            own.pop(rule, None)
            continue
        try:
            number = float(value)
        except ValueError:
            raise ConfigError(f"{change!r}: must be RULE.PARAMETER=NUMBER or RULE=off") from None
        if rule in own:
            if parameter not in own[rule].let:
                raise ConfigError(f"{change!r}: rule {rule} has no parameter {parameter}")
            own[rule] = own[rule].model_copy(update={"let": {**own[rule].let, parameter: number}})
            continue
        before = adjust.get(rule, {})
        adjust[rule] = {**before, parameter: number} if isinstance(before, dict) else {parameter: number}
    named = {rule.name for rule in config.rules}
    adjust = {name: change for name, change in adjust.items() if name not in named}
    result = config.model_copy(update={"adjust": adjust, "rules": list(own.values())})
    rule_set(result)
    return result


class Rules(Stage[RulesConfig]):
    """Computes signals and drops documents by rules over them."""

    name = "rules"
    config_class = RulesConfig
    shardwise = True
    needs = ("text",)
    adds = ("signals",)

    def __init__(self, config: RulesConfig) -> None:
        super().__init__(config)
        self.output: str | None = None  # where the audit goes; None: nowhere
        for path in config.wordlists:
            if not path.is_file():
                raise ConfigError(f"stages.rules.wordlists: no word list {path}")
        _ = self.url_lists
        _ = self.rule_set  # faults are told before anything runs

    def resources(self) -> list[Path]:
        lists = [urls.find(path) for path in self.config.url_lists]
        return [*rule_file_closure(self.config.files), *wordlists.bundled(), *self.config.wordlists, *lists]

    @cached_property
    def rule_set(self) -> RuleSet:
        return rule_set(self.config)

    @cached_property
    def url_lists(self) -> dict[str, urls.UrlList]:
        return urls.read_all(self.config.url_lists)

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
        return {
            "config": self.config,
            "output": self.output,
        }  # compiled rules and tables are made again where they are used

    def prepare(self, run: StageRun) -> None:
        self.output = str(run.output) if self.config.audit else None

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        if self.output is None:
            yield from self._judge(batches, None)
            return
        writer = auditfiles.AuditWriter(Path(self.output), shard.name)
        try:
            yield from self._judge(batches, writer)
            writer.close()
        finally:
            writer.abandon()

    def conclude(self, run: StageRun) -> None:
        """Sum the shards' audits, write the report, and hold it against `max_shift`."""
        if not self.config.audit:
            return
        found = audit.report(_summed(run))
        text = json.dumps(found, ensure_ascii=False, indent=1, sort_keys=True)
        (run.output / REPORT).write_text(text, encoding="utf-8")
        shifts = found["rules"].get(audit.ALL_RULES, {}).get("attributes", {})
        measures = ("divergence", "divergence_tokens", "max_shift")
        run.metrics["audit"] = {name: {m: round(s[m], 6) for m in measures} for name, s in shifts.items()}
        failures = []
        for attribute, bound in self.config.max_shift.items():
            told = _over(found, attribute, bound)
            if told and bound.then == "fail":
                failures.append(told)
            elif told:
                run.warn(told)
        if failures:
            raise PretrainDataError(
                "\n".join(failures) + "\nLoosen the rule, exempt the value with per or where, or raise max_shift."
            )

    def _judge(self, batches: Iterator[pa.RecordBatch], writer: auditfiles.AuditWriter | None) -> Iterator[Processed]:
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
            if writer is not None:
                writer.add(_ids(batch), view, self.rule_set, verdict)
            first = verdict.first
            out = _with_column(batch, "signals", struct)
            yield Processed(
                out,
                rule=pa.array(names).take(pa.array(first, mask=first < 0)),
                value=pa.array(verdict.value, from_pandas=True),
                threshold=pa.array(verdict.threshold, from_pandas=True),
                detail=self._entries(view, first),
                metrics=metrics,
            )

    def _entries(self, view: Batch, first: npt.NDArray[np.int64]) -> pa.Array | None:
        """For documents that a URL list drops, the entry that their URL meets."""
        if not self.url_lists:
            return None
        detail = np.full(len(first), None, object)
        for number, rule in enumerate(self.rule_set.rules):
            for topic in (t for t in self.url_lists if f"urls.{t}" in rule.names):
                lines, entries = view[f"urls.{topic}"], self.url_lists[topic].entries
                for row in np.flatnonzero((first == number) & (lines > 0)):
                    detail[row] = entries[int(lines[row])]
        return pa.array(detail, pa.string())

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
        view.update(urls.columns(self.url_lists, view["url"]))  # type: ignore[arg-type]
        return view  # type: ignore[return-value]

    def _infer(self, view: dict[str, object]) -> pa.Array:
        least = self.config.infer_lang
        zh = pa.array(view["signals.zh_share"] >= least)  # type: ignore[operator]
        en = pa.array(view["signals.latin_share"] >= least)  # type: ignore[operator]
        guess = pc.if_else(zh, "zh", pc.if_else(en, "en", "und"))
        return pc.if_else(pc.equal(view["lang"], "und"), guess, view["lang"])


def _ids(batch: pa.RecordBatch) -> pa.Array:
    for name in ("doc_id", "source_id"):
        if name in batch.schema.names:
            return batch.column(name)
    return pa.nulls(batch.num_rows, pa.string())


def _summed(run: StageRun) -> list[dict[str, Any]]:
    """The shards' tallies summed with Spark, with the largest values of each attribute by name.

    What comes back is bounded by rules x attributes x audit.MOST_VALUES.
    """
    from pyspark.sql import functions as f
    from pyspark.sql.window import Window

    files = auditfiles.shard_files(run.output, auditfiles.COUNTS)
    if not files:
        return []
    keys = ("rule", "attribute", "value")
    paths = [str(p) for p in files]
    sums = run.spark.read.parquet(*paths).groupBy(*keys).agg(*(f.sum(n).alias(n) for n in audit.COUNTS))
    order = Window.partitionBy("attribute").orderBy(f.desc("documents"), "value")
    large = (
        sums.where(f.col("rule") == audit.BEFORE)
        .withColumn("rank", f.row_number().over(order))
        .where(f.col("rank") <= audit.MOST_VALUES)
        .select("attribute", "value", f.lit(True).alias("large"))
    )
    named = sums.join(f.broadcast(large), ["attribute", "value"], "left").withColumn(
        "value", f.when(f.col("large"), f.col("value")).otherwise(audit.MORE)
    )
    rows = named.groupBy(*keys).agg(*(f.sum(n).alias(n) for n in audit.COUNTS)).orderBy(*keys).collect()
    return [row.asDict() for row in rows]


def _over(found: dict[str, Any], attribute: str, bound: ShiftBound) -> str | None:
    """What to say where the rules shift `attribute` over its bound."""
    whole = found["rules"].get(audit.ALL_RULES)
    if whole is None:
        return None
    shift = whole["attributes"][attribute]
    measured = max(shift["divergence"], shift["divergence_tokens"])
    if not (
        (bound.share is not None and shift["max_shift"] > bound.share)
        or (bound.divergence is not None and measured > bound.divergence)
    ):
        return None
    others = [(r["attributes"][attribute]["max_shift"], n) for n, r in found["rules"].items() if n != audit.ALL_RULES]
    worst = ", ".join(f"{name} {size:.3f}" for size, name in sorted(others, key=lambda o: (-o[0], o[1]))[:3])
    moved = sorted(shift["values"], key=lambda v: (-abs(v["share_after"] - v["share_before"]), v["value"]))[:2]
    shares = ", ".join(f"{v['value']} {v['share_before']:.1%} → {v['share_after']:.1%}" for v in moved)
    limits = ", ".join(
        f"{n} {b}" for n, b in (("share", bound.share), ("divergence", bound.divergence)) if b is not None
    )
    return (
        f"max_shift: the rules shift {attribute} ({shares}) by {shift['max_shift']:.3f} of a share, divergence "
        f"{measured:.4f}; the bound is {limits}. By rule: {worst}"
    )


def _with_column(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    """`batch` with `column` set, in place of one of that name that it has already."""
    if name in batch.schema.names:
        return batch.set_column(batch.schema.get_field_index(name), name, column)
    return batch.append_column(name, column)
