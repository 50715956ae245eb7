"""New input costs what is new: shards that would come out the same are taken over, and no one can tell."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from toys import TOYS

from pretrain_data.config import load_config
from pretrain_data.dataset import MANIFEST
from pretrain_data.pipeline import Pipeline
from pretrain_data.reuse import SHARDS, take_over, write_shards

pytestmark = pytest.mark.spark

TEXTS = {"a": "one\nTwo\n三", "b": "vier\nfünf", "c": "six"}


def run(tmp_path: Path, spark: Any, workspace: str, *overrides: str, force: bool = False) -> dict[str, dict[str, Any]]:
    path = tmp_path / "c.yaml"
    path.write_text("workspace: w\nstages:\n  lines: {input: in}\n  upper: {}\n  short: {min_chars: 4}\n")
    config = load_config(path, TOYS, [f"workspace={tmp_path / workspace}", *overrides])
    outcomes = Pipeline(config, TOYS, tmp_path, spark=spark).run(force=force)
    return {o.stage: o.manifest for o in outcomes}


def write(tmp_path: Path, **texts: str) -> None:
    (tmp_path / "in").mkdir(exist_ok=True)
    for name, text in texts.items():
        (tmp_path / "in" / f"{name}.txt").write_text(text, encoding="utf-8")


def contents(workspace: Path) -> dict[str, str]:
    return {
        str(p.relative_to(workspace)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(workspace.rglob("*.parquet"))
    }


def inodes(workspace: Path) -> dict[str, int]:
    return {p.stem: p.stat().st_ino for p in sorted((workspace / "upper" / "documents").glob("*.parquet"))}


def test_only_new_files_are_processed_and_the_bytes_are_those_of_one_run(tmp_path: Path, spark: Any) -> None:
    write(tmp_path, **TEXTS)
    run(tmp_path, spark, "w")
    before = inodes(tmp_path / "w")
    write(tmp_path, d="sieben\n八")
    manifests = run(tmp_path, spark, "w")
    assert manifests["lines"]["metrics"]["shards_taken_over"] == 3
    assert manifests["upper"]["metrics"]["shards_taken_over"] == 3
    after = inodes(tmp_path / "w")
    assert {name: after[name] for name in before} == before
    assert len(after) == 4
    assert "shards_taken_over" not in manifests["short"]["metrics"], "it counts over the whole dataset"
    afresh = run(tmp_path, spark, "afresh")
    assert contents(tmp_path / "w") == contents(tmp_path / "afresh")
    for name, manifest in afresh.items():
        for key in ("documents", "dropped", "chars", "rules", "kept_by", "dropped_by", "content", "shards"):
            assert manifests[name][key] == manifest[key], (name, key)
        assert manifests[name]["metrics"] | {"shards_taken_over": 0} == manifest["metrics"] | {"shards_taken_over": 0}


def test_a_changed_file_is_processed_again_and_a_removed_one_goes(tmp_path: Path, spark: Any) -> None:
    write(tmp_path, **TEXTS)
    run(tmp_path, spark, "w")
    write(tmp_path, b="changed")
    (tmp_path / "in" / "c.txt").unlink()
    manifests = run(tmp_path, spark, "w")
    assert manifests["upper"]["metrics"]["shards_taken_over"] == 1
    assert manifests["upper"]["documents"] == 3 + 1
    run(tmp_path, spark, "afresh")
    assert contents(tmp_path / "w") == contents(tmp_path / "afresh")


def test_nothing_is_taken_from_another_seed_a_broken_output_or_against_force(tmp_path: Path, spark: Any) -> None:
    write(tmp_path, **TEXTS)
    run(tmp_path, spark, "w")
    write(tmp_path, d="neu")
    assert run(tmp_path, spark, "w", "seed=5")["upper"]["metrics"]["shards_taken_over"] == 0
    write(tmp_path, e="neuer")
    (tmp_path / "w" / "upper" / "documents" / "part-00001.parquet").write_bytes(b"cut")
    manifests = run(tmp_path, spark, "w", "seed=5")
    assert manifests["upper"]["metrics"]["shards_taken_over"] == 3
    assert manifests["upper"]["documents"] == 3 + 2 + 1 + 1 + 1
    assert "shards_taken_over" not in run(tmp_path, spark, "w", "seed=5", force=True)["upper"]["metrics"]
    lines = (tmp_path / "w" / "upper" / SHARDS).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["name"] for line in lines] == [f"part-{i:05d}" for i in range(5)]


@pytest.mark.parametrize("broken", [b'{"name": ', b"\xff\n", b"[]\n", b"{}\n"])
def test_a_broken_list_of_shards_costs_the_work_and_no_more(tmp_path: Path, spark: Any, broken: bytes) -> None:
    write(tmp_path, **TEXTS)
    run(tmp_path, spark, "w")
    write(tmp_path, d="neu")
    (tmp_path / "w" / "upper" / SHARDS).write_bytes(broken)
    manifests = run(tmp_path, spark, "w")
    assert manifests["lines"]["metrics"]["shards_taken_over"] == 3
    assert manifests["upper"]["metrics"]["shards_taken_over"] == 0
    run(tmp_path, spark, "afresh")
    assert contents(tmp_path / "w") == contents(tmp_path / "afresh")


def test_files_beside_the_documents_and_days_are_taken_over_too(tmp_path: Path) -> None:
    final, staging = tmp_path / "final", tmp_path / "staging"
    names = ["part-00000", "dt=2026-01-02/part-00000"]
    for name in names:
        for folder in ("documents", "audit/counts"):
            path = final / folder / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{folder} {name}")
    (final / MANIFEST).write_text('{"maker": "m"}')
    sizes = {n: {"bytes": len(f"documents {n}"), "xxh3": ""} for n in names}
    entries = [{"name": n, "documents_file": sizes[n], "dropped_file": None} for n in names]
    write_shards(final, entries, {n: n for n in names})
    assert take_over(final, staging, "m", {"part-00000": "part-00000"}) == 1
    assert {str(p.relative_to(staging)): p.read_text() for p in staging.rglob("*.parquet")} == {
        "documents/part-00000.parquet": "documents part-00000",
        "audit/counts/part-00000.parquet": "audit/counts part-00000",
    }
    assert take_over(final, staging, "m", {n: n for n in names}) == 1, "the other one is there already"
    assert len(list(staging.rglob("*.parquet"))) == 4
