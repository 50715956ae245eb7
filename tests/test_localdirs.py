"""What Spark spilled in a process that was killed is removed a day later; what a living one spills is its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pretrain_data.localdirs import LOCK, VARIABLE, clear

ROOT = Path(__file__).resolve().parents[1]
HOLDER = """
import os, sys, time
from pretrain_data import localdirs
localdirs.give_own()
localdirs.give_own()
print(os.environ[localdirs.VARIABLE], flush=True)
sys.stdin.read()
"""
SPILLING = """
import os
from pathlib import Path
from pretrain_data.config import SparkConfig
from pretrain_data.session import start
spark = start(SparkConfig(master="local[1]", driver_memory="512m"), "t")
spark.range(1000).repartition(3, "id").count()
own = Path(os.environ["SPARK_LOCAL_DIRS"])
print("MADE", own, sum(p.is_file() for p in own.rglob("shuffle_*")), flush=True)
spark.stop()
"""


def environment(tmp_path: Path) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != VARIABLE} | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}


def holder(tmp_path: Path, **more: str) -> tuple[subprocess.Popen[str], Path]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env=environment(tmp_path) | more, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    return child, Path(child.stdout.readline().strip())


def age(folder: Path, hours: float) -> None:
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (time.time() - hours * 3600,) * 2)


def test_dead_and_old_ones_go(tmp_path: Path) -> None:
    living, kept = holder(tmp_path)
    dead, left = holder(tmp_path)
    (left / "blockmgr-1").mkdir()
    (left / "blockmgr-1" / "shuffle_0_0_0.data").write_bytes(b"12345")
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    for folder in (kept, left):
        age(folder, 25)
    assert clear(kept.parent, 26 * 3600) == []
    age(left, 25)
    (left / "blockmgr-1" / "shuffle_0_0_0.data").touch()
    assert clear(kept.parent) == [], "it has changed since"
    age(left, 25)
    again, third = holder(tmp_path)  # who comes next clears up
    assert sorted(p.name for p in kept.parent.iterdir()) == sorted([kept.name, third.name])
    for child in (living, again):
        child.communicate("")
        assert child.returncode == 0
    assert list(kept.parent.iterdir()) == [], "who ends in order removes its own"
    assert kept.parent.stat().st_mode & 0o077 == 0, "nobody else reads what is spilled"


def test_what_the_environment_says_counts(tmp_path: Path) -> None:
    child, folder = holder(tmp_path, **{VARIABLE: str(tmp_path / "mine")})
    child.communicate("")
    assert folder == tmp_path / "mine"
    assert not list(tmp_path.iterdir())


@pytest.mark.spark
def test_spark_spills_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPILLING],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    _, folder, files = next(line for line in done.stdout.splitlines() if line.startswith("MADE")).split()
    assert Path(folder).parent.parent == tmp_path
    assert int(files) > 0
    assert not Path(folder).exists()
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(("spark-", "blockmgr-"))]
    assert LOCK not in {p.name for p in tmp_path.rglob("*")}
