"""Kills a run again and again, at seeded moments, and compares what it ends in with an undisturbed run.

    python scripts/faults.py CONFIG --kills 50 --set KEY=VALUE…

Each kill is a SIGKILL to the driver, to the JVM that runs the tasks, or to a Python worker, at a random
moment of the run. The run is then started again in the same workspace and goes on where it was; when it
has come to its end without another kill, every file is compared with the undisturbed run's, byte for byte.
Prints one line a kill and a table; exit code 1 where a file differs or a document is lost.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

TARGETS = ("driver", "jvm", "worker")
#: Kills of one workspace before a run may come to its end.
KILLS_A_RUN = 8


@dataclass
class Faults:
    """What was killed, in which stage, and what differed in the end."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    runs: int = 0
    differences: list[str] = field(default_factory=list)


def command(config: Path, workspace: Path, overrides: list[str], name: str = "run") -> list[str]:
    """The command line of a run."""
    options = [option for o in (*overrides, f"workspace={workspace}") for option in ("--set", o)]
    return [sys.executable, "-m", "pretrain_data.cli", name, str(config), *options]


def processes_below(root: int) -> dict[str, list[int]]:
    """Process ids of the JVM and the Python workers that descend from process `root`."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                names[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (OSError, ValueError, IndexError):
                continue  # gone between the listing and the reading
            children.setdefault(parent, []).append(int(entry.name))
    found: dict[str, list[int]] = {"jvm": [], "worker": []}
    waiting = list(children.get(root, []))
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        if "pyspark.daemon" in names[pid] or "pyspark.worker" in names[pid]:
            found["worker"].append(pid)
        elif "java" in names[pid].split(" ")[0]:
            found["jvm"].append(pid)
    return found


def stage_at_work(workspace: Path) -> str:
    """The stage whose output is being made, by its staging folder; "between" where there is none."""
    staging = workspace / ".staging"
    folders = sorted(staging.iterdir(), key=lambda p: p.stat().st_mtime) if staging.is_dir() else []
    return folders[-1].name.rpartition("-")[0] if folders else "between"


def run_and_kill(config: Path, workspace: Path, overrides: list[str], target: str, delay: float) -> tuple[bool, str]:
    """Start a run and kill `target` after `delay` seconds: whether it was killed, and in which stage."""
    process = subprocess.Popen(
        command(config, workspace, overrides),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        try:
            process.wait(delay)
            return False, ""
        except subprocess.TimeoutExpired:
            pass
        below = processes_below(process.pid)
        stage = stage_at_work(workspace)
        pids = [process.pid] if target == "driver" else below[target]
        killed = False
        for pid in pids[-1:]:
            try:
                os.kill(pid, signal.SIGKILL)
                killed = True
            except ProcessLookupError:
                continue
        process.wait(600)
        return killed, stage
    finally:
        # What a dead driver leaves behind must not run beside the next one for longer than it would by itself.
        for group in {os.getpgid(p) for pids in processes_below(process.pid).values() for p in pids}:
            os.killpg(group, signal.SIGKILL)


def contents(workspace: Path) -> dict[str, str]:
    """A hash of every file of every output; of a manifest what does not tell of time or place."""
    found = {}
    for path in sorted(workspace.rglob("*")):
        parts = path.relative_to(workspace).parts
        # The report and the shards' figures tell of times; a lock and a staging folder are no output.
        if not path.is_file() or parts[0] in (".staging", ".lock", "report.html") or path.name == "_shards.jsonl":
            continue
        data = path.read_bytes()
        if path.name == "_manifest.json":
            manifest = json.loads(data)
            manifest.get("files", {}).pop("_shards.jsonl", None)
            told = ("content", "documents_in", "documents", "dropped", "chars", "tokens", "rules", "shards", "files")
            data = json.dumps({k: manifest[k] for k in told if k in manifest}, sort_keys=True).encode()
        found["/".join(parts)] = hashlib.sha256(data).hexdigest()
    return found


def faults(config: Path, work: Path, kills: int, seed: int, overrides: list[str]) -> Faults:
    """Run once undisturbed, then with `kills` kills; see the head of this file."""
    rng = random.Random(seed)
    began = time.monotonic()
    subprocess.run(command(config, work / "undisturbed", overrides), check=True, stdout=subprocess.DEVNULL)
    length = time.monotonic() - began
    expected = contents(work / "undisturbed")
    result = Faults()
    while result.kills.total() < kills:
        workspace = work / f"disturbed-{result.runs}"
        for _ in range(KILLS_A_RUN):
            if result.kills.total() >= kills:
                break
            target, delay = rng.choice(TARGETS), rng.uniform(0.1, 0.8) * length
            killed, stage = run_and_kill(config, workspace, overrides, target, delay)
            if killed:
                result.kills[stage, target] += 1
                print(f"kill {result.kills.total():>3}: {target} after {delay:.1f} s, in {stage}", flush=True)
        subprocess.run(command(config, workspace, overrides), check=True, stdout=subprocess.DEVNULL)
        subprocess.run(command(config, workspace, overrides, "verify"), check=True, stdout=subprocess.DEVNULL)
        found = contents(workspace)
        names = sorted(found.keys() | expected.keys())
        result.differences += [f"{workspace.name}/{n}" for n in names if found.get(n) != expected.get(n)]
        result.runs += 1
    return result


def main() -> int:
    """Kill, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for the workspaces; must not exist")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True)
    result = faults(arguments.config, arguments.work.resolve(), arguments.kills, arguments.seed, arguments.overrides)
    print(f"\n{'stage':<12}" + "".join(f"{t:>8}" for t in TARGETS))
    for stage in sorted({stage for stage, _ in result.kills}):
        print(f"{stage:<12}" + "".join(f"{result.kills[stage, t]:>8}" for t in TARGETS))
    print(f"{result.kills.total()} kills, {result.runs} runs to the end, {len(result.differences)} files differ")
    for name in result.differences[:20]:
        print(f"differs: {name}")
    return 1 if result.differences else 0


if __name__ == "__main__":
    sys.exit(main())
