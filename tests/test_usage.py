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


#: Has a child that burns CPU and that nobody waits for: the system adds its time to nobody's.
IGNORING = """
import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(child.stdout.readline(), end="", flush=True)
sys.stdin.readline()
child.stdin.close()
while child.stdout.read(): pass
print("ended", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc")
def test_children_that_nobody_waits_for_are_counted_too() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", IGNORING, BURNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    plain = usage.cpu_seconds(usage.tree(parent.pid))
    watch = usage.Watch(parent.pid, every=0.02)
    assert parent.stdout.readline() == "done\n"
    seen = watch.cpu_seconds()
    assert seen >= 0.28
    parent.stdin.write("\n")
    parent.stdin.flush()
    assert parent.stdout.readline() == "ended\n"
    assert watch.cpu_seconds() >= seen
    # Without the watch that time is gone; the parent has had some of its own.
    own = usage.cpu_seconds([parent.pid]) - plain
    assert watch.cpu_seconds() >= own + 0.25
    watch.stop()
    parent.communicate("")
    watch.join(5)
    assert not watch.is_alive()


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
