"""Gathers labelled examples and splits them by source, so that nothing of a test source is ever trained on."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import orjson
import pyarrow.parquet as pq
import xxhash

from pretrain_data.errors import ConfigError, InputError
from pretrain_data.kernels.format import detect
from pretrain_data.models.training.config import LabelledFile, SourceRule, TrainConfig

CHARS = 24_000  # of a document that are ever looked at


@dataclass(frozen=True)
class Example:
    """A text and what is known of it; `label` is null before the LLM was asked."""

    text: str
    label: str | None
    lang: str
    source: str
    format: str = "prose"

    @property
    def key(self) -> int:
        """What order and choice derive from: the text alone."""
        return xxhash.xxh3_64_intdigest(self.text.encode())


@dataclass(frozen=True)
class Split:
    """Examples by use. `test` is of sources of which nothing is in the other two."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    test_sources: list[str]


def gather(config: TrainConfig) -> list[Example]:
    """All examples, each text once, in an order that depends on the texts alone. Raises InputError or ConfigError."""
    seen: dict[int, Example] = {}
    for file in config.files:
        for row in _rows(file):
            text = str(row.get(file.text) or "")
            if file.strip:
                text = re.sub(file.strip, "", text)
            text = text[:CHARS]
            if not text.strip():
                continue
            source = str(row.get(file.source) or file.path.stem) if file.source else file.path.stem
            lang = str(row.get(file.lang) or "und") if file.lang else "und"
            label = row.get(file.label) if file.label else None
            label = by_rule(config.rules, source, lang, row) if label is None else str(label)
            label = file.rename.get(label, label) if label is not None else None
            if label in file.drop or (label is None and config.llm is None):
                continue
            format_ = str(row.get("format") or ("prose" if config.formats is None else detect(text)))
            if config.formats is not None and format_ not in config.formats:
                continue
            example = Example(text, label, lang, source, format_)
            seen.setdefault(example.key, example)
    if not seen:
        raise InputError("no labelled text in " + ", ".join(str(f.path) for f in config.files))
    return [seen[key] for key in sorted(seen)]


def by_rule(rules: Iterable[SourceRule], source: str, lang: str, row: dict[str, Any]) -> str | None:
    """The label of the first rule that fits, else None."""
    for rule in rules:
        if not any(fnmatchcase(source, pattern) for pattern in rule.source):
            continue
        if rule.lang is not None and lang not in rule.lang:
            continue
        if all(str(row.get(column)) in values for column, values in rule.where.items()):
            return rule.label
    return None


def _rows(file: LabelledFile) -> Iterator[dict[str, Any]]:
    paths = sorted(file.path.rglob("*")) if file.path.is_dir() else [file.path]
    paths = [p for p in paths if p.suffix in (".parquet", ".jsonl") and p.is_file()]
    if not paths:
        raise InputError(f"{file.path}: no .parquet or .jsonl there")
    for path in paths:
        if path.suffix == ".jsonl":
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    try:
                        row = orjson.loads(line)
                    except orjson.JSONDecodeError as error:
                        raise InputError(f"{path}:{number}: not JSON ({error})") from None
                    if not isinstance(row, dict) or file.text not in row:
                        raise InputError(f"{path}:{number}: no {file.text} there")
                    yield row
            continue
        table = pq.ParquetFile(path)
        for column in (file.text, file.label):
            if column is not None and column not in table.schema_arrow.names:
                raise InputError(f"{path}: no column {column}; it has {', '.join(table.schema_arrow.names)}")
        for batch in table.iter_batches(2000):
            yield from batch.to_pylist()


def split(config: TrainConfig, examples: list[Example]) -> Split:
    """Split by source and bound each source. Raises ConfigError where a label would have nothing to train on."""
    rng = random.Random(config.seed)
    sources: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        sources[str(example.label)].add(example.source)
    held: set[str] = set()
    if config.held_out:
        names = {e.source for e in examples}
        for pattern in config.held_out:
            found = {name for name in names if fnmatchcase(name, pattern)}
            if not found:
                raise ConfigError(f"held_out: no source {pattern}; there are {', '.join(sorted(names))}")
            held |= found
    else:
        for label in sorted(sources):
            order = sorted(sources[label])
            rng.shuffle(order)
            held |= set(order[: min(len(order) - 1, max(1, round(len(order) * config.held_out_share)))])
    test = [e for e in examples if e.source in held]
    rest = bounded([e for e in examples if e.source not in held], config.most_a_source)
    missing = set(sources) - {str(e.label) for e in rest}
    if missing:
        raise ConfigError(f"held_out: leaves nothing to train {', '.join(sorted(missing))} on")
    if len({e.label for e in rest}) < 2:
        raise ConfigError("a classifier needs two labels at least")
    bar = int(config.validation_share * 2**32)
    validation = [e for e in rest if (e.key >> 7) % 2**32 < bar]
    chosen = {e.key for e in validation}
    return Split([e for e in rest if e.key not in chosen], validation, test, sorted(held))


def bounded(examples: list[Example], most: int) -> list[Example]:
    """At most `most` of a source, language and label: those of the lowest keys."""
    taken: dict[tuple[Any, ...], int] = defaultdict(int)
    out = []
    for example in sorted(examples, key=lambda e: e.key):
        group = (example.source, example.lang, example.label)
        taken[group] += 1
        if taken[group] <= most:
            out.append(example)
    return out
