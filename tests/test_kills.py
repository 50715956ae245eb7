"""scripts/faults.py in short: seeded kills of real runs leave no different byte, and every kind of process is met."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "faults.py"
WORDS = "数据 语料 模型 训练 去重 crawl page night 質量 領域 ＡＢＣ token 文本 清洗 order shard 抽取 网页".split()


def faults() -> Any:
    spec = importlib.util.spec_from_file_location("faults", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_input(folder: Path) -> None:
    """Six days of 150 documents, every fifth of them much like one of the day before."""
    rng = random.Random(7)
    before: list[str] = []
    for day in range(1, 7):
        texts = [" ".join(rng.choices([f"{w}{i}" for w in WORDS for i in range(40)], k=200)) for _ in range(150)]
        for i in range(0, 150, 5):
            texts[i] = f"{before[i]} 请打1381234{day:04d}" if before else texts[i]
        rows = ({"id": f"{day}-{i}", "text": text} for i, text in enumerate(texts))
        path = folder / f"dt=2026-01-{day:02d}" / "part.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        before = texts


@pytest.mark.spark
@pytest.mark.slow
def test_kills_leave_no_different_byte(tmp_path: Path) -> None:
    write_input(tmp_path / "in")
    stages = {
        "ingest": {"input": "in", "source": "s"},
        "rules": {},
        "pii": {},
        "dedup": {"threshold": 0.7, "verify": "exact", "incremental": True},
    }
    spark = {"master": "local[2]", "driver_memory": "700m"}
    (tmp_path / "c.yaml").write_text(json.dumps({"workspace": "w", "spark": spark, "stages": stages}))
    command = [sys.executable, str(SCRIPT), str(tmp_path / "c.yaml"), "--work", str(tmp_path / "work")]
    command += ["--kills", "4", "--targets", "driver,daemon,worker", "--stages", "ingest,pii,dedup", "--minutes", "8"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    log = [json.loads(line) for line in (tmp_path / "work" / "kills.jsonl").read_text().splitlines()]
    killed = Counter(entry["target"] for entry in log if entry.get("killed"))
    assert killed.total() >= 4, log
    # Which stage ends before its kill comes depends on the machine; that of a kind is left out then.
    assert len(set(killed)) >= 2, log
    compared = [entry for entry in log if entry["stage"] == "compared"]
    assert compared
    assert all(entry["files"] > 20 and entry["different"] == [] for entry in compared)
    assert " 0 differ" in done.stdout


def test_processes_are_known_by_what_they_are(tmp_path: Path) -> None:
    """A JVM's settings name the daemon's module; a daemon's workers have its command line."""
    script = tmp_path / "stand_in.py"
    script.write_text("import os, sys, time\nif sys.argv[-1] == 'fork': os.fork()\ntime.sleep(600)\n")
    stand_in = [sys.executable, str(script)]
    jvm = [
        *stand_in,
        "org.apache.spark.deploy.SparkSubmit",
        "--conf",
        "spark.python.daemon.module=pretrain_data.daemon",
        "x",
    ]
    daemon = [*stand_in, "-m", "pretrain_data.daemon", "pyspark.worker", "fork"]
    starter = f"import subprocess, time\nfor c in {[jvm, daemon]}: subprocess.Popen(c)\ntime.sleep(600)"
    module = faults()
    run = module.Run.__new__(module.Run)
    run.workspace = tmp_path
    run.process = subprocess.Popen([sys.executable, "-c", starter], start_new_session=True)
    try:
        end = time.monotonic() + 60
        while not run.processes()["worker"] and time.monotonic() < end:
            time.sleep(0.05)
        found = run.processes()
    finally:
        run.end()
    assert {target: len(pids) for target, pids in found.items()} == {
        "driver": 1, "jvm": 1, "executor": 0, "daemon": 1, "worker": 1,
    }  # fmt: skip
    assert found["driver"] == [run.process.pid]


def test_a_different_byte_and_a_lost_file_are_seen(tmp_path: Path) -> None:
    """The comparison itself: what tells of times alone is no difference, all else is."""
    for name in ("one", "other"):
        folder = tmp_path / name / "pii"
        (folder / "documents").mkdir(parents=True)
        (folder / "documents" / "part-00000.parquet").write_bytes(b"PAR1 a document")
        manifest = {"content": "c", "documents": 1, "files": {"audit": {"xxh3": "0"}}, "started": name, "seconds": 1}
        (folder / "_manifest.json").write_text(json.dumps(manifest))
        (folder / "_shards.jsonl").write_text(json.dumps({"seconds": name}))
    contents = faults().contents
    same = contents(tmp_path / "one")
    assert same == contents(tmp_path / "other")
    assert set(same) == {"pii/_manifest.json", "pii/documents/part-00000.parquet"}
    (tmp_path / "other" / "pii" / "documents" / "part-00000.parquet").write_bytes(b"PAR1 a Document")
    manifest["documents"] = 2
    (tmp_path / "other" / "pii" / "_manifest.json").write_text(json.dumps(manifest))
    changed = contents(tmp_path / "other")
    assert {name for name in same if same[name] != changed[name]} == set(same)


def test_the_table_counts_and_fails_on_a_difference(capsys: Any) -> None:
    log = [
        {"workspace": 0, "stage": "pii", "target": "worker", "killed": True, "within": "pii"},
        {"workspace": 0, "stage": "dedup", "target": "driver", "killed": True, "within": "dedup"},
        {"workspace": 0, "stage": "dedup", "target": "worker", "killed": False, "within": "dedup"},
        {"workspace": 0, "stage": "compared", "files": 7, "different": []},
    ]
    assert faults().table(log, 2) == 0
    assert "2 kills, 1 workspaces, 7 files compared, 0 differ" in capsys.readouterr().out
    log[-1]["different"] = ["disturbed-0/pii/x"]
    assert faults().table(log, 3) == 1
    told = capsys.readouterr().out
    assert "differs: disturbed-0/pii/x" in told
    assert "1 kills to go" in told
