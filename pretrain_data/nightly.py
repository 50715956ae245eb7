"""The night's run: take up what is new, check the outcome, leave a dated summary, clear up after dead runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pretrain_data.errors import IntegrityError, storage
from pretrain_data.logs import RUN
from pretrain_data.metrics import collect, prometheus
from pretrain_data.pipeline import Pipeline
from pretrain_data.report.page import write_report
from pretrain_data.verify import verify
from pretrain_data.writer import write_atomically

FOLDER = "nightly"
#: Files of runs that died are left for a day, for whoever wants to see why.
KEEP_LEFTOVERS_SECONDS = 24 * 3600.0
MOST_ERROR_CHARS = 4000  # of an error's text, from its end: a worker's traceback may be long


def nightly(pipeline: Pipeline, wait: float, keep: int, done: Callable[[Any], None] = lambda outcome: None) -> Path:
    """Run all stages, verify sizes and counts, write `<workspace>/nightly/<time>/summary.json`; returns its path.

    Waits `wait` seconds for another run to leave the workspace (errors.Busy after that, with no summary,
    since the other run writes its own) and holds it until the summary is written: what is verified is what this run
    made. What dead runs left goes first, since it may be what fills the disk. An error of a stage ends in the
    summary and is raised again. The last `keep` summaries stay, of failed nights too.
    """
    with storage(pipeline.workspace), pipeline.holding(wait):
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
        summary: dict[str, Any] = {"started": stamp, "run": RUN, "state": "done", "stages": []}
        folder = pipeline.workspace / FOLDER / stamp
        try:
            _night(pipeline, summary, folder, done)
        except Exception as error:
            summary["state"] = "failed"
            summary["error"] = f"{type(error).__name__}: {error}"[-MOST_ERROR_CHARS:]
            try:
                _write(folder, summary)
            except OSError as second:  # a disk that is full has no room for a summary either: the first error counts
                pipeline.say(f"warning: {folder}: no summary could be written: {second.strerror}")
            raise
        else:
            return _write(folder, summary)
        finally:
            _forget(pipeline.workspace / FOLDER, keep)


def _night(pipeline: Pipeline, summary: dict[str, Any], folder: Path, done: Callable[[Any], None]) -> None:
    removed = pipeline.leftovers(KEEP_LEFTOVERS_SECONDS, delete=True)
    summary["leftovers_removed"] = [str(found.path) for found in removed]
    for outcome in pipeline.run():
        summary["stages"].append(_row(outcome))
        done(outcome)
    problems = verify(pipeline.workspace, list(pipeline.stages), quick=True)
    if problems:
        first = problems[0]
        raise IntegrityError(
            f"{len(problems)} problems, the first: {first.stage}: {first.path}: {first.what}; {first.remedy}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "metrics.prom", prometheus(collect(pipeline.workspace, list(pipeline.stages))))
    shutil.copy2(write_report(pipeline.workspace, list(pipeline.stages)), folder / "report.html")


def _forget(folder: Path, keep: int) -> None:
    """Remove all but the last `keep` nights."""
    nights = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    for old in nights[:-keep]:
        shutil.rmtree(old)


def _row(outcome: Any) -> dict[str, Any]:
    manifest = outcome.manifest
    keys = ("documents_in", "documents", "dropped", "chars", "tokens", "seconds", "cpu_seconds")
    row = {"stage": outcome.stage, "state": outcome.state} | {key: manifest[key] for key in keys}
    row["shards"] = len(manifest["shards"])
    row["shards_taken_over"] = manifest["metrics"].get("shards_taken_over", 0)
    row["warnings"] = manifest.get("warnings", [])
    return row


def _write(folder: Path, summary: dict[str, Any]) -> Path:
    summary["ended"] = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    path = folder / "summary.json"
    write_atomically(path, json.dumps(summary, ensure_ascii=False, indent=1))
    return path
