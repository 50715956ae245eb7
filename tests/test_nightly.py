"""Three nights come to what one run over everything comes to, and each night leaves word of itself."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import zstandard
from prometheus_client.parser import text_string_to_metric_families
from toys import TOYS

from pretrain_data.config import load_config
from pretrain_data.errors import Busy
from pretrain_data.nightly import FOLDER, nightly
from pretrain_data.pipeline import Pipeline
from pretrain_data.verify import verify

pytestmark = pytest.mark.spark

ROOT = Path(__file__).resolve().parents[1]


def toys(tmp_path: Path, spark: Any, *overrides: str, workspace: str = "w") -> Pipeline:
    path = tmp_path / "c.yaml"
    path.write_text("workspace: w\nstages:\n  lines: {input: in}\n  upper: {}\n  short: {min_chars: 2}\n")
    config = load_config(path, TOYS, [f"workspace={tmp_path / workspace}", *overrides])
    return Pipeline(config, TOYS, tmp_path, spark=spark)


def arrive(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in" / f"{name}.txt").write_text(text, encoding="utf-8")


def contents(workspace: Path, stages: tuple[str, ...]) -> dict[str, str]:
    files = sorted(p for name in stages for p in (workspace / name).rglob("*.parquet"))
    return {str(p.relative_to(workspace)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_nights_add_up_and_leave_summaries(tmp_path: Path, spark: Any) -> None:
    taken = []
    for name in ("2026-01-01", "2026-01-02", "2026-01-04", "2026-01-03"):  # a missed day, and a late one
        arrive(tmp_path, name, f"{name}\n夜\nabc\n{name} 数据")
        summary = json.loads(nightly(toys(tmp_path, spark), wait=0, keep=2).read_text(encoding="utf-8"))
        assert summary["state"] == "done"
        taken.append(summary["stages"][1]["shards_taken_over"])
        time.sleep(1.1)  # summaries carry the second they began in
    # The late partition takes the place of the one after it: only those before it keep their names.
    assert taken == [0, 1, 2, 2]
    once = toys(tmp_path, spark, workspace="once")
    list(once.run())
    assert contents(tmp_path / "w", ("lines", "upper", "short")) == contents(
        once.workspace, ("lines", "upper", "short")
    )
    kept = sorted((tmp_path / "w" / FOLDER).iterdir())
    assert len(kept) == 2
    assert (kept[-1] / "report.html").is_file()
    # Four files of four lines, one line of each shorter than two characters.
    families = text_string_to_metric_families((kept[-1] / "metrics.prom").read_text())
    samples = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
    assert samples["pretrain_data_documents_in", "short"] == 16
    assert samples["pretrain_data_documents_out", "short"] == 12
    assert samples["pretrain_data_documents_dropped_by_rule", "too_short", "short"] == 4
    assert abs(samples["pretrain_data_made_timestamp_seconds", "short"] - time.time()) < 3600


def test_a_failed_night_says_why_and_the_next_goes_on(tmp_path: Path, spark: Any) -> None:
    arrive(tmp_path, "a", "abc\nb")
    flag = tmp_path / "flag"
    flag.write_text("part-00000")
    with pytest.raises(Exception, match="made to fail"):
        nightly(toys(tmp_path, spark, f"stages.short.fail_on={flag}"), wait=0, keep=5)
    (summary,) = (tmp_path / "w" / FOLDER).glob("*/summary.json")
    told = json.loads(summary.read_text(encoding="utf-8"))
    assert told["state"] == "failed"
    assert "made to fail" in told["error"]
    assert [row["stage"] for row in told["stages"]] == ["lines", "upper"]
    flag.unlink()
    time.sleep(1.1)
    nightly(toys(tmp_path, spark, f"stages.short.fail_on={flag}"), wait=0, keep=5)


def test_of_two_at_once_the_second_leaves_or_waits(tmp_path: Path, spark: Any) -> None:
    arrive(tmp_path, "a", "abc\nb")
    (tmp_path / "w").mkdir()
    with (tmp_path / "w" / ".lock").open("w") as file:
        file.write("the first one")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="the first one"):
            nightly(toys(tmp_path, spark), wait=0, keep=5)
        assert not (tmp_path / "w" / FOLDER).exists(), "the other run writes its own summary"
        said: list[str] = []
        second = toys(tmp_path, spark)
        second.say = said.append
        release = threading.Timer(1.5, fcntl.flock, (file, fcntl.LOCK_UN))
        release.start()
        assert nightly(second, wait=60, keep=5).is_file()
        release.join()
    assert any("waiting" in line and "the first one" in line for line in said)


def test_no_other_run_comes_between_a_night_and_its_check(
    tmp_path: Path, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(tmp_path, "a", "abc\nb")
    met: list[str] = []

    def verify_and_intrude(*arguments: Any, **options: Any) -> Any:
        with pytest.raises(Busy) as refused:
            list(toys(tmp_path, spark).run())
        met.append(str(refused.value))
        return verify(*arguments, **options)

    monkeypatch.setattr("pretrain_data.nightly.verify", verify_and_intrude)
    nightly(toys(tmp_path, spark), wait=0, keep=5)
    assert len(met) == 1
    assert f"process {os.getpid()} on " in met[0]
    assert len(list(toys(tmp_path, spark).run())) == 3, "and then it is free again"


def test_failed_nights_clear_up_and_are_forgotten_too(tmp_path: Path, spark: Any) -> None:
    arrive(tmp_path, "a", "abc\nb")
    flag = tmp_path / "flag"
    flag.write_text("part-00000")
    dead = tmp_path / "w" / ".staging" / "short-0123456789abcdef"
    young = tmp_path / "w" / ".staging" / "short-fedcba9876543210"
    for folder in (dead, young):
        (folder / "documents").mkdir(parents=True)
        (folder / "documents" / "part-00000.parquet").write_bytes(b"12345")
    for path in (dead / "documents" / "part-00000.parquet", dead / "documents", dead):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    for _ in range(3):
        with pytest.raises(Exception, match="made to fail"):
            nightly(toys(tmp_path, spark, "stages.upper.max_error_rate=0.5", f"stages.short.fail_on={flag}"), 0, keep=2)
        time.sleep(1.1)
    kept = sorted((tmp_path / "w" / FOLDER).iterdir())
    assert len(kept) == 2
    assert not dead.exists()
    told = json.loads((kept[-1] / "summary.json").read_text(encoding="utf-8"))
    assert told["state"] == "failed"
    assert told["leftovers_removed"] == [], "the first night removed it"


@pytest.mark.slow
def test_the_cron_script_runs_real_stages_and_checks_what_they_left(tmp_path: Path) -> None:
    (tmp_path / "crawl").mkdir()
    rows = [{"id": f"a{i}", "text": f"第{i}篇文章，请打1381234567{i}联系我们。" * 5} for i in range(5)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "crawl" / "day1.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "c.yaml").write_text(
        "workspace: w\nspark: {master: 'local[1]', driver_memory: 512m, event_log: events}\n"
        "stages: {ingest: {input: crawl, shard_bytes: 1048576}, pii: {}}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PRETRAIN_DATA_LOG": "json"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "pretrain-data"  # the command, installed or not
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pretrain_data.cli "$@"\n')
    command.chmod(0o755)
    environment["PATH"] = f"{command.parent}:{environment['PATH']}"

    def night() -> subprocess.CompletedProcess[str]:
        script = [str(ROOT / "scripts" / "nightly.sh"), str(tmp_path / "c.yaml")]
        return subprocess.run(script, env=environment, capture_output=True, text=True, timeout=300, check=False)

    first = night()
    assert first.returncode == 0, first.stderr[-2000:]
    assert "summary" in first.stdout
    told = [json.loads(line) for line in first.stderr.splitlines() if line.startswith("{")]
    assert {(e["stage"], e["partition"]) for e in told if e["partition"]} == {
        ("ingest", "part-00000"), ("pii", "part-00000"),
    }  # fmt: skip
    assert len({e["run"] for e in told}) == 1
    (left,) = (tmp_path / "w" / FOLDER).glob("*/summary.json")
    assert json.loads(left.read_text(encoding="utf-8"))["run"] == told[0]["run"], "logs and summary find each other"
    # Spark's own account, as its history server reads it: one application's, in a folder of its own.
    (log,) = (p for p in (tmp_path / "events").rglob("events_*") if p.is_file())
    told_by_spark = log.read_bytes()
    if log.suffix == ".zstd":
        told_by_spark = zstandard.ZstdDecompressor().stream_reader(told_by_spark, read_across_frames=True).read()
    events = [json.loads(line)["Event"] for line in told_by_spark.decode().splitlines()]
    assert events[0] == "SparkListenerLogStart"
    assert events[-1] == "SparkListenerApplicationEnd"
    # A byte too many in an output that is up to date is not passed over.
    (tmp_path / "w" / "pii" / "documents" / "stray.parquet").write_bytes(b"x")
    again = night()
    assert again.returncode == 5
    ended = json.loads(again.stderr.splitlines()[-1])
    assert ended["level"] == "error"
    assert "stray.parquet: not in the manifest" in ended["message"]
    assert "Traceback" not in again.stderr
