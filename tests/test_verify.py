"""A workspace can be checked to the last byte, and cleaned of what dead runs left."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import TOYS

from pretrain_data.config import load_config
from pretrain_data.dataset import MANIFEST
from pretrain_data.errors import InputError
from pretrain_data.pipeline import Pipeline
from pretrain_data.seal import sealed
from pretrain_data.verify import verify

pytestmark = pytest.mark.spark

STAGES = ["lines", "short", "sort"]


@pytest.fixture
def workspace(tmp_path: Path, spark: Any) -> Path:
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / f"{name}.txt").write_text(f"{name}{name}{name}\n一二三四\n{name}\n", encoding="utf-8")
    list(pipeline(tmp_path, spark).run())
    return tmp_path / "w"


def pipeline(tmp_path: Path, spark: Any = None) -> Pipeline:
    path = tmp_path / "c.yaml"
    path.write_text("workspace: w\nstages:\n  lines: {input: in}\n  short: {min_chars: 2}\n  sort: {}\n")
    return Pipeline(load_config(path, TOYS), TOYS, tmp_path, spark=spark)


def found(workspace: Path, **options: Any) -> list[tuple[str, str, str]]:
    return [(p.stage, p.path, p.what) for p in verify(workspace, STAGES, **options)]


def flip(path: Path) -> None:
    """Change one bit in the middle of a file and nothing else."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit(change: Callable[[dict[str, Any]], None], path: Path) -> None:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    del manifest["checksum"]
    path.write_text(sealed(json.dumps(manifest, indent=1)), encoding="utf-8")


def test_a_whole_workspace_has_no_problem(workspace: Path) -> None:
    assert found(workspace) == []
    assert found(workspace / "elsewhere") == []


def test_any_flipped_byte_is_found(workspace: Path) -> None:
    files = [p for name in STAGES for p in (workspace / name).rglob("*") if p.is_file()]
    assert {p.name for p in files} >= {MANIFEST, "_shards.jsonl", "part-empty.parquet", "part-00000.parquet"}
    for path in files:
        whole = path.read_bytes()
        flip(path)
        stage = path.relative_to(workspace).parts[0]
        inside = str(path.relative_to(workspace / stage))
        ((*where, what),) = (problem for problem in found(workspace) if problem[0] == stage)
        assert where == [stage, inside]
        assert what == "its bytes have changed since it was written" or (path.name == MANIFEST and "broken" in what)
        path.write_bytes(whole)


def test_every_byte_of_a_manifest_counts(workspace: Path) -> None:
    manifest = workspace / "short" / MANIFEST
    whole = manifest.read_bytes()
    choose = random.Random(3)
    for at in [0, len(whole) - 1, *choose.sample(range(len(whole)), 100)]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << choose.randrange(8)
        manifest.write_bytes(bytes(flipped))
        (one,) = [(path, what) for stage, path, what in found(workspace, quick=True) if stage == "short"]
        assert one[0] == MANIFEST, at
        assert "broken" in one[1] or "have changed" in one[1], at
    for other in (b"{}", b"[]", b"", whole + b"\n", whole.replace(b'"checksum"', b'"chacksum"')):
        manifest.write_bytes(other)
        assert [path for stage, path, _ in found(workspace) if stage == "short"] == [MANIFEST]


def test_a_run_over_a_manifest_of_no_use_makes_the_stage_anew(workspace: Path, tmp_path: Path, spark: Any) -> None:
    before = {p: p.read_bytes() for p in workspace.rglob("*.parquet")}
    (workspace / "lines" / MANIFEST).write_text("{}")
    for broken in (b'{"stage": "\xff"}', b"[1]"):
        (workspace / "short" / MANIFEST).write_bytes(broken)
        with pytest.raises(InputError, match=r"_manifest\.json: broken.*--force"):
            list(pipeline(tmp_path, spark).run())
    (workspace / "lines" / MANIFEST).write_text("{}")
    with pytest.raises(InputError, match=r"_manifest\.json: broken \(KeyError: 'shards'\).*--force"):
        list(pipeline(tmp_path, spark).run(first="short"))
    list(pipeline(tmp_path, spark).run(force=True))
    assert found(workspace) == []
    assert {p: p.read_bytes() for p in workspace.rglob("*.parquet")} == before


