"""A real Spark standalone cluster on this machine: one master, workers as processes of their own.

    python scripts/cluster.py --workers 2 -- COMMAND…    run COMMAND with SPARK_MASTER_URL set, then stop

The pip pyspark has no sbin/ folder; spark-class starts the same daemons. Used by the cluster test and
for trying a config before it meets a real cluster.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark

SPARK_HOME = Path(pyspark.__file__).parent
START_SECONDS = 60


@contextmanager
def cluster(
    logs: Path, workers: int = 2, cores: int = 1, memory: str = "1g", conf: dict[str, str] | None = None
) -> Iterator[str]:
    """Start a master and `workers` workers with `cores` and `memory` each; yields the master's URL.

    Logs go to `logs`; `conf` holds Spark properties of the daemons (worker resources, say). All
    processes are stopped at the end. Raises RuntimeError when the cluster does not come up.
    """
    logs.mkdir(parents=True, exist_ok=True)
    options = " ".join(f"-D{key}={value}" for key, value in (conf or {}).items())
    environment = {
        **os.environ,
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_WORKER_DIR": str(logs / "work"),
        "SPARK_WORKER_OPTS": options,
    }
    environment.pop("PYTHONPATH", None)  # what executors find is for the job to say
    daemons: list[subprocess.Popen[bytes]] = []

    def start(name: str, kind: str, *arguments: str) -> None:
        command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}", *arguments]
        with (logs / f"{name}.log").open("wb") as file:
            daemons.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True))

    try:
        start("master", "master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        url = _wait(logs / "master.log", r"Starting Spark master at (spark://\S+)", daemons)
        for number in range(workers):
            options_ = ("--host", "127.0.0.1", "--cores", str(cores), "--memory", memory, "--webui-port", "0")
            start(f"worker{number}", "worker.Worker", *options_, url)
        for number in range(workers):
            _wait(logs / f"worker{number}.log", r"(Successfully registered) with master", daemons)
        yield url
    finally:
        for daemon in reversed(daemons):
            try:
                os.killpg(daemon.pid, signal.SIGTERM)
                daemon.wait(20)
            except ProcessLookupError:
                continue
            except subprocess.TimeoutExpired:
                os.killpg(daemon.pid, signal.SIGKILL)
                daemon.wait()


def _wait(log: Path, pattern: str, daemons: list[subprocess.Popen[bytes]]) -> str:
    """The first group of `pattern` once it stands in `log`."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        found = re.search(pattern, log.read_text(errors="replace"))
        if found:
            return found[1]
        if any(daemon.poll() is not None for daemon in daemons):
            break
        time.sleep(0.1)
    raise RuntimeError(f"the cluster did not start; {log} ends with:\n{log.read_text(errors='replace')[-2000:]}")


def main() -> int:
    """Run a command against a cluster that lives as long as it does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1, help="cores of each worker")
    parser.add_argument("--memory", default="1g", help="memory of each worker")
    parser.add_argument("command", nargs="+", help="what to run, after --")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as logs,
        cluster(Path(logs), arguments.workers, arguments.cores, arguments.memory) as url,
    ):
        print(f"master {url}", file=sys.stderr)
        return subprocess.run(arguments.command, env={**os.environ, "SPARK_MASTER_URL": url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
