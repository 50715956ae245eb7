"""What a stage's run took: CPU time, memory, shuffled and written bytes; what `plan cost` reckons with.

CPU and memory are those of this process and all below it (in local mode: driver, JVM and Python workers), read from
/proc. On a cluster the executors are elsewhere, and only Spark's own counters speak for them.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PROC = Path("/proc")
#: Seconds between two looks at the processes of a run.
EVERY = 2.0


class Watch(threading.Thread):
    """Looks at the processes of a tree every few seconds, since those that end leave no trace.

    pyspark's daemon ignores SIGCHLD, so that the system adds the time of a Python worker that ends to nobody's. Here
    it counts as it was last seen. What lives for less than `every` seconds is missed.
    """

    def __init__(self, root: int, every: float = EVERY, itself: bool = True) -> None:
        """`itself` says whether `root` counts, or only what is below it."""
        super().__init__(daemon=True)
        self.root, self.every, self.itself = root, every, itself
        self.highest = 0  # bytes resident in all of them together
        self._over = threading.Event()
        self._before: dict[tuple[int, int], int] = {}
        self._ticks: dict[tuple[int, int], int] = {}  # by process number and start: user and system time
        self._look()
        self._before = dict(self._ticks)
        self.start()

    def run(self) -> None:
        """Look until `stop`."""
        while not self._over.wait(self.every):
            self._look()

    def stop(self) -> None:
        """Make the thread end; it is not waited for."""
        self._over.set()

    def cpu_seconds(self) -> float:
        """User and system time that the processes have had since the watch began."""
        self._look()
        ticks = sum(last - self._before.get(process, 0) for process, last in list(self._ticks.items()))
        return ticks / os.sysconf("SC_CLK_TCK")

    def _look(self) -> None:
        resident = 0
        for pid in tree(self.root)[0 if self.itself else 1 :]:
            with suppress(OSError):
                fields = _fields((_PROC / str(pid) / "stat").read_text())
                self._ticks[pid, int(fields[19])] = int(fields[11]) + int(fields[12])
                resident += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        self.highest = max(self.highest, resident)


class Meter:
    """Measures from its making to `read`, between which no other run may use the session.

    Where there is no /proc, what would be read from it is left out.
    """

    def __init__(self, spark: SparkSession, label: str) -> None:
        """`label` names the Spark jobs of this run; Spark's UI and history show it."""
        self.spark, self.label = spark, label
        self._before = set(self._jobs())
        spark.sparkContext.setJobGroup(label, label)
        for pid in tree(os.getpid()):
            with suppress(OSError):
                (_PROC / str(pid) / "clear_refs").write_text("5")  # forget the high-water mark of memory
        self._cpu, self._own = cpu_seconds(tree(os.getpid())), time.process_time()
        self._watch = Watch(os.getpid())
        weakref.finalize(self, self._watch.stop)

    def read(self) -> dict[str, float]:
        """What was used, by name; seconds and bytes.

        `cpu_seconds`: user and system time of the process tree. `driver_cpu_seconds`: of this process, which is
        what does not go faster with more executors. `jvm_cpu_seconds`: of Spark's tasks within the JVMs alone.
        `jvm_peak_bytes`, `worker_peak_bytes`, `driver_peak_bytes`: highest resident memory of a JVM, of the largest
        Python process below it, and of this process.
        """
        found = self._spark_counters() | {"driver_cpu_seconds": round(time.process_time() - self._own, 3)}
        processes = tree(os.getpid())
        if processes:
            # Each count misses something, and neither counts anything twice: the first knows what was too short to
            # be seen and was waited for, the second what nobody waited for.
            counts = cpu_seconds(processes) - self._cpu, self._watch.cpu_seconds()
            found["cpu_seconds"] = round(max(counts), 3)
            names = {pid: _name(pid) for pid in processes if pid != os.getpid()}
            found["driver_peak_bytes"] = _highest([os.getpid()])
            found["jvm_peak_bytes"] = _highest(pid for pid, name in names.items() if name == "java")
            found["worker_peak_bytes"] = _highest(pid for pid, name in names.items() if name.startswith("python"))
        return found

    def _jobs(self) -> list[int]:
        return list(self.spark.sparkContext.statusTracker().getJobIdsForGroup(self.label))

    def _spark_counters(self) -> dict[str, float]:
        context = self.spark.sparkContext
        tracker, store = context.statusTracker(), context._jsc.sc().statusStore()  # type: ignore[union-attr]
        sums = dict.fromkeys(("jvm_cpu_seconds", "shuffle_bytes", "spilled_bytes", "spark_tasks"), 0.0)
        for job in set(self._jobs()) - self._before:
            info = tracker.getJobInfo(job)
            for stage in info.stageIds if info else []:
                known = tracker.getStageInfo(stage)
                if known is None or not known.numCompletedTasks:
                    continue  # skipped: its output lay there already
                data: Any = store.lastStageAttempt(stage)
                sums["jvm_cpu_seconds"] += data.executorCpuTime() / 1e9
                sums["shuffle_bytes"] += data.shuffleWriteBytes()
                sums["spilled_bytes"] += data.diskBytesSpilled()
                sums["spark_tasks"] += known.numCompletedTasks
        return sums | {"jvm_cpu_seconds": round(sums["jvm_cpu_seconds"], 3)}


def tree(root: int) -> list[int]:
    """Process numbers of `root` and all below it; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for path in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(_fields(path.read_text())[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    return list(_below(root, children)) if children else []


def cpu_seconds(processes: Iterable[int]) -> float:
    """User and system time of these processes and of those that they have seen the end of."""
    ticks = 0
    for pid in processes:
        with suppress(OSError):
            fields = _fields((_PROC / str(pid) / "stat").read_text())
            ticks += sum(int(value) for value in fields[11:15])  # utime, stime, cutime, cstime of proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def _below(root: int, children: dict[int, list[int]]) -> Iterator[int]:
    yield root
    for child in children.get(root, []):
        yield from _below(child, children)


def _fields(stat: str) -> list[str]:
    """Fields of proc(5)'s stat behind the name, which may hold spaces: state, parent, …"""
    return stat.rpartition(")")[2].split()


def _name(pid: int) -> str:
    with suppress(OSError):
        return (_PROC / str(pid) / "comm").read_text().strip()
    return ""


def _highest(processes: Iterable[int]) -> float:
    """Largest high-water mark of resident memory, bytes."""
    marks = [0.0]
    for pid in processes:
        with suppress(OSError):
            for line in (_PROC / str(pid) / "status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    marks.append(float(line.split()[1]) * 1024)
    return max(marks)
