"""From a token budget to a dedup threshold: reads a run's curve, chooses, and says what the choice means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.table import Table

from pretrain_data.dedup.curve import NONE, Point, points, strictest
from pretrain_data.errors import ConfigError, InputError
from pretrain_data.mixing.mixture import token_count


@dataclass(frozen=True)
class Plan:
    """The curve, extrapolated where asked, and the threshold that follows from a target."""

    points: list[Point]
    groups: list[dict[str, Any]]
    target_tokens: int | None
    threshold: float | None
    advice: list[str]


def plan(workspace: Path, target: str | None, corpus: str | None) -> Plan:
    """Read `<workspace>/dedup/graph/curve.parquet` and choose. Raises InputError where dedup has not run,
    ConfigError where an amount can't be read.

    `corpus` is the size in tokens of the corpus that the run's documents are a random sample of.
    """
    try:
        wanted = None if target is None else int(token_count(target))
        corpus_tokens = None if corpus is None else int(token_count(corpus))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    path = workspace / "dedup" / "graph" / "curve.parquet"
    if (path.parent / "forest").is_dir():
        raise InputError(
            f"{path}: an incremental run makes no curve; run dedup without `incremental` over a sample of the documents"
        )
    if not path.is_file():
        raise InputError(f"{path}: not there; run dedup first: pretrain-data run CONFIG --to dedup")
    table = pq.read_table(path)
    measured = points(table)
    whole = measured[-1].tokens
    scale = corpus_tokens / whole if corpus_tokens is not None and whole else 1.0
    found = points(table, scale)
    advice = []
    if corpus_tokens is not None:
        advice.append(
            f"Extrapolated {scale:,.1f} times from {whole:,.0f} tokens. A sample holds both copies of a pair less "
            "often than one of them: the whole corpus will lose more than this. Read the figures as the most "
            "that can remain."
        )
    chosen = None
    if wanted is not None:
        chosen = strictest(found, wanted)
        advice += _advice(found, wanted, chosen)
    groups = table.to_pylist()
    return Plan(found, groups, wanted, chosen.threshold if chosen else None, advice)


def _advice(found: list[Point], wanted: int, chosen: Point | None) -> list[str]:
    kept = [point for point in found if point.threshold <= 1]
    if chosen is None:
        missing = wanted - kept[-1].tokens
        lines = [f"No threshold leaves {wanted:,} tokens: without identical documents {missing:,.0f} are missing."]
        if found[-1].tokens < wanted:
            lines.append(
                f"Even with no deduplication at all {wanted - found[-1].tokens:,.0f} are missing: bring more data, "
                "lower the target, or repeat documents in the mix (repeats beyond four are worth little)."
            )
        return lines
    lines = [f"threshold: {chosen.threshold:g} leaves {chosen.tokens:,.0f} tokens of the {wanted:,} wanted."]
    if chosen.low < wanted:
        lines.append(
            f"The count is an estimate (95 %: {chosen.low:,.0f} to {chosen.high:,.0f}) and may fall short; "
            "the next higher threshold is the safe choice."
        )
    if chosen is kept[0]:
        lines.append(
            "That is the lowest threshold this run looked at; a stricter one may still leave enough "
            "(set stages.dedup.lowest_threshold and run dedup again)."
        )
    return lines


def points_table(found: Plan) -> Table:
    """The curve over all documents."""
    table = Table("threshold", "documents", "characters", "tokens", "95 % from", "to", "kept", box=None)
    whole = found.points[-1].tokens or 1.0
    for point in found.points:
        mark = "  ←" if point.threshold == found.threshold else ""
        table.add_row(
            "none" if point.threshold == NONE else f"{point.threshold:.2f}",
            *(f"{n:,.0f}" for n in (point.documents, point.chars, point.tokens, point.low, point.high)),
            f"{point.tokens / whole:.2%}{mark}",
        )
    return table


def groups_table(found: Plan) -> Table:
    """The share of tokens that each language and channel keeps."""
    whole = {(g["lang"], g["channel"]): g["tokens"] for g in found.groups if g["threshold"] == NONE}
    thresholds = sorted({g["threshold"] for g in found.groups} - {NONE})
    kept = {(g["lang"], g["channel"], g["threshold"]): g["tokens"] for g in found.groups}
    table = Table("language", "channel", "tokens", *(f"{t:.2f}" for t in thresholds), box=None)
    for (lang, channel), tokens in sorted(whole.items(), key=lambda item: -item[1]):
        shares = [kept[lang, channel, t] / tokens if tokens else 1.0 for t in thresholds]
        table.add_row(lang, channel, f"{tokens:,.0f}", *(f"{share:.1%}" for share in shares))
    return table
