"""What a stage's shards come to: every document is kept or dropped, and no more ended in an error than is let pass."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pretrain_data import schema
from pretrain_data.dataset import Dataset, document_schema
from pretrain_data.errors import AccountingError, PretrainDataError
from pretrain_data.stage import Shard, Stage
from pretrain_data.verify import EMPTY
from pretrain_data.writer import merge_counts

#: Documents that may end in an error whatever `max_error_rate` says: one bad page is no bad delivery.
LET_PASS = 10


def sidecars(shards: tuple[Shard, ...], staging: Path) -> list[dict[str, Any]]:
    return [json.loads((staging / "shards" / f"{s.name}.json").read_text(encoding="utf-8")) for s in shards]


def entries_of(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Manifest entries of files that a stage wrote itself."""
    empty: dict[str, Any] = {"dropped": 0, "dropped_file": None, "cpu_seconds": 0.0}
    empty |= {key: {} for key in ("rules", "kept_by", "dropped_by", "metrics")}
    return [
        {key: b[key] for key in ("name", "rows", "chars", "tokens")}
        | {"rows_in": b["rows"], "chars_in": b["chars"]}
        | {"documents_file": {"bytes": b["bytes"], "xxh3": b["xxh3"]}}
        | empty
        for b in blocks
    ]


def check(name: str, source: Dataset, entries: list[dict[str, Any]]) -> None:
    """Every document that went in is kept or dropped, shard by shard."""
    for shard, entry in zip(source.shards, entries, strict=True):
        out = entry["rows"] + entry["dropped"]
        if out != entry["rows_in"] or (shard.rows is not None and shard.rows != entry["rows_in"]):
            raise AccountingError(
                f"stage {name}, shard {shard.name}: {shard.rows} documents in, {entry['rows']} kept, "
                f"{entry['dropped']} dropped"
            )


def check_errors(stage: Stage[Any], entries: list[dict[str, Any]]) -> None:
    """No more documents ended in an error than the stage's config lets pass."""
    documents = sum(e["rows_in"] for e in entries)
    counts: Counter[str] = Counter()
    for entry in entries:
        counts.update({rule: n for rule, (n, _) in entry["rules"].items() if rule in stage.errors})
    if counts.total() > max(LET_PASS, stage.config.max_error_rate * documents):
        what = ", ".join(f"{rule} {n:,}" for rule, n in counts.most_common())
        raise PretrainDataError(
            f"stage {stage.name}: {counts.total():,} of {documents:,} documents ended in an error ({what}), more than "
            f"stages.{stage.name}.max_error_rate {stage.config.max_error_rate:g} lets pass; the ledger of this attempt "
            "lies under the workspace's .staging; mend the input, or raise the rate and run again"
        )


def never_empty(stage: Stage[Any], source: Dataset, staging: Path, entries: list[dict[str, Any]]) -> None:
    """Readers of a folder want at least one file with the columns, even where there is no row."""
    columns = [c.name for c in schema.COLUMNS if c.stage in ("ingest", stage.name) or c.name in stage.adds]
    for folder, empty in (("documents", document_schema(columns)), ("dropped", schema.DROPPED)):
        (staging / folder).mkdir(parents=True, exist_ok=True)
        if not any(e[f"{folder}_file"] for e in entries):
            pq.write_table(empty.empty_table(), staging / folder / EMPTY)


def totals_of(entries: list[dict[str, Any]]) -> dict[str, Any]:
    totals: dict[str, Any] = {
        "documents_in": 0,
        "chars_in": 0,
        "documents": 0,
        "dropped": 0,
        "chars": 0,
        "tokens": 0,
    }
    totals |= {"cpu_seconds": 0.0, "rules": {}, "kept_by": {}, "dropped_by": {}, "metrics": {}}
    for e in entries:
        for key, name in (("documents_in", "rows_in"), ("documents", "rows")):
            totals[key] += e[name]
        for key in ("chars_in", "dropped", "chars", "tokens", "cpu_seconds"):
            totals[key] += e[key]
        for rule, counts in e["rules"].items():
            sums = totals["rules"].setdefault(rule, [0, 0])
            sums[0] += counts[0]
            sums[1] += counts[1]
        merge_counts(totals["kept_by"], e["kept_by"])
        merge_counts(totals["dropped_by"], e["dropped_by"])
        for key, amount in e["metrics"].items():
            totals["metrics"][key] = totals["metrics"].get(key, 0) + amount
    totals["cpu_seconds"] = round(totals["cpu_seconds"], 3)
    return totals
