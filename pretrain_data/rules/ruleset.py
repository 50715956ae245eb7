"""Rules and sets of rules: from YAML values to something that judges a batch.

A rule:

    - name: too_few_words
      drop_if: signals.words < least      # or when: ... with penalty: 0.5, a soft rule
      let: {least: 50}                    # parameters of the predicate
      where: lang == "en"                 # documents that the rule looks at; default: all
      per:                                # what differs for a language or a format
        lang: {zh: {least: 30}}           # other parameters
        format: {code: off, latex: signals.words < 10}   # off, or another predicate
      source: Rae et al. 2021, appendix A1

`per.format` goes before `per.lang` where both speak. A rule file is a mapping with `rules`, a
`where` that holds for all of them, and `source`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pretrain_data import yamltree
from pretrain_data.errors import ConfigError
from pretrain_data.rules.expression import Batch, Predicate, Vocabulary, parse

Variant = str | bool | dict[str, float | str]


class PerConfig(BaseModel):
    """What differs by language and by format: value → off, parameters, or another predicate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lang: dict[str, Variant] = Field(default_factory=dict, description="By language, e.g. {zh: off}.")
    format: dict[str, Variant] = Field(default_factory=dict, description="By format, e.g. {code: off}.")

    @field_validator("lang", "format")
    @classmethod
    def _off_is_the_only_switch(cls, value: dict[str, Variant]) -> dict[str, Variant]:
        for name, variant in value.items():
            if variant is True:
                raise ValueError(f"{name}: must be off, parameters or a predicate, not true")
        return value


class RuleConfig(BaseModel):
    """One rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Goes into the ledger.")
    drop_if: str | None = Field(default=None, description="Predicate that drops a document.")
    when: str | None = Field(default=None, description="Predicate of a soft rule: adds `penalty`.")
    penalty: float | None = Field(default=None, gt=0, description="What a soft rule adds, in penalty points.")
    where: str | None = Field(default=None, description="Predicate: which documents the rule looks at.")
    let: dict[str, float | str] = Field(default_factory=dict, description="Parameters of the predicate.")
    per: PerConfig = Field(default_factory=PerConfig, description="Overrides by language and format.")
    source: str | None = Field(default=None, description="Where the threshold comes from.")

    @model_validator(mode="after")
    def _hard_or_soft(self) -> RuleConfig:
        if (self.drop_if is None) == (self.when is None):
            raise ValueError("a rule has either drop_if, or when with penalty")
        if (self.when is None) != (self.penalty is None):
            raise ValueError("when and penalty go together")
        return self


class LineRuleConfig(BaseModel):
    """One rule that takes lines out of documents: see `rules.lines`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Goes into the metrics.")
    drop_if: str = Field(description="Predicate over the signals of a line and the columns of its document.")
    at: Literal["anywhere", "head", "tail"] = Field(
        default="anywhere", description="head, tail: only the run of lines at that end of a document that it fits."
    )
    let: dict[str, float | str] = Field(default_factory=dict, description="Parameters of the predicate.")
    source: str | None = Field(default=None, description="Where the threshold comes from.")


