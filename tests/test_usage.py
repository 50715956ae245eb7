"""What a run is said to have used, against what its processes and tasks say of themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from pretrain_data import usage

#: Burns CPU until it has had 0.3 s of it, takes 64 MB, says so and waits to be told to go.
BURNER = """
import sys, time
held = bytearray(64 << 20)
held[::4096] = b"x" * len(held[::4096])
while time.process_time() < 0.3: pass
print("done", flush=True)
sys.stdin.read()
"""


def burner() -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", BURNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    return child


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc")
def test_living_and_ended_children_are_counted_once() -> None:
    before = usage.cpu_seconds(usage.tree(os.getpid()))
    child = burner()
    assert child.pid in usage.tree(os.getpid())
    living = usage.cpu_seconds(usage.tree(os.getpid())) - before
    child.communicate("")
    assert child.pid not in usage.tree(os.getpid())
    ended = usage.cpu_seconds(usage.tree(os.getpid())) - before
    assert living >= 0.28  # the clock of /proc ticks in hundredths
    # It has ended with hardly more than it had: counted twice it would have 0.6.
    assert ended >= 0.28
    assert ended - living < 0.28


@pytest.mark.spark
def test_a_meter_reads_the_tasks_between(spark: Any) -> None:
    spark.range(0, 10, 1, 3).repartition(2).count()
    meter = usage.Meter(spark, "metered")
    assert meter.read()["spark_tasks"] == 0
    assert spark.range(0, 1000, 1, 5).repartition(4, "id").count() == 1000
    found = meter.read()
    assert found["spark_tasks"] >= 5 + 1, "five that write the shuffle, at least one behind it"
    assert found["shuffle_bytes"] > 0
    assert found["jvm_cpu_seconds"] > 0
    again = usage.Meter(spark, "metered")
    assert again.read()["spark_tasks"] == 0, "a second run under the same name begins at nothing"
    if os.path.exists("/proc/self/stat"):
        assert found["cpu_seconds"] > 0
        assert found["jvm_peak_bytes"] > 50 << 20
        assert found["driver_peak_bytes"] > 50 << 20
