"""Kills runs again and again, in every stage, at seeded moments, and compares what they end in with an undisturbed run.

    python scripts/faults.py CONFIG --work DIR --kills 50 [--minutes 4] [--set KEY=VALUE]…

A workspace meets one kill in each stage: a SIGKILL to the driver, to the JVM that runs the tasks, to an executor
(where --set spark.master=local-cluster[2,1,1024] or the like makes them processes of their own), to a Python
worker or to the daemon that workers are forked from, at a random moment of the stage. --stages names other stages,
some more than once. A run that died is started again in the same workspace and goes on where it was. In the end it
comes through without another kill, `verify` reads every byte, and every file is compared with the undisturbed run's.
Prints a line a kill and a table; exit code 1 where a file differs or a document is lost. What was done stands in
DIR/kills.jsonl: with --minutes the script ends early and, called again, goes on.
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
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.05
PATIENCE = 600.0  # seconds that a run may take
TARGETS = ("driver", "jvm", "executor", "daemon", "worker")
#: What the daemon that Python workers are forked from, and so each worker, has in its command line.
DAEMONS = ("pretrain_data.daemon", "pyspark.daemon", "pyspark.worker")


class Run:
    """One `pretrain-data run`, in a session of its own, so that all it starts can be found."""

    def __init__(self, config: Path, workspace: Path, overrides: list[str]) -> None:
        self.workspace = workspace
        self.process = subprocess.Popen(
            command(config, workspace, overrides),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def alive(self) -> bool:
        return self.process.poll() is None

    def reach(self, stage: str, later: Collection[str]) -> bool:
        """Wait until the stage is at work; False where the run ends before, or is past it."""
        end = time.monotonic() + PATIENCE
        while self.alive() and time.monotonic() < end:
            # A run that died left its staging folder: without a JVM the next one hasn't come to it yet.
            at_work = stage_at_work(self.workspace) if self.processes()["jvm"] else ""
            if at_work == stage or at_work in later:
                return at_work == stage
            time.sleep(POLL_SECONDS)
        return False

    def stay(self, stage: str, seconds: float) -> None:
        """Wait so long, but no longer than the stage is at work: on a busy machine it may take more or less."""
        end = time.monotonic() + seconds
        while self.alive() and time.monotonic() < end and stage_at_work(self.workspace) == stage:
            time.sleep(POLL_SECONDS)

    def kill(self, target: str, stage: str) -> bool:
        """SIGKILL to one process of a kind, the youngest, as soon as there is one; False where the stage has none."""
        while self.alive() and stage_at_work(self.workspace) == stage:
            pids = self.processes()[target]
            try:
                for pid in pids[-1:]:
                    os.kill(pid, signal.SIGKILL)
                    return True
            except ProcessLookupError:
                continue  # gone between the listing and the kill
            time.sleep(POLL_SECONDS)
        return False

    def processes(self) -> dict[str, list[int]]:
        """Process ids of the session by kind, orphans of a dead driver among them."""
        found: dict[str, list[int]] = {target: [] for target in TARGETS}
        parents: dict[int, int] = {}
        for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                name = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (OSError, ValueError, IndexError):
                continue  # gone between the listing and the reading
            if int(fields[3]) != self.process.pid or fields[0] == "Z":
                continue
            parents[pid] = int(fields[1])
            if pid == self.process.pid:
                found["driver"].append(pid)
            elif "CoarseGrainedExecutorBackend" in name:  # JVMs first: a setting of theirs names the daemon's module
                found["executor"].append(pid)
            elif "org.apache.spark.deploy.SparkSubmit" in name:
                found["jvm"].append(pid)
            elif any(f" -m {module} " in name for module in DAEMONS):
                found["worker"].append(pid)
        # A daemon's command line is that of the workers forked from it: it is the one that the JVM started.
        found["daemon"] = [pid for pid in found["worker"] if parents[pid] not in found["worker"]]
        found["worker"] = [pid for pid in found["worker"] if pid not in found["daemon"]]
        return found

    def end(self) -> None:
        """Nothing of it may outlive its workspace's turn."""
        for pids in self.processes().values():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        self.process.wait()


def command(config: Path, workspace: Path, overrides: list[str], name: str = "run") -> list[str]:
    """The command line of a run."""
    options = [option for o in (*overrides, f"workspace={workspace}") for option in ("--set", o)]
    return [sys.executable, "-m", "pretrain_data.cli", name, str(config), *options]


def stage_at_work(workspace: Path) -> str:
    """The stage whose output is being made, by its staging folder; "" where there is none."""
    staging = workspace / ".staging"
    try:
        folders = sorted(staging.iterdir(), key=lambda p: p.stat().st_mtime)
    except OSError:
        return ""
    return folders[-1].name.rpartition("-")[0] if folders else ""


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