class RuleFile(BaseModel):
    """A file of rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str | None = Field(default=None, description="Where the rules come from.")
    where: str | None = Field(default=None, description="Predicate: documents that its rules look at.")
    files: list[str] = Field(default_factory=list, description="Rule files that go before, by path or name.")
    adjust: dict[str, Variant] = Field(
        default_factory=dict, description="Changes to rules of `files` by name, as under `per`."
    )
    rules: list[RuleConfig] = Field(default_factory=list)
    lines: list[LineRuleConfig] = Field(default_factory=list, description="Rules that take out lines, in order.")
    max_lines_removed: float | None = Field(
        default=None, ge=0, le=1, description="Drop a document that loses more than this share of its words by lines."
    )


BUNDLED = Path(__file__).resolve().parent.parent / "rulesets"


def find_rule_file(path: Path | str) -> Path:
    """The file that `path` names: itself, or the bundled `NAME` (with or without .yaml).

    Raises ConfigError that lists the bundled names.
    """
    path = Path(path)
    if path.is_file():
        return path
    bundled = BUNDLED / (path.name if path.suffix else f"{path.name}.yaml")
    if len(path.parts) == 1 and bundled.is_file():
        return bundled
    names = sorted(p.stem for p in BUNDLED.glob("*.yaml"))
    near = _nearest(path.stem, names)
    raise ConfigError(f"no rule file {path}{near} (bundled: {', '.join(names)})")


def _nearest(name: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def rule_file_closure(paths: Sequence[Path | str]) -> list[Path]:
    """The rule files of `paths` and those that they name, each once, before the file that names it."""
    found: list[Path] = []

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        if path in above:
            raise ConfigError(f"{path}: names itself under files")
        for inner in read_rule_file(path).files:
            visit(
                find_rule_file(path.parent / inner if (path.parent / inner).is_file() else inner),
                (*above, path),
            )
        if path not in found:
            found.append(path)

    for path in paths:
        visit(find_rule_file(path), ())
    return found


def read_rule_file(path: Path) -> RuleFile:
    """Read and validate one rule file. Raises ConfigError with file and line."""
    return _validated(str(path), yamltree.read_text(path))


@lru_cache(maxsize=256)
def _validated(path: str, text: str) -> RuleFile:
    """The rule file of this text: a worker compiles the rules anew for each shard, and YAML is slow to parse."""
    tree = yamltree.parse(text, path)
    try:
        return RuleFile.model_validate(tree.value)
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            place = tuple(p for p in fault["loc"] if not (isinstance(p, str) and p.startswith(("str", "dict", "bool"))))
            known = list(RuleConfig.model_fields if "rules" in place else RuleFile.model_fields)
            hint = _nearest(str(place[-1]), known) if fault["type"] == "extra_forbidden" else ""
            message = (
                "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
            )
            lines.append(f"{tree.position(place)}: {yamltree.dotted(place)}: {message}{hint}")
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


@dataclass(frozen=True)
class Rule:
    """A compiled rule: which variant judges which documents."""

    name: str
    penalty: float | None  # None: drops
    where: tuple[Predicate, ...]
    default: Predicate
    per: tuple[tuple[str, str, Predicate | None], ...]  # column, value, its predicate (None: off)
    config: RuleConfig

    @property
    def names(self) -> frozenset[str]:
        """The columns and signals that the rule reads."""
        used = [*self.where, self.default, *(p for _, _, p in self.per if p is not None)]
        return frozenset().union(*(p.names for p in used), {column for column, _, _ in self.per})

    def variants(
        self, batch: Batch, rows: int, known: dict[Any, npt.NDArray[np.bool_]] | None = None
    ) -> list[tuple[Predicate, npt.NDArray[np.bool_]]]:
        """Predicates and the documents that each one judges; no document is judged twice.

        `known` keeps what was found of this batch for the next rule: many share their `where` and `per`.
        """
        known = {} if known is None else known
        scope = np.ones(rows, bool)
        for predicate in self.where:
            if predicate.text not in known:
                known[predicate.text] = predicate.test(batch)
            scope = scope & known[predicate.text]
        left = scope
        result = []
        for column, value, variant in self.per:
            if (column, value) not in known:
                known[column, value] = np.asarray(pc.fill_null(pc.equal(batch[column], value), False))
            chosen = left & known[column, value]
            left = left & ~chosen
            if variant is not None and chosen.any():
                result.append((variant, chosen))
        if left.any():
            result.append((self.default, left))
        return result


@dataclass(frozen=True)
class Verdict:
    """What a rule set makes of a batch of n documents, in rule order."""

    fires: npt.NDArray[np.bool_]  # (rules, n): the predicate holds
    drops: npt.NDArray[np.bool_]  # (n): some hard rule fires, or the penalty is over the bound
    first: npt.NDArray[np.int64]  # (n): number of the first hard rule that fires; -1 none; len(rules): penalty
    value: npt.NDArray[np.float64]  # (n): what it measured; NaN where none
    threshold: npt.NDArray[np.float64]  # (n)
    penalty: npt.NDArray[np.float64]  # (n): sum over the soft rules that fire


@dataclass(frozen=True)
class RuleSet:
    """Rules in order, and the bound on the sum of penalties."""

    rules: tuple[Rule, ...]
    max_penalty: float | None = None

    @property
    def names(self) -> frozenset[str]:
        return frozenset().union(*(r.names for r in self.rules)) if self.rules else frozenset()

    def judge(self, batch: Batch) -> Verdict:
        """Evaluate all rules over one batch."""
        n = len(next(iter(batch.values())))
        fires = np.zeros((len(self.rules), n), bool)
        first = np.full(n, -1)
        value, threshold = np.full(n, np.nan), np.full(n, np.nan)
        penalty = np.zeros(n)
        known: dict[Any, npt.NDArray[np.bool_]] = {}
        for number, rule in enumerate(self.rules):
            for predicate, scope in rule.variants(batch, n, known):
                hit = scope & predicate.test(batch)
                fires[number] |= hit
                if rule.penalty is not None:
                    penalty += rule.penalty * hit
                    continue
                new = hit & (first < 0)
                if new.any():
                    first[new] = number
                    measured, against = predicate.evidence(batch, new)
                    value[new], threshold[new] = measured[new], against[new]
        if self.max_penalty is not None:
            over = (penalty > self.max_penalty) & (first < 0)
            first[over] = len(self.rules)
            value[over], threshold[over] = penalty[over], self.max_penalty
        return Verdict(fires, first >= 0, first, value, threshold, penalty)


def compile_rules(
    configs: Sequence[tuple[str, RuleConfig, Sequence[str]]],
    vocabulary: Vocabulary,
    max_penalty: float | None = None,
) -> RuleSet:
    """Compile rules, each given with where it stands (for messages) and its file's `where`s.

    Raises ConfigError that lists every fault of every rule.
    """
    rules: list[Rule] = []
    faults: list[str] = []
    seen: dict[str, str] = {}
    for place, config, scopes in configs:
        where = f"{place}: rule {config.name}"
        if config.name in seen:
            faults.append(f"{where}: the name is taken (by {seen[config.name]})")
        seen[config.name] = place
        try:
            rules.append(_compile(config, scopes, vocabulary, where))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return RuleSet(tuple(rules), max_penalty)


def _compile(config: RuleConfig, scopes: Sequence[str], vocabulary: Vocabulary, where: str) -> Rule:
    text = config.drop_if if config.drop_if is not None else config.when
    _check_parameters(config, vocabulary, where)
    scope = [parse(s, vocabulary, f"{where}: where") for s in [*scopes, config.where] if s is not None]
    per: list[tuple[str, str, Predicate | None]] = []
    for column in ("format", "lang"):
        for value, variant in getattr(config.per, column).items():
            here = f"{where}: per.{column}.{value}"
            if variant is False or variant == "off":
                per.append((column, value, None))
            elif isinstance(variant, Mapping):
                unknown = [k for k in variant if k not in config.let]
                if unknown:
                    raise ConfigError(
                        f"{here}: no parameter {unknown[0]} under let{_nearest(unknown[0], list(config.let))}"
                    )
                per.append((column, value, parse(text, vocabulary, here, {**config.let, **variant})))
            else:
                per.append((column, value, parse(variant, vocabulary, here, config.let)))
    default = parse(text, vocabulary, where, config.let)
    return Rule(config.name, config.penalty, tuple(scope), default, tuple(per), config)


def _check_parameters(config: RuleConfig, vocabulary: Vocabulary, where: str) -> None:
    for name in config.let:
        if not name.isidentifier() or name in vocabulary.types:
            raise ConfigError(f"{where}: let.{name}: must be a plain name that no column has")


def as_configs(
    place: str, rules: Sequence[RuleConfig], scopes: Sequence[str] = ()
) -> list[tuple[str, RuleConfig, Sequence[str]]]:
    """Rules with where they stand, for `compile_rules`."""
    return [(place, rule, scopes) for rule in rules]


Placed = tuple[str, RuleConfig, Sequence[str]]  # where it stands, the rule, the `where`s of its file


def load_rules(paths: Sequence[Path | str], adjust: Mapping[str, Variant] | None = None) -> list[Placed]:
    """The rules of these files and of the files that they name, adjusted, for `compile_rules`."""
    placed: list[Placed] = []
    for path in rule_file_closure(paths):
        file = read_rule_file(path)
        placed = _adjust(placed, file.adjust, path.name)
        placed += as_configs(path.name, file.rules, [file.where] if file.where else [])
    return _adjust(placed, adjust or {}, "rules")


def _adjust(placed: list[Placed], adjust: Mapping[str, Variant], place: str) -> list[Placed]:
    """`placed` with rules switched off, given other parameters, or another predicate."""
    names = [rule.name for _, rule, _ in placed]
    for name in adjust:
        if name not in names:
            raise ConfigError(f"{place}: adjust.{name}: no such rule{_nearest(name, names)}")
    result: list[Placed] = []
    for where, rule, scopes in placed:
        change = adjust.get(rule.name)
        if change is False or change == "off":
            continue
        if isinstance(change, Mapping):
            unknown = [key for key in change if key not in rule.let]
            if unknown:
                raise ConfigError(
                    f"{place}: adjust.{rule.name}.{unknown[0]}: no such parameter{_nearest(unknown[0], list(rule.let))}"
                )
            rule = rule.model_copy(update={"let": {**rule.let, **change}})
        elif isinstance(change, str):
            rule = rule.model_copy(update={"drop_if" if rule.drop_if is not None else "when": change})
        result.append((where, rule, scopes))
    return result


__all__ = [
    "PerConfig",
    "Rule",
    "RuleConfig",
    "RuleFile",
    "RuleSet",
    "Verdict",
    "as_configs",
    "compile_rules",
    "find_rule_file",
    "load_rules",
    "read_rule_file",
    "rule_file_closure",
]
