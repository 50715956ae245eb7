"""The SparkSession for local runs, clusters and tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain_data import daemon, localdirs
from pretrain_data.config import SparkConfig
from pretrain_data.errors import PretrainDataError
from pretrain_data.stages import ORDER

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOGGING = Path(__file__).with_name("log4j2.properties")
JAVA_VERSIONS = (17, 21)

#: What our jobs want unless the config or spark-submit says otherwise.
DEFAULTS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "4096",
    "spark.sql.execution.arrow.maxBytesPerBatch": "64m",
    "spark.python.worker.reuse": "true",
    "spark.python.daemon.module": "pretrain_data.daemon",
    "spark.python.worker.faulthandler.enabled": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    # Spark's own leaves out the keys of Azure's stores, which then stand in event logs and in the UI.
    "spark.redaction.regex": "(?i)secret|password|passphrase|token|credential|access[.]?key|account[.]key|api[._-]?key",
}

#: In local mode the JVM optimises only what runs ten times as often as it would ask for. Most of what it compiles is
#: start-up and planning, run a few hundred times in all: a third of the CPU of a short job. Loops over rows get there
#: within milliseconds all the same.
JIT = (
    "-XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
    "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
)

#: One thread a worker: Spark runs as many workers as there are cores.
THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ARROW_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def start(config: SparkConfig, app_name: str, stages: Iterable[str] = ()) -> SparkSession:
    """Start a session, or join the one that spark-submit or a notebook has begun.

    What workers of `stages` import is imported once, before they are forked (see `daemon`).
    Raises PretrainDataError where no fitting Java is found.
    """
    from pyspark.sql import SparkSession

    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if SparkSession.getActiveSession() is None and not submitted:
        check_java()
    # Workers start whatever `python3` comes first on PATH unless told otherwise.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    _workers_import_us()

    builder = SparkSession.builder.appName(app_name)
    wanted = {**DEFAULTS, **{f"spark.executorEnv.{k}": v for k, v in THREADS.items()}}
    if known := [name for name in stages if name in ORDER]:
        wanted[f"spark.executorEnv.{daemon.STAGES}"] = ",".join(known)
    wanted.update({k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in config.conf.items()})
    if config.event_log is not None:
        config.event_log.mkdir(parents=True, exist_ok=True)
        wanted |= {"spark.eventLog.enabled": "true", "spark.eventLog.dir": config.event_log.as_uri()}
    if submitted:
        from pyspark import SparkConf

        given = dict(SparkConf().getAll())
        wanted = {k: v for k, v in wanted.items() if k not in given}
    else:
        wanted["spark.driver.memory"] = config.driver_memory
        if config.master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
            if "spark.local.dir" not in config.conf:
                localdirs.give_own()
            quiet = f"-Dlog4j2.configurationFile=file:{LOGGING}"
            wanted["spark.driver.extraJavaOptions"] = (
                f"{quiet} {JIT} {wanted.get('spark.driver.extraJavaOptions', '')}".strip()
            )
        builder = builder.master(config.master)
    for name, value in wanted.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def check_java() -> str:
    """Path of a Java that Spark runs on; PretrainDataError with the remedy where there is none."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    remedy = "install it with: sudo apt-get install -y openjdk-17-jre-headless"
    if java is None or not Path(java).exists():
        raise PretrainDataError(f"Spark needs Java 17 or 21 and none was found; {remedy}")
    text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', text)
    if match is None or int(match[1]) not in JAVA_VERSIONS:
        found = match[1] if match else text.strip() or "unknown"
        raise PretrainDataError(f"Spark needs Java 17 or 21; {java} is version {found}; {remedy}")
    return java


def _workers_import_us() -> None:
    """Let local workers find this package when it runs from a checkout and isn't installed."""
    root = str(Path(__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, known)])
