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
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data.errors import ConfigError, PretrainDataError
from pretrain_data.kernels import signals
from pretrain_data.rules import audit, auditfiles, auditsums, englishcut, lines, urls, wordlists
from pretrain_data.rules.config import (
    NUMBERS,
    STRINGS,
    RulesConfig,
    ShiftBound,
    adjusted,
    line_rules,
    rule_set,
    vocabulary,
)
from pretrain_data.rules.expression import Batch
from pretrain_data.rules.ruleset import (
    RuleSet,
    rule_file_closure,
)
from pretrain_data.stage import Processed, Shard, Stage, StageRun

#: Beside the manifest: the audit of the run, as `audit.report` makes it.
REPORT = "audit.json"


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
        return [
            *rule_file_closure(self.config.files),
            *wordlists.bundled(),
            englishcut.PATH,
            *self.config.wordlists,
            *lists,
        ]

    @cached_property
    def rule_set(self) -> RuleSet:
        return rule_set(self.config)

    @cached_property
    def url_lists(self) -> dict[str, urls.UrlList]:
        return urls.read_all(self.config.url_lists)

    @cached_property
    def line_rules(self) -> lines.LineRules:
        return line_rules(self.config)

    @cached_property
    def options(self) -> signals.SignalOptions:
        paths = [*wordlists.bundled(), *self.config.wordlists]
        topics = wordlists.read_topics([p for p in paths if wordlists.topic(p) != wordlists.STOP_WORDS])
        stops = {p.name.split(".")[1]: wordlists.read(p) for p in paths if p.name.startswith(wordlists.STOP_WORDS)}
        return _options(
            tuple(stops.get("en", [])),
            tuple(stops.get("zh", [])),
            tuple((topic, tuple(terms)) for topic, terms in topics.items()),
            self.config.short_line,
            self.config.c4_min_words,
            self.config.c4_max_word,
        )

    @classmethod
    def warm(cls) -> None:
        signals.compute(pa.array(["A line. 一行。"]), cls(RulesConfig()).options)

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
        files = auditfiles.shard_files(run.output, auditfiles.COUNTS)
        found = audit.report(auditsums.summed(run.spark, files, run.tasks))
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
            metrics: dict[str, float] = defaultdict(float)
            batch, struct, view = self._edited(batch, metrics)
            verdict = self.rule_set.judge(view)
            names = [*(r.name for r in self.rule_set.rules), "penalty"]
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

    def _edited(self, batch: pa.RecordBatch, metrics: dict[str, float]) -> tuple[pa.RecordBatch, pa.StructArray, Batch]:
        """The batch without the lines that line rules take, its signals, and both as rules see them."""
        text = batch.column("text")
        struct = signals.compute(text, self.options)
        view = self.view(batch, struct)
        if not self.line_rules.rules:
            return batch, struct, view
        edited = lines.edit(self.line_rules, text, view, self.options)
        for name, size in edited.metrics.items():
            metrics[f"lines.{name}"] += size
        changed = np.asarray(pc.not_equal(edited.text, pc.fill_null(text.cast(pa.large_string()), "")))
        if changed.any():
            metrics["lines.documents"] += int(changed.sum())
            again = signals.compute(edited.text.filter(pa.array(changed)), self.options)
            order = np.arange(len(text))
            order[changed] = len(text) + np.arange(len(again))
            struct = pa.concat_arrays([struct, again]).take(pa.array(order))
            batch = _with_column(batch, "text", edited.text.cast(text.type))
            view = self.view(batch, struct)
        return batch, struct, {**view, lines.REMOVED: edited.share}

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


@lru_cache(maxsize=4)
def _options(
    en_stops: tuple[str, ...],
    zh_stops: tuple[str, ...],
    topics: tuple[tuple[str, tuple[str, ...]], ...],
    short_line: int,
    c4_min_words: int,
    c4_max_word: int,
) -> signals.SignalOptions:
    """Compiled word lists: each shard has a stage of its own, and workers see many shards."""
    return signals.SignalOptions(
        en_stops, zh_stops, dict(topics), short_line, c4_min_words, c4_max_word, *englishcut.load()
    )


def _ids(batch: pa.RecordBatch) -> pa.Array:
    for name in ("doc_id", "source_id"):
        if name in batch.schema.names:
            return batch.column(name)
    return pa.nulls(batch.num_rows, pa.string())


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


__all__ = ["Rules", "RulesConfig", "ShiftBound", "adjusted", "rule_set", "vocabulary"]
