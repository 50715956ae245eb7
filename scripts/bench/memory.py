"""Peak memory of a run by process and stage: the driver's Python, the JVM, the largest Python worker.

    python scripts/bench/memory.py CONFIG [--set KEY=VALUE]…

Resident memory (Linux, /proc), looked at every quarter second; a worker's peak is that of the process, whatever
share of it a fork has in common with others.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

LOOK_SECONDS = 0.25
KINDS = ("driver", "jvm", "worker")


def resident(pid: int) -> tuple[int, str, int] | None:
    """(session, command line, resident MiB) of a process; None where it is gone."""
    try:
        session = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
        name = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        status = Path(f"/proc/{pid}/status").read_text()
    except (OSError, ValueError, IndexError):
        return None
    size = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return session, name, size // 1024


def kind_of(name: str) -> str:
    if "pyspark.daemon" in name or "pyspark.worker" in name:
        return "worker"
    return "jvm" if "java" in name.split(" ")[0] else "driver"


def stage_at_work(workspace: Path) -> str:
    try:
        folders = sorted((workspace / ".staging").iterdir(), key=lambda p: p.stat().st_mtime)
    except OSError:
        return ""
    return folders[-1].name.rpartition("-")[0] if folders else ""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config", type=Path)
    arguments.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    a = arguments.parse_args()
    from pretrain_data.commands import open_pipeline

    workspace = open_pipeline(a.config, a.overrides).workspace
    options = [option for o in a.overrides for option in ("--set", o)]
    command = [sys.executable, "-m", "pretrain_data.cli", "run", str(a.config), *options]
    process = subprocess.Popen(command, start_new_session=True)
    peaks: dict[str, dict[str, int]] = {}
    while process.poll() is None:
        stage = stage_at_work(workspace)
        for entry in Path("/proc").iterdir():
            found = resident(int(entry.name)) if entry.name.isdigit() else None
            if found is not None and found[0] == process.pid and stage:
                at = peaks.setdefault(stage, dict.fromkeys(KINDS, 0))
                at[kind_of(found[1])] = max(at[kind_of(found[1])], found[2])
        time.sleep(LOOK_SECONDS)
    print(f"{'stage':<16}" + "".join(f"{kind + ', MiB':>14}" for kind in KINDS))
    for stage, at in peaks.items():
        print(f"{stage:<16}" + "".join(f"{at[kind]:>14,}" for kind in KINDS))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
