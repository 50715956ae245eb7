"""Workers are forked from a process that has what they need, and that has one thread."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pretrain_data.daemon import STAGES, WITHOUT_THREADS
from pretrain_data.session import DEFAULTS
from pretrain_data.stages import ORDER

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in WITHOUT_THREADS} | {"PYTHONPATH": str(ROOT)}

LOADED = """
import json, os, sys
from pretrain_data import daemon
os.environ.update(daemon.WITHOUT_THREADS)
daemon.preload(sys.argv[1].split(","))
import numpy as np
from pretrain_data.kernels import signals_scan
kernels = len(signals_scan.count.signatures)
print(json.dumps({"threads": daemon.threads(), "modules": sorted(sys.modules), "kernels": kernels}))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, Any]:
    """What a process has after preloading for all stages."""
    command = [sys.executable, "-c", LOADED, ",".join(ORDER)]
    out = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=300).stdout
    found: dict[str, Any] = json.loads(out)
    return found


def test_nothing_preloaded_starts_a_thread_or_touches_torch(loaded: dict[str, Any]) -> None:
    assert loaded["threads"] == 1
    assert "torch" not in loaded["modules"]


def test_all_that_workers_import_is_there(loaded: dict[str, Any]) -> None:
    wanted = {"pyspark.worker", "pyarrow.parquet", "numba", "pretrain_data.shardrun"}
    assert wanted | {f"pretrain_data.stages.{name}" for name in ORDER} <= set(loaded["modules"])
    assert loaded["kernels"] == 1, "the signals' kernel is compiled or read from its cache"


@contextmanager
def serving(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon as Spark starts it, up to its port."""
    command = [sys.executable, "-c", program, "pyspark.worker"]
    child = subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        child.communicate()


def _port(child: subprocess.Popen[bytes]) -> int:
    assert child.stdout is not None
    return int.from_bytes(child.stdout.read(4), "big")


def test_what_an_import_prints_does_not_stand_before_the_port() -> None:
    program = "from pretrain_data import daemon; daemon.preload = lambda stages: print('hello', stages); daemon.main()"
    with serving(program) as child:
        assert 1024 <= _port(child) < 65536
        child.stdin.close()  # type: ignore[union-attr]
        child.stdin = None
        _, said = child.communicate(timeout=60)
    assert b"hello []" in said
    assert child.returncode is not None


def test_with_a_second_thread_the_plain_daemon_takes_over() -> None:
    program = (
        "import threading, time; from pretrain_data import daemon\n"
        "def preload(stages): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "daemon.preload = preload; daemon.main()"
    )
    with serving(program) as child:
        assert 1024 <= _port(child) < 65536
        command = Path(f"/proc/{child.pid}/cmdline").read_bytes().split(b"\0")
        assert command[1:4] == [b"-m", b"pyspark.daemon", b"pyspark.worker"]
        assert len(list(Path(f"/proc/{child.pid}/task").iterdir())) == 1


def _look(rows: Iterable[int]) -> Iterator[tuple[int, int, bool, bytes]]:
    there = "pretrain_data.shardrun" in sys.modules
    time.sleep(0.5)  # so that both cores get a worker
    yield os.getpid(), os.getppid(), there, Path(f"/proc/{os.getppid()}/cmdline").read_bytes()


@pytest.mark.spark
def test_workers_are_forked_with_all_imports_and_replaced_when_killed(spark: Any) -> None:
    assert spark.sparkContext.getConf().get("spark.python.daemon.module") == DEFAULTS["spark.python.daemon.module"]

    def look() -> list[tuple[int, int, bool, bytes]]:
        found: list[tuple[int, int, bool, bytes]] = (
            spark.sparkContext.parallelize(range(2), 2).mapPartitions(_look).collect()
        )
        return found

    first = look()
    assert all(there for _, _, there, _ in first)
    assert {command.split(b"\0")[2] for *_, command in first} == {b"pretrain_data.daemon"}
    for pid, *_ in first:
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    second = look()
    assert not {pid for pid, *_ in first} & {pid for pid, *_ in second}
    assert {parent for _, parent, *_ in second} == {parent for _, parent, *_ in first}, "by the same daemon"


@pytest.mark.spark
def test_a_run_names_its_stages_to_the_daemon(tmp_path: Path) -> None:
    program = (
        "import sys; from pretrain_data.session import start; from pretrain_data.config import SparkConfig\n"
        "s = start(SparkConfig(master='local[1]', driver_memory='512m'), 't', ['rules', 'toy'])\n"
        "def look(rows):\n    import os, sys\n"
        f"    yield os.environ['{STAGES}'], 'pretrain_data.stages.rules' in sys.modules\n"
        "print('TOLD', s.sparkContext.parallelize([0], 1).mapPartitions(look).collect()); s.stop()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=True
    )
    assert "TOLD [('rules', True)]" in done.stdout
