"""Documents to look at: kept and dropped at each stage, nearest to the threshold first, personal data masked.

The work is bounded whatever the corpus: a few shards spread over each stage's output, and of each at most
MOST_ROWS documents. A document is looked up in the same shard of the stage before.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.report.shown import masked, shown

MOST_SHARDS = 12  # looked into, spread evenly over a stage's output
MOST_ROWS = 20_000  # documents read of one shard
PER_RULE = 3
PER_STAGE = 60
_ABOUT = ("url", "title", "lang", "format", "source", "text", "quality_score", "domain", "domain_score", "pii_spans")


@dataclass(frozen=True)
class Case:
    """One document's fate at one stage."""

    stage: str
    side: str  # kept or dropped
    rule: str
    doc_id: str
    shard: str
    value: float | None = None
    threshold: float | None = None
    url: str | None = None
    detail: str | None = None

    @property
    def distance(self) -> float:
        """How far from the threshold, relative to it; infinite where there is none."""
        if self.value is None or self.threshold is None or math.isnan(self.value):
            return math.inf
        return abs(self.value - self.threshold) / (abs(self.threshold) or 1.0)


def samples(workspace: Path, stages: list[str]) -> list[dict[str, Any]]:
    """Rows to show, stage by stage: dropped and kept, nearest to the threshold first."""
    rows = []
    before: str | None = None
    for stage in stages:
        if not (workspace / stage / "documents").is_dir():
            continue
        cases = _pick(_dropped(workspace / stage)) + _pick(_kept(workspace / stage, stage))
        found: dict[str, dict[str, Any]] = {}
        for folder in filter(None, (stage, before)):
            missing = [c for c in cases if c.doc_id not in found]
            found |= texts(workspace / folder / "documents", missing)
        rows += _rows(cases, found)
        before = stage
    return rows


def spread(files: list[Path], most: int = MOST_SHARDS) -> list[Path]:
    """At most `most` of the files, evenly over their order."""
    if len(files) <= most:
        return files
    return [files[i * len(files) // most] for i in range(most)]


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files under a folder in the order of their names."""
    return sorted(p for p in folder.rglob("*.parquet") if not p.name.startswith((".", "_")))


def heads(path: Path, columns: Iterable[str], most: int = MOST_ROWS) -> Iterable[pa.RecordBatch]:
    """The first `most` rows of a file in batches, with those of `columns` that it has."""
    with pq.ParquetFile(path) as file:
        wanted = [c for c in columns if c in file.schema_arrow.names]
        read = 0
        for batch in file.iter_batches(batch_size=1024, columns=wanted, use_threads=False):
            yield batch.slice(0, most - read)
            read += batch.num_rows
            if read >= most:
                return


def texts(folder: Path, cases: Iterable[Case]) -> dict[str, dict[str, Any]]:
    """What is known of the cases' documents by doc_id, looked for in their own shards alone."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        wanted[case.shard].add(case.doc_id)
    found: dict[str, dict[str, Any]] = {}
    for shard, ids in sorted(wanted.items()):
        path = folder / f"{shard}.parquet"
        if not path.is_file():
            continue
        left = pa.array(sorted(ids))
        for batch in heads(path, ("doc_id", *_ABOUT)):
            hits = batch.filter(pc.is_in(batch.column("doc_id"), left))
            found |= {row.pop("doc_id"): row for row in hits.to_pylist()}
            if len(ids & found.keys()) == len(ids):
                break
    return found


def _dropped(folder: Path) -> list[Case]:
    cases = []
    root = folder / "dropped"
    for path in spread(parquet_files(root)):
        shard = str(path.relative_to(root).with_suffix(""))
        for batch in heads(path, ("doc_id", "url", "stage", "rule", "value", "threshold", "detail")):
            cases += [Case(side="dropped", shard=shard, **row) for row in batch.to_pylist()]
    return cases


def _kept(folder: Path, stage: str) -> list[Case]:
    """Kept documents that say most about a stage: near its thresholds, or with something found in them."""
    if stage == "rules" and (near := _near_rules(folder)):
        return near
    cases = []
    root = folder / "documents"
    limits = {"quality": ("quality_score", None), "classify": ("domain_score", 0.5), "pii": ("pii_spans", None)}
    column, threshold = limits.get(stage, ("doc_id", None))
    for path in spread(parquet_files(root)):
        shard = str(path.relative_to(root).with_suffix(""))
        most = MOST_ROWS if column != "doc_id" else 3
        for batch in heads(path, dict.fromkeys(("doc_id", "url", column)), most):
            for row in batch.to_pylist():
                found = row.get(column)
                if stage == "pii" and not found:
                    continue
                value = found if isinstance(found, float) else None
                rule = f"{len(found)} spans" if isinstance(found, list) else ""
                cases.append(Case(stage, "kept", rule, row["doc_id"], shard, value, threshold, row.get("url")))
    if stage == "quality":  # the two ends of the scale say most about a scorer
        scored = sorted((c for c in cases if c.value is not None), key=lambda c: (c.value, c.doc_id))
        ends = [(scored[:PER_RULE], "lowest"), (scored[-PER_RULE:] if len(scored) > PER_RULE else [], "highest")]
        return [Case(**{**vars(case), "rule": name}) for some, name in ends for case in some]
    return cases


def _near_rules(folder: Path) -> list[Case]:
    cases = []
    root = folder / "audit_examples"
    for path in spread(parquet_files(root)):
        shard = str(path.relative_to(root).with_suffix(""))
        for row in pq.read_table(path, filters=[("side", "=", "kept")]).to_pylist():
            cases.append(Case("rules", "kept", row["rule"], row["doc_id"], shard, row["value"], row["threshold"]))
    return cases


def _pick(cases: list[Case]) -> list[Case]:
    """The nearest of each rule in turn, PER_RULE of each, PER_STAGE in all; no document twice for one rule."""
    by_rule: dict[str, list[Case]] = defaultdict(list)
    for case in sorted(cases, key=lambda c: (c.distance, c.doc_id)):
        if len(by_rule[case.rule]) < PER_RULE and all(c.doc_id != case.doc_id for c in by_rule[case.rule]):
            by_rule[case.rule].append(case)
    ordered = sorted(by_rule.items(), key=lambda item: (item[1][0].distance, item[0]))
    rounds = [group[i] for i in range(PER_RULE) for _, group in ordered if i < len(group)]
    return sorted(rounds[:PER_STAGE], key=lambda c: (c.distance, c.rule, c.doc_id))


def _rows(cases: list[Case], found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    about = [found.get(case.doc_id, {}) for case in cases]
    columns = {
        "text": masked([a.get("text") for a in about]),
        "title": masked([a.get("title") for a in about], 160),
        "url": masked([a.get("url") or c.url for a, c in zip(about, cases, strict=True)], 240),
        "detail": masked([c.detail for c in cases], 240),
    }
    return [
        {"stage": case.stage, "side": case.side, "rule": shown(case.rule), "doc_id": shown(case.doc_id)}
        | {"value": case.value, "threshold": case.threshold}
        | {key: shown(a[key]) for key in ("lang", "format", "source", "domain") if a.get(key)}
        | {key: values[i] for key, values in columns.items() if values[i]}
        for i, (case, a) in enumerate(zip(cases, about, strict=True))
    ]
