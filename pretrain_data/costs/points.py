"""What a stage's committed run measured: one point for `law.fit`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain_data.dataset import read_manifest
from pretrain_data.errors import InputError


@dataclass(frozen=True)
class Point:
    """One run of one stage. Seconds are CPU seconds; sizes are bytes."""

    stage: str
    documents: int  # that came in
    chars: int  # code points that came in
    kept_documents: int
    kept_chars: int
    tokens: int  # in what was kept, where the stage knows
    cpu_seconds: float  # of all processes
    driver_seconds: float  # of the driver's Python alone, which more executors don't hasten
    shuffle_bytes: float
    disk_bytes: int  # of the stage's output
    worker_peak_bytes: float
    jvm_peak_bytes: float


def read(workspace: Path, stages: list[str]) -> list[Point]:
    """The points of a workspace, in the order of `stages`; stages that were not run are left out.

    Raises InputError where there is none at all, or where a run is older than these measurements.
    """
    points = [_point(name, found) for name in stages if (found := read_manifest(workspace / name)) is not None]
    if not points:
        raise InputError(f"{workspace}: no stage has been run there; run a sample of your data first")
    return points


def _point(stage: str, manifest: dict[str, Any]) -> Point:
    used = manifest.get("usage", {})
    if "cpu_seconds" not in used:
        raise InputError(
            f"the run of {stage} tells no CPU time (it was made by an older version, on a cluster or where there is no "
            f"/proc); run it again in local mode with --force"
        )
    return Point(
        stage,
        manifest["documents_in"],
        manifest["chars_in"],
        manifest["documents"],
        manifest["chars"],
        manifest["tokens"],
        used["cpu_seconds"],
        used["driver_cpu_seconds"],
        used["shuffle_bytes"],
        _output_bytes(manifest),
        used["worker_peak_bytes"],
        used["jvm_peak_bytes"],
    )


def _output_bytes(manifest: dict[str, Any]) -> int:
    shards = [s[f"{kind}_file"] for s in manifest["shards"] for kind in ("documents", "dropped")]
    return sum(file["bytes"] for file in shards if file) + sum(f["bytes"] for f in manifest["files"].values())