def test_missing_extra_and_cut_files_are_found_even_quickly(workspace: Path) -> None:
    documents = workspace / "short" / "documents"
    (documents / "part-00000.parquet").unlink()
    (documents / "part-00001.parquet").write_bytes(b"PAR1")
    (documents / "part-00009.parquet").write_bytes(b"")
    assert [(path, what.split(",")[0]) for _, path, what in found(workspace, quick=True)] == [
        ("documents/part-00000.parquet", "missing"),
        ("documents/part-00001.parquet", "4 bytes"),
        ("documents/part-00009.parquet", "not in the manifest"),
    ]


def test_broken_accounting_and_lineage_are_found(workspace: Path) -> None:
    manifest = workspace / "short" / MANIFEST

    def lose(m: dict[str, Any]) -> None:
        m["documents"] -= 1

    edit(lose, manifest)
    whats = [what for stage, _, what in found(workspace) if stage == "short"]
    assert "9 documents in, 8 kept or dropped" in whats
    assert "5 documents, 6 rows in its shards" in whats
    assert [w for s, _, w in found(workspace) if s == "sort"] == ["short keeps 5 documents, 6 came in"]

    def rename(m: dict[str, Any]) -> None:
        m["content"] = "0" * 32

    edit(rename, workspace / "lines" / MANIFEST)
    assert ("short", MANIFEST, "was made from another output of lines than the one that is there") in found(workspace)
    (workspace / "lines" / MANIFEST).write_text("{")
    assert "broken" in found(workspace)[0][2]
    (workspace / "lines" / MANIFEST).unlink()
    assert found(workspace)[0][2] == "a folder without a manifest"


def test_leftovers_go_and_what_can_be_gone_on_with_stays(workspace: Path, tmp_path: Path) -> None:
    p = pipeline(tmp_path)
    resumable = next(n for n in p._resumable() if n.startswith("short-"))
    for name in (resumable, "short-0123456789abcdef"):
        (workspace / ".staging" / name / "documents").mkdir(parents=True)
        (workspace / ".staging" / name / "documents" / "part-00000.parquet").write_bytes(b"12345")
    hidden = workspace / "short" / "documents" / f".part-00000.parquet.{'a' * 32}"
    hidden.write_bytes(b"123")
    aside = workspace / f".short.{'b' * 32}"
    aside.mkdir()
    old = [workspace / ".staging" / "short-0123456789abcdef", hidden, aside]
    assert p.leftovers(3600, delete=True) == [], "all of it is younger than an hour"
    listed = p.leftovers(0, delete=False)
    assert sorted(f.path for f in listed) == sorted(old)
    assert {f.path: f.bytes for f in listed} == {old[0]: 5, hidden: 3, aside: 0}
    assert all(path.exists() for path in old)
    p.leftovers(0, delete=True)
    assert not any(path.exists() for path in old)
    assert (workspace / ".staging" / resumable / "documents" / "part-00000.parquet").exists()
    os.utime(workspace / "short" / MANIFEST)
    assert found(workspace) == []


def test_strays_among_outputs_go_when_asked_for_alone(workspace: Path, tmp_path: Path) -> None:
    """A file that a reader of the folder would take for documents; a night leaves it to whoever put it there."""
    stray = workspace / "short" / "documents" / "part-00077.parquet"
    stray.write_bytes(b"PAR1")
    p = pipeline(tmp_path)
    assert p.leftovers(0, delete=True) == []
    assert [(f.path, f.bytes, f.why) for f in p.leftovers(0, delete=False, strays=True)] == [
        (stray, 4, "not in the manifest of its stage")
    ]
    assert stray.exists()
    p.leftovers(0, delete=True, strays=True)
    assert found(workspace) == []
    # Where a manifest is broken all would be strays: nothing is touched.
    whole = (workspace / "short" / MANIFEST).read_bytes()
    for broken in (whole[:-9], whole.replace(b"part-00000", b"part-00009")):
        (workspace / "short" / MANIFEST).write_bytes(broken)
        assert p.leftovers(0, delete=True, strays=True) == []
    (workspace / "short" / MANIFEST).unlink()
    assert p.leftovers(0, delete=True, strays=True) == []
    (workspace / "short" / MANIFEST).write_bytes(whole)
    assert found(workspace) == []


def test_nothing_is_made_where_no_run_was(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    assert pipeline(tmp_path).leftovers(0, delete=True, strays=True) == []
    assert not (tmp_path / "w").exists()
