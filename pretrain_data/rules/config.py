"""The config of the rules stage, and what is compiled from it: names, document rules, line rules."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pretrain_data.errors import ConfigError
from pretrain_data.kernels import signals
from pretrain_data.rules import lines, urls, wordlists
from pretrain_data.rules.expression import NUMBER, STRING, Vocabulary
from pretrain_data.rules.ruleset import RuleConfig, RuleSet, Variant, as_configs, compile_rules, load_rules
from pretrain_data.stage import StageConfig

#: Columns that a rule may read, and what stands for a missing or null one.
STRINGS = {"lang": "und", "format": "prose", "source": None, "url": None, "title": None, "domain": None}
NUMBERS = ("lang_score", "quality_score", "domain_score")


Attribute = Literal["lang", "domain", "source", "format", "length", "host"]


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
    configs = load_rules(config.files, config.adjust)
    configs += as_configs("rules", config.rules)
    edits = line_rules(config)
    url_topics = tuple(dict.fromkeys(urls.topic(urls.find(path)) for path in config.url_lists))
    names = vocabulary(_topics(config), url_topics)
    if edits.rules:
        names = Vocabulary({**names.types, lines.REMOVED: NUMBER})
    read = compile_rules(configs, names, config.max_penalty).names
    own = [RuleConfig(name=f"url_{t}", drop_if=f"urls.{t} > 0") for t in url_topics if f"urls.{t}" not in read]
    if edits.most is not None and lines.REMOVED not in read:
        own.append(RuleConfig(name=lines.REMOVED, drop_if=f"{lines.REMOVED} > most", let={"most": edits.most}))
    return compile_rules([*as_configs("lists", own), *configs], names, config.max_penalty)


def line_rules(config: RulesConfig) -> lines.LineRules:
    """Compile the rules that take lines out. Raises ConfigError that lists every fault."""
    return lines.load(config.files, vocabulary(_topics(config)))


def _topics(config: RulesConfig) -> tuple[str, ...]:
    topics = dict.fromkeys(wordlists.topic(p) for p in [*wordlists.bundled(), *config.wordlists])
    topics.pop(wordlists.STOP_WORDS, None)
    return tuple(topics)


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
