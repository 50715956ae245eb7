"""What all benchmarks share: a command measured with all its processes, interleaved repetitions, tables.

Absolute times prove nothing on a noisy machine. So every benchmark runs what it compares in turns, takes CPU
seconds of whole process trees, and prints ratios of medians with their spread.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pretrain_data.usage import Watch, tree

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
POLL_SECONDS = 0.1
ROOT = Path(__file__).resolve().parents[2]

#: One Spark job in a session of its own: copy Parquet to Parquet, or do nothing (what starting costs).
SPARK_COPY = """
import sys
from pretrain_data.config import SparkConfig
from pretrain_data.session import start
spark = start(SparkConfig(master="local[2]", driver_memory="2g"), "copy")
if len(sys.argv) > 1:
    spark.read.parquet(sys.argv[1]).write.mode("overwrite").parquet(sys.argv[2])
else:
    spark.range(1).count()
spark.stop()
"""


@dataclass(frozen=True)
class Used:
    """What a command took with everything that it started, orphans too.

    CPU seconds are the larger of two counts that can both miss something, and never count anything twice: what the
    system adds up of ended children, and the sum over all processes that were seen, each as it was last seen.
    pyspark's daemon ignores SIGCHLD, so that the first knows nothing of workers that end before it; the second
    misses the last tenth of a second of a process, and those that live for less.
    """

    cpu_seconds: float
    seconds: float
    peak_bytes: int  # resident, sampled over the whole tree


def measure(command: Sequence[str | Path], cwd: Path | None = None, **environment: str) -> Used:
    """Run a command to its end. Raises SystemExit with the end of its output where it fails."""
    # Orphans (Spark's Python workers outlive the JVM for a moment) become our children, and so are counted.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, began = _ended_children(), time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(
            [str(c) for c in command],
            cwd=cwd,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        watch = Watch(os.getpid(), POLL_SECONDS, itself=False)  # orphans are below us, and no more below the command
        code = child.wait()
        seconds = time.monotonic() - began
        watch.stop()
        watch.join()
        _reap_orphans()
        if code:
            output.seek(0)
            sys.exit(f"{' '.join(map(str, command))} ended with {code}:\n{output.read()[-3000:]}")
    return Used(max(_ended_children() - before, watch.cpu_seconds()), seconds, watch.highest)


def _ended_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _reap_orphans() -> None:
    for pid in tree(os.getpid())[1:]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def in_turns(cases: dict[str, Callable[[], Used]], times: int = 3) -> dict[str, list[Used]]:
    """Each case `times` times, in turns, so that what slows the machine for a while slows all of them."""
    found: dict[str, list[Used]] = {name: [] for name in cases}
    for turn in range(times):
        for name, case in cases.items():
            print(f"turn {turn + 1} of {times}: {name}", file=sys.stderr, flush=True)
            found[name].append(case())
    return found


def spark_copy(parquet: Path, work: Path) -> Callable[[], Used]:
    """A case: Spark copies `parquet` (a folder or file)."""
    return lambda: measure([sys.executable, "-c", SPARK_COPY, parquet, work / "copy.parquet"], cwd=ROOT)


def spark_start() -> Callable[[], Used]:
    """A case: a Spark session that does next to nothing."""
    return lambda: measure([sys.executable, "-c", SPARK_COPY], cwd=ROOT)


def cpu(used: list[Used]) -> float:
    """Median CPU seconds."""
    return statistics.median(u.cpu_seconds for u in used)


def rows(
    found: dict[str, list[Used]], megabytes: float, start: str | Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """A row a case. With `start`, the median of that case (or of the one named for it) is taken off."""
    starts = dict.fromkeys(found, start) if isinstance(start, str) else dict(start or {})
    made = []
    for name, used in found.items():
        seconds = [u.cpu_seconds for u in used]
        of = starts.get(name)
        off = cpu(found[of]) if of is not None else 0.0
        work = max(cpu(used) - (off if name != of else 0.0), 1e-9)
        made.append(
            {
                "case": name,
                "cpu_seconds": round(cpu(used), 2),
                "spread": round(max(seconds) / max(min(seconds), 1e-9), 2),
                "start_seconds": round(off, 2),
                "mb_per_cpu_second": round(megabytes / work, 3),
                "wall_seconds": round(statistics.median(u.seconds for u in used), 2),
                "peak_gb": round(max(u.peak_bytes for u in used) / 1e9, 2),
            }
        )
    return made


def show(title: str, found: list[dict[str, Any]], out: Path | None = None, **more: Any) -> None:
    """Print rows as a table, and write them as JSON with where and when where `out` is given."""
    table = Table(title=title)
    for key in found[0]:
        table.add_column(key, justify="left" if isinstance(found[0][key], str) else "right")
    for row in found:
        table.add_row(*(f"{v:,}" if isinstance(v, int) else str(v) for v in row.values()))
    Console(width=160).print(table)
    for key, value in more.items():
        print(f"{key}: {value}")
    if out is not None:
        record = {"title": title, "rows": found, **more, "machine": machine(), "command": sys.argv}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1, ensure_ascii=False))


def machine() -> dict[str, Any]:
    """What a figure was measured on."""
    packages = ("pyspark", "pyarrow", "numpy", "numba", "torch")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def environment_of(name: str, packages: Sequence[str], work: Path) -> Path:
    """The Python of a virtual environment that holds a peer, made where it is missing."""
    folder = work / "environments" / name
    python = folder / "bin" / "python"
    marker = folder / "packages.txt"
    if not marker.exists() or marker.read_text() != "\n".join(packages):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        marker.write_text("\n".join(packages))
    return python