class Faults:
    """The whole test: what is asked for, and what was done so far (DIR/kills.jsonl)."""

    def __init__(self, config: Path, work: Path, seed: int, overrides: list[str], only: Sequence[str] = ()) -> None:
        self.config, self.work, self.seed, self.overrides, self.only = config, work, seed, overrides, only
        self.log = work / "kills.jsonl"
        self.stages: dict[str, float] = {}  # in running order, with the seconds that each took undisturbed

    def undisturbed(self) -> Path:
        """The run to compare with, made once."""
        workspace = self.work / "undisturbed"
        subprocess.run(command(self.config, workspace, self.overrides), check=True, stdout=subprocess.DEVNULL)
        manifests = [json.loads(p.read_text(encoding="utf-8")) for p in workspace.glob("*/_manifest.json")]
        self.stages = {m["stage"]: m["seconds"] for m in sorted(manifests, key=lambda m: m["started"])}
        return workspace

    def done(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def note(self, **entry: Any) -> None:
        with self.log.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def workspace(self, number: int, targets: list[str], end: float) -> bool:
        """The kills that this workspace has not had yet, then the comparison; False at the end of time."""
        workspace = self.work / f"disturbed-{number}"
        rng = random.Random(f"{self.seed}-{number}")
        order = list(self.stages)
        slots = sorted((name for name in self.only or order if name in order), key=order.index)
        plan = [(stage, targets[(number + i) % len(targets)], rng.random()) for i, stage in enumerate(slots)]
        had = Counter(entry["stage"] for entry in self.done() if entry["workspace"] == number)
        run: Run | None = None
        runs: list[Run] = []
        try:
            for stage, target, share in plan:
                if had[stage]:
                    had[stage] -= 1
                    continue
                if time.monotonic() > end:
                    return False
                if run is None or not run.alive():
                    run = Run(self.config, workspace, self.overrides)
                    runs.append(run)
                if not run.reach(stage, order[order.index(stage) + 1 :]):
                    self.note(workspace=number, stage=stage, target=target, killed=False)
                    continue
                run.stay(stage, share * self.stages[stage])
                within = stage_at_work(workspace)
                killed = run.kill(target, stage)
                self.note(workspace=number, stage=stage, target=target, killed=killed, within=within)
                print(f"workspace {number}: {stage}: {target} {'killed' if killed else 'not there'}", flush=True)
                # Where a worker or an executor dies the run may go on by itself; a dead driver's run may not.
                if target in ("driver", "jvm") and killed:
                    run.process.wait(PATIENCE)
            if run is not None and run.alive():
                run.process.wait(PATIENCE)
        finally:
            for each in runs:
                each.end()
        if time.monotonic() > end:
            return False
        for name in ("run", "verify"):
            subprocess.run(command(self.config, workspace, self.overrides, name), check=True, stdout=subprocess.DEVNULL)
        expected, found = contents(self.work / "undisturbed"), contents(workspace)
        names = sorted(found.keys() | expected.keys())
        different = [f"{workspace.name}/{n}" for n in names if found.get(n) != expected.get(n)]
        self.note(workspace=number, stage="compared", files=len(names), different=different)
        return True


def main() -> int:
    """Kill, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for the workspaces and the log")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--targets", default="driver,jvm,daemon,worker", help=f"of {', '.join(TARGETS)}; in turn")
    parser.add_argument(
        "--stages", default="", help="with commas between; one named twice is killed twice; default: all"
    )
    parser.add_argument("--minutes", type=float, default=1e6, help="end after so long; called again it goes on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + arguments.minutes * 60
    only = [name for name in arguments.stages.split(",") if name]
    faults = Faults(arguments.config, arguments.work.resolve(), arguments.seed, arguments.overrides, only)
    faults.undisturbed()
    while True:
        log = faults.done()
        compared = [entry for entry in log if entry["stage"] == "compared"]
        kills = Counter((e["within"], e["target"]) for e in log if e.get("killed"))
        open_ = {e["workspace"] for e in log} - {e["workspace"] for e in compared}
        if (kills.total() >= arguments.kills and not open_) or time.monotonic() > end:
            break
        number = min(open_) if open_ else len(compared)
        if not faults.workspace(number, arguments.targets.split(","), end):
            break
    return table(faults.done(), arguments.kills)


def table(log: list[dict[str, Any]], wanted: int) -> int:
    """Print what was killed where, and what differs; the exit code."""
    compared = [entry for entry in log if entry["stage"] == "compared"]
    kills = Counter((e["within"], e["target"]) for e in log if e.get("killed"))
    targets = sorted({target for _, target in kills})
    print(f"\n{'stage':<16}" + "".join(f"{t:>10}" for t in targets))
    for stage in dict.fromkeys(stage for stage, _ in kills):
        print(f"{stage or 'between':<16}" + "".join(f"{kills[stage, t]:>10}" for t in targets))
    files = sum(entry["files"] for entry in compared)
    different = [name for entry in compared for name in entry["different"]]
    print(f"{kills.total()} kills, {len(compared)} workspaces, {files} files compared, {len(different)} differ")
    for name in different[:20]:
        print(f"differs: {name}")
    if kills.total() < wanted:
        print(f"{wanted - kills.total()} kills to go: call it again")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
