"""The pipeline's promises: accounting, skipping, resuming, one exchange, no trace of the partitioning."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from toys import TOYS

from pretrain_data.commit import publish
from pretrain_data.config import load_config
from pretrain_data.dataset import MANIFEST, Dataset, read_shard
from pretrain_data.errors import AccountingError, Busy, InputError
from pretrain_data.pipeline import Outcome, Pipeline
from pretrain_data.schema import DROPPED

pytestmark = pytest.mark.spark

WORDS = ["a", "the", "数据", "中文语料", "corpus", "训练", "ab", "fff", "全角ＡＢ", "繁體中文"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(5):
        (folder / f"f{i}.txt").write_text("\n".join(WORDS[i:] + WORDS[:i]), encoding="utf-8")
    return folder


def pipeline(tmp_path: Path, spark: Any, *overrides: str, name: str = "w") -> Pipeline:
    path = tmp_path / "c.yaml"
    path.write_text("workspace: w\nstages:\n  lines: {input: in}\n  short: {min_chars: 3}\n  sort: {}\n")
    config = load_config(path, TOYS, [f"workspace={tmp_path / name}", *overrides])
    return Pipeline(config, TOYS, tmp_path, spark=spark)


def run(p: Pipeline, **options: Any) -> list[Outcome]:
    return list(p.run(**options))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*.parquet"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_run_keeps_or_drops_every_document(tmp_path: Path, corpus: Path, spark: Any) -> None:
    outcomes = run(pipeline(tmp_path, spark))
    assert [o.state for o in outcomes] == ["done"] * 3
    short = tmp_path / "w" / "short"
    kept = pq.read_table(short / "documents")
    dropped = pq.read_table(short / "dropped")
    # By hand: of the ten words, "a", "数据", "训练" and "ab" have fewer than three characters.
    assert kept.num_rows == 5 * 6
    assert dropped.num_rows == 5 * 4
    assert dropped.schema.equals(DROPPED)
    assert set(kept["doc_id"].to_pylist()).isdisjoint(dropped["doc_id"].to_pylist())
    row = next(r for r in dropped.to_pylist() if r["doc_id"] == "f0.txt-2")
    assert (row["stage"], row["rule"], row["value"], row["threshold"], row["chars"]) == (
        "short", "too_short", 2.0, 3.0, 2,
    )  # fmt: skip
    assert set(kept["total"].to_pylist()) == {50}
    manifest = json.loads((short / MANIFEST).read_text())
    assert manifest["rules"] == {"too_short": [20, 5 * (1 + 2 + 2 + 2)]}
    assert manifest["metrics"] == {"seen": 50, "total": 50}
    assert manifest["kept_by"]["lang"] == {"en": [30, manifest["chars"]]}
    assert manifest["documents_in"] == 50
    assert manifest["schema"]["text"] == "large_string"
    assert manifest["schema"]["total"] == "int64"
    lines = json.loads((tmp_path / "w" / "lines" / MANIFEST).read_text())
    assert lines["lineage"]["part-00003"] == ["f3.txt"]
    assert lines["input"]["files"][3]["file"] == "f3.txt"
    assert lines["input"]["files"][3]["bytes"] == (corpus / "f3.txt").stat().st_size
    ordered = pq.read_table(tmp_path / "w" / "sort" / "documents")["text"].to_pylist()
    assert ordered == sorted(kept["text"].to_pylist())


def test_what_is_up_to_date_is_skipped(tmp_path: Path, corpus: Path, spark: Any) -> None:
    run(pipeline(tmp_path, spark))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "w").rglob("*.parquet")}
    assert [o.state for o in run(pipeline(tmp_path, spark))] == ["up to date"] * 3
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "w").rglob("*.parquet")}
    # Another setting redoes its stage; what comes out the same spares the stages behind it.
    states = [o.state for o in run(pipeline(tmp_path, spark, "stages.short.fail_on=/nowhere"))]
    assert states == ["up to date", "done", "up to date"]
    states = [o.state for o in run(pipeline(tmp_path, spark, "stages.short.min_chars=4"))]
    assert states == ["up to date", "done", "done"]
    assert [o.state for o in run(pipeline(tmp_path, spark), first="short", last="short", force=True)] == ["done"]


def test_a_changed_input_file_is_noticed(tmp_path: Path, corpus: Path, spark: Any) -> None:
    run(pipeline(tmp_path, spark), last="lines")
    assert [r["state"] for r in pipeline(tmp_path, spark).status()] == ["up to date", "missing", "missing"]
    (corpus / "f1.txt").write_text("another text")
    assert [r["state"] for r in pipeline(tmp_path, spark).status()] == ["out of date", "missing", "missing"]
    assert run(pipeline(tmp_path, spark), last="lines")[0].state == "done"


def test_a_cut_off_run_goes_on_where_it_was(tmp_path: Path, corpus: Path, spark: Any) -> None:
    run(pipeline(tmp_path, spark, name="undisturbed"), last="short")
    flag = tmp_path / "flag"
    flag.write_text("part-00003")
    failing = f"stages.short.fail_on={flag}"
    with pytest.raises(Exception, match="made to fail"):
        run(pipeline(tmp_path, spark, failing), last="short")
    assert not (tmp_path / "w" / "short").exists()
    staged = tmp_path / "w" / ".staging"
    done = {p.name: p.stat().st_mtime_ns for p in staged.rglob("part-*.parquet") if p.parent.name == "documents"}
    assert 0 < len(done) < 5
    flag.unlink()
    run(pipeline(tmp_path, spark, failing), last="short")
    final = tmp_path / "w" / "short" / "documents"
    for name, time in done.items():
        assert (final / name).stat().st_mtime_ns == time, "a finished shard was done again"
    assert digests(tmp_path / "w" / "short") == digests(tmp_path / "undisturbed" / "short")


def test_the_partitioning_leaves_no_trace(tmp_path: Path, corpus: Path, spark: Any) -> None:
    for count in (2, 13):
        run(pipeline(tmp_path, spark, f"spark.partitions={count}", name=f"w{count}"))
    two, thirteen = digests(tmp_path / "w2"), digests(tmp_path / "w13")
    assert two == thirteen
    assert len(two) == 5 + 1 + 5 + 5 + 1  # lines: 5 and an empty ledger, short: 5 and 5, sort: 1


@pytest.mark.parametrize("fault", ["lose", "reorder", "invent"])
def test_a_stage_that_loses_documents_is_found_out(tmp_path: Path, corpus: Path, spark: Any, fault: str) -> None:
    with pytest.raises(AccountingError, match="stage short, shard part-0000"):
        run(pipeline(tmp_path, spark, f"stages.short.fault={fault}"))
    assert not (tmp_path / "w" / "short").exists()


def test_a_missing_shard_is_an_error_that_names_the_file(tmp_path: Path, corpus: Path, spark: Any) -> None:
    run(pipeline(tmp_path, spark), last="lines")
    (tmp_path / "w" / "lines" / "documents" / "part-00002.parquet").unlink()
    source = Dataset.open(tmp_path / "w" / "lines")
    with pytest.raises(InputError, match=r"part-00002\.parquet.*--force"):
        list(read_shard(source.shards[2]))
    assert run(pipeline(tmp_path, spark), last="lines")[0].state == "done", "a hole is mended by the next run"


def test_a_broken_manifest_is_an_error_with_the_way_out(tmp_path: Path, corpus: Path, spark: Any) -> None:
    run(pipeline(tmp_path, spark), last="lines")
    (tmp_path / "w" / "lines" / MANIFEST).write_text("{")
    with pytest.raises(InputError, match=r"broken.*--force"):
        run(pipeline(tmp_path, spark), last="lines")
    assert run(pipeline(tmp_path, spark), last="lines", force=True)[0].state == "done"


def test_two_runs_do_not_share_a_workspace(tmp_path: Path, corpus: Path, spark: Any) -> None:
    (tmp_path / "w").mkdir()
    with (tmp_path / "w" / ".lock").open("w") as file:
        file.write("the other one")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="the other one"):
            run(pipeline(tmp_path, spark))
    assert len(run(pipeline(tmp_path, spark), last="lines")) == 1


def test_publish_exchanges_whole_folders(tmp_path: Path) -> None:
    final = tmp_path / "final"
    for text in ("one", "two"):
        staged = tmp_path / "staged"
        staged.mkdir()
        (staged / "file").write_text(text)
        publish(staged, final)
        assert (final / "file").read_text() == text
        assert [p.name for p in tmp_path.iterdir()] == ["final"]
    shutil.rmtree(final)
