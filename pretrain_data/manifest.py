"""What a stage's manifest says of its output: what it was made from and how, its shards, and its counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pretrain_data.accounting import totals_of
from pretrain_data.dataset import Dataset
from pretrain_data.fingerprint import code_version, config_digest, maker_fingerprint
from pretrain_data.hashing import digest
from pretrain_data.stage import SourceStage, Stage, StageRun, Unit
from pretrain_data.verify import EMPTY


def describe(
    stage: Stage[Any],
    source: Dataset,
    fingerprint: str,
    seed: int,
    entries: list[dict[str, Any]],
    run: StageRun,
    staging: Path,
) -> dict[str, Any]:
    """The manifest but for files, times and usage, which are known when all is written."""
    totals = totals_of(entries)
    shards = [
        {k: e[k] for k in ("name", "rows", "dropped", "chars", "tokens", "documents_file", "dropped_file")}
        for e in entries
    ]
    lineage: dict[str, list[str]] = {}
    if isinstance(stage, SourceStage):
        lineage = {e["name"]: [_describe(u) for u in s.units] for e, s in zip(entries, source.shards, strict=False)}
    return {
        "stage": stage.name,
        "fingerprint": fingerprint,
        "maker": maker_fingerprint(stage, seed),
        "content": digest([[s["name"], s["documents_file"]] for s in shards]),
        "schema": _columns(staging, entries),
        "config_hash": config_digest(stage),
        "config": stage.config.model_dump(mode="json"),
        "code_version": code_version(),
        "seed": seed,
        "input": {
            "files": [_stamp(u) for s in source.shards for u in s.units] if source.manifest is None else [],
            "path": source.path,
            "fingerprint": source.fingerprint,
            "documents": sum(s.rows or 0 for s in source.shards) if source.manifest else None,
        },
        "lineage": lineage,
        **totals,
        "metrics": {**totals["metrics"], **run.metrics},
        "warnings": run.warnings,
        "shards": shards,
    }


def complete(final: Path, manifest: dict[str, Any]) -> bool:
    """All files of the manifest are there with their sizes."""
    for shard in manifest["shards"]:
        for folder in ("documents", "dropped"):
            entry = shard[f"{folder}_file"]
            path = final / folder / f"{shard['name']}.parquet"
            if entry is not None and (not path.is_file() or path.stat().st_size != entry["bytes"]):
                return False
    return True


def _columns(staging: Path, entries: list[dict[str, Any]]) -> dict[str, str]:
    """Name and Arrow type of each column of the output."""
    files = [f"{e['name']}.parquet" for e in entries if e["documents_file"]] or [EMPTY]
    return {field.name: str(field.type) for field in pq.read_schema(staging / "documents" / files[0])}


def _stamp(unit: Unit) -> dict[str, Any]:
    """What a piece of foreign input was when it was read."""
    if unit.stamp:
        return {"file": _describe(unit), "stamp": unit.stamp}
    stat = os.stat(unit.path)
    return {"file": _describe(unit), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _describe(unit: Unit) -> str:
    name = unit.label or unit.path
    return name if unit.end is None and not unit.start else f"{name}[{unit.start}:{unit.end}]"
