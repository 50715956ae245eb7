"""Line rules: take lines out of documents by predicates over each line's own signals.

In a line rule `signals.NAME` is that of the line, `lang`, `format` and the like are the document's. A rule looks at
all lines, or `at: head` or `tail` only at the run of lines at that end that it fits (with the blank lines between).
Lines without an inked character are never judged. What goes is counted by rule; the share of its words that a
document loses is `lines_removed`, for document rules to bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data.errors import ConfigError
from pretrain_data.kernels import signals
from pretrain_data.kernels.unsafe import split_lines, without_lines
from pretrain_data.rules.expression import Batch, Predicate, Vocabulary, parse
from pretrain_data.rules.ruleset import read_rule_file, rule_file_closure

REMOVED = "lines_removed"
_COUNTED = {"signals.lines", "signals.chars", "signals.words"}
_LINES_AT_ONCE = 16_384


@dataclass(frozen=True)
class LineRule:
    """A compiled line rule; `scope` is judged over documents, `test` over lines."""

    name: str
    scope: Predicate | None
    test: Predicate
    at: str


@dataclass(frozen=True)
class LineRules:
    """The line rules of a run, and the share of its words that a document may lose."""

    rules: tuple[LineRule, ...]
    most: float | None


@dataclass(frozen=True)
class Edited:
    """Texts without the lines that the rules take, share of words gone a document, counts for the metrics."""

    text: pa.Array
    share: npt.NDArray[np.float64]
    metrics: dict[str, float]


def load(paths: Sequence[Path | str], vocabulary: Vocabulary) -> LineRules:
    """The line rules of these rule files and of those that they name. Raises ConfigError that lists every fault."""
    rules: list[LineRule] = []
    bounds, faults = [], []
    for path in rule_file_closure(paths):
        file = read_rule_file(path)
        if file.max_lines_removed is not None:
            bounds.append(file.max_lines_removed)
        for config in file.lines:
            where = f"{path.name}: line rule {config.name}"
            try:
                if config.name in {rule.name for rule in rules}:
                    raise ConfigError(f"{where}: the name is taken")
                scope = parse(file.where, vocabulary, f"{where}: where") if file.where else None
                rules.append(
                    LineRule(config.name, scope, parse(config.drop_if, vocabulary, where, config.let), config.at)
                )
            except ConfigError as error:
                faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return LineRules(tuple(rules), min(bounds, default=None))


def edit(rules: LineRules, text: pa.Array, view: Batch, options: signals.SignalOptions) -> Edited:
    """Take out lines; `view` holds the documents as rules see them."""
    text = pc.fill_null(text.cast(pa.large_string()), "")
    documents = len(text)
    lines, rows, borders = split_lines(text)
    read = frozenset().union(*(rule.test.names for rule in rules.rules))
    numbers = _signals(lines, {name for name in read if name.startswith("signals.")} | _COUNTED, options)
    places = pa.array(rows)
    of_lines: dict[str, Any] = {name: _at(view[name], rows, places) for name in read if name not in numbers} | numbers
    inked = numbers["signals.lines"] > 0
    gone = np.zeros(len(rows), bool)
    metrics: dict[str, float] = defaultdict(float)
    for rule in rules.rules:
        asked = np.ones(documents, bool) if rule.scope is None else rule.scope.test(view)
        fits = rule.test.test(of_lines) & inked & asked[rows] & ~gone
        if rule.at != "anywhere":
            fits = _at_end(fits, inked & ~gone, rows, rule.at)
        gone |= fits
        if fits.any():
            metrics[f"{rule.name}.lines"] += int((fits & inked).sum())
            metrics[f"{rule.name}.chars"] += int(numbers["signals.chars"][fits].sum())
            metrics[f"{rule.name}.documents"] += len(np.unique(rows[fits]))
    words = np.bincount(rows, weights=numbers["signals.words"], minlength=documents)
    lost = np.bincount(rows, weights=numbers["signals.words"] * gone, minlength=documents)
    share = np.divide(lost, words, out=np.zeros(documents), where=words > 0)
    return Edited(without_lines(text, gone, rows, borders), share, metrics)


def _signals(lines: pa.Array, names: set[str], options: signals.SignalOptions) -> dict[str, npt.NDArray[Any]]:
    """The named signals of each line, without its line break; some lines at a time, for there may be millions."""
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in sorted(names)}
    for first in range(0, max(len(lines), 1), _LINES_AT_ONCE):
        struct = signals.compute(pc.ascii_rtrim(lines.slice(first, _LINES_AT_ONCE), characters="\n"), options)
        for name, found in parts.items():
            found.append(struct.field(name.removeprefix("signals.")).to_numpy())
    return {name: np.concatenate(found) for name, found in parts.items()}


def _at(column: Any, rows: npt.NDArray[np.int64], places: pa.Array) -> Any:
    return column.take(places) if isinstance(column, pa.Array | pa.ChunkedArray) else np.asarray(column)[rows]


def _at_end(
    fits: npt.NDArray[np.bool_], judged: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64], at: str
) -> npt.NDArray[np.bool_]:
    """Of the lines that fit those in the run at the head or tail of their document, blank lines within it too."""
    if at == "tail":
        return _at_end(fits[::-1], judged[::-1], rows[::-1], "head")[::-1]
    if not len(rows):
        return fits
    starts = np.r_[True, rows[1:] != rows[:-1]]
    group = np.cumsum(starts) - 1
    stop = np.cumsum(judged & ~fits)  # judged lines so far that don't fit
    before: npt.NDArray[np.int64] = (stop - (judged & ~fits))[starts][group]
    inside: npt.NDArray[np.bool_] = stop == before
    # Blank lines go only where a line that fits stands behind them in the run.
    index = np.arange(len(rows))
    last = np.full(group[-1] + 1, -1)
    np.maximum.at(last, group[inside & fits], index[inside & fits])
    return inside & (index <= last[group]) & (fits | ~judged)


__all__ = ["REMOVED", "Edited", "LineRule", "LineRules", "edit", "load"]
