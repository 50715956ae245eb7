"""local-cluster with a script that reports GPUs which aren't there: Spark gives each task an address of its own."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pretrain_data.kernels.scoring import address_of_task

ROOT = Path(__file__).resolve().parents[1]

#: Runs as a driver of its own, with the settings that configs/clusters/gpu.yaml has; each shard's task tells its GPU.
DRIVER = """
import json, sys, time
import pyarrow as pa
from pretrain_data.config import SparkConfig
from pretrain_data.session import start

conf = json.loads(sys.argv[1])
spark = start(SparkConfig(master="local-cluster[2,2,1024]", driver_memory="1g", conf=conf), "gpus")

def look(batches):
    from pyspark import TaskContext
    from pretrain_data.kernels.scoring import address_of_task, device_of_task
    for batch in batches:
        began = time.time()
        time.sleep(0.5)
        where = [TaskContext.get().resources()["gpu"].name, address_of_task(TaskContext.get()), device_of_task()]
        yield pa.RecordBatch.from_pydict({"told": [json.dumps([*where, began, time.time()])]})

rows = spark.range(0, 8, 1, 8).mapInArrow(look, "told string").collect()
print("TOLD " + json.dumps([json.loads(row.told) for row in rows]))
spark.stop()
"""


@pytest.fixture
def discovery(tmp_path: Path) -> Path:
    """A script as Spark's getGpusResources.sh, for a machine with GPUs 3 and 5."""
    path = tmp_path / "gpus.sh"
    path.write_text('#!/bin/sh\necho \'{"name": "gpu", "addresses": ["3", "5"]}\'\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.spark
@pytest.mark.slow
def test_addresses_reach_the_task_through_its_context(discovery: Path) -> None:
    given = yaml.safe_load((ROOT / "configs" / "clusters" / "gpu.yaml").read_text(encoding="utf-8"))["spark"]["conf"]
    conf = given | {
        "spark.executor.cores": 2,
        "spark.task.cpus": 1,
        "spark.executor.resource.gpu.amount": 2,
        "spark.executor.resource.gpu.discoveryScript": str(discovery),
        "spark.worker.resource.gpu.amount": 2,
        "spark.worker.resource.gpu.discoveryScript": str(discovery),
        "spark.executorEnv.PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(conf)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("TOLD "))[5:])
    assert len(told) == 8
    assert {name for name, *_ in told} == {"gpu"}
    assert {address for _, address, *_ in told} <= {"3", "5"}
    assert {device for _, _, device, *_ in told} == {"cpu"}, "no CUDA here: the model runs on the CPU"


class Context:
    """What a task sees of Spark."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    def resources(self) -> dict[str, Any]:
        return {"gpu": self} if self.addresses else {}

    def partitionId(self) -> int:
        return 5


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A process that sees GPUs, and the device that a task there would take."""
    import torch
    from pyspark import TaskContext

    from pretrain_data.kernels.scoring import device_of_task

    def device(listed: str, count: int, *addresses: str) -> str:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(TaskContext, "get", classmethod(lambda cls: Context(*addresses)))
        return device_of_task()

    return device


def test_an_address_becomes_the_device_that_torch_counts(visible: Any) -> None:
    assert address_of_task(Context("3")) == "3"
    assert address_of_task(Context()) is None
    assert visible("", 8, "5") == "cuda:5"
    assert visible("3,5", 2, "5") == "cuda:1", "torch counts within what is visible"
    assert visible("", 2) == "cuda:1", "without a schedule tasks take turns: partition 5 of 2"
    assert visible("", 0, "5") == "cpu"


def test_a_fork_of_a_process_with_cuda_takes_the_cpu(visible: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    monkeypatch.setattr("torch.cuda._is_in_bad_fork", lambda: True)
    assert visible("", 8, "5") == "cpu"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
