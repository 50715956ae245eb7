"""Is this machine ready? Each check says what was found and, where something is wrong, how to mend it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pretrain_data.errors import PretrainDataError

GOOD, WORTH_KNOWING, WRONG = "ok", "note", "wrong"
#: Allowed for one Python worker with kernels, models and Arrow batches, MB.
WORKER_MB = 1_500
LEAST_FREE_GB = 5
#: What a worker imports; a Python without them fails in the first stage, in the worker only.
WORKER_IMPORTS = ("pyarrow", "pandas", "numpy", "numba", "torch", "transformers", "pretrain_data")
INSTALL = "install what requirements.lock names (scripts/setup.sh does)"


@dataclass(frozen=True)
class Check:
    """One finding; `mend` is empty where nothing need be done."""

    name: str
    state: str
    found: str
    mend: str = ""


def examine(config: Any = None, session: bool = False) -> Iterator[Check]:
    """All checks in turn. `config` is a PipelineConfig whose workspace, master and models are looked at too.

    `session` also starts Spark and runs a task in a worker, which takes some ten seconds.
    """
    workspace = config.workspace if config is not None else Path.cwd()
    for check in (python, java, worker_python, partial(memory, config), gpu, partial(writable, workspace), kernels):
        yield _safely(check)
    for name, task in _models(config):
        yield _safely(partial(model, name, task))
    if session:
        yield _safely(partial(spark_task, config))


def _safely(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except (PretrainDataError, OSError, ImportError, subprocess.SubprocessError) as error:
        return Check(getattr(check, "__name__", "check"), WRONG, str(error), "see the message")


def python() -> Check:
    """This interpreter's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Check("Python", GOOD if fits else WRONG, version, "" if fits else "use Python 3.11, 3.12 or 3.13")


def java() -> Check:
    """A Java that Spark runs on."""
    from pretrain_data.session import check_java

    try:
        return Check("Java", GOOD, check_java())
    except PretrainDataError as error:
        message, _, remedy = str(error).partition("; ")
        return Check("Java", WRONG, message, remedy)


def worker_python() -> Check:
    """The Python that Spark's workers will run, and whether it has what they import."""
    worker = os.environ.get("PYSPARK_PYTHON") or sys.executable
    mend = (
        f"unset PYSPARK_PYTHON, or point it to a Python with our packages, e.g. export PYSPARK_PYTHON={sys.executable}"
    )
    code = (
        "import importlib.util as u, sys; print('.'.join(map(str, sys.version_info[:2]))); "
        f"print(' '.join(n for n in {WORKER_IMPORTS!r} if u.find_spec(n) is None))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).resolve().parents[1])])}
    try:
        asked = subprocess.run([worker, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    except OSError as error:
        return Check("Python in workers", WRONG, f"{worker}: {error.strerror}", mend)
    if asked.returncode:
        return Check("Python in workers", WRONG, f"{worker} fails: {asked.stderr.strip()[-200:]}", mend)
    version, missing = (asked.stdout + "\n").split("\n")[:2]
    here = ".".join(map(str, sys.version_info[:2]))
    if version != here:
        return Check("Python in workers", WRONG, f"{worker} is {version}, the driver is {here}", mend)
    if missing:
        return Check("Python in workers", WRONG, f"{worker} lacks {missing}", INSTALL)
    return Check("Python in workers", GOOD, f"{worker} ({version})")


def memory(config: Any = None) -> Check:
    """Memory for the JVM and one Python worker a core."""
    available = _available_mb()
    cores = _cores(config)
    heap = _megabytes(config.spark.driver_memory if config is not None else "2g")
    wanted = heap + cores * WORKER_MB
    found = f"{available:,} MB free; {cores} workers and a heap of {heap:,} MB want about {wanted:,} MB"
    if available >= wanted:
        return Check("memory", GOOD, found)
    fewer = max(1, (available - heap) // WORKER_MB)
    return Check("memory", WORTH_KNOWING, found, f"use fewer workers: --set 'spark.master=local[{fewer}]'")


def _available_mb() -> int:
    """What this process may still take: the machine's, or its cgroup's where that is less."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) >> 10
    try:
        most = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return free
    return free if most == "max" else min(free, (int(most) - used) >> 20)


def _cores(config: Any) -> int:
    here = len(os.sched_getaffinity(0))
    master = config.spark.master if config is not None else "local[*]"
    inside = master.partition("[")[2].rstrip("]").split(",")[0]
    return int(inside) if inside.isdigit() else here


def _megabytes(amount: str) -> int:
    return int(amount[:-1]) << {"k": 0, "m": 10, "g": 20, "t": 30}[amount[-1].lower()] >> 10


def gpu() -> Check:
    """Whether the scorers can run on a GPU. Asked in a process of its own: CUDA must not be touched before a fork."""
    code = "import torch; print(torch.cuda.device_count(), torch.version.cuda)"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    if asked.returncode:
        return Check("GPU", WRONG, f"torch can't be imported: {asked.stderr.strip()[-200:]}", INSTALL)
    count, _, cuda = asked.stdout.strip().partition(" ")
    if count != "0":
        return Check("GPU", GOOD, f"{count} GPU, CUDA {cuda}")
    if shutil.which("nvidia-smi") and cuda == "None":
        return Check("GPU", WORTH_KNOWING, "there is a GPU, but torch is a CPU build", "install torch's CUDA build")
    return Check("GPU", GOOD, "none; the scorers run on the CPU")


def writable(folder: Path) -> Check:
    """Whether a workspace can be made at `folder`, and how much room is there."""
    there = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".doctor-"):
            pass
    except OSError as error:
        mend = "choose another workspace, or see that this user may write there"
        return Check("workspace", WRONG, f"{there}: {error.strerror}", mend)
    free = shutil.disk_usage(there).free / 1e9
    if free < LEAST_FREE_GB:
        return Check("workspace", WORTH_KNOWING, f"{there}: {free:.1f} GB free", "free some space: stages keep theirs")
    return Check("workspace", GOOD, f"{there}: may be written, {free:,.0f} GB free")


def kernels() -> Check:
    """Whether compiled kernels can be kept, so that each worker need not compile them."""
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path.home() / ".cache")
    there = next(p for p in (folder, *folder.parents) if p.exists())
    if os.access(there, os.W_OK):
        return Check("kernel cache", GOOD, str(folder))
    return Check(
        "kernel cache", WORTH_KNOWING, f"{folder} can't be written", "set NUMBA_CACHE_DIR to a folder that can"
    )


def _models(config: Any) -> list[tuple[str, str]]:
    named = []
    for stage, task in (("quality", "quality"), ("classify", "domain")):
        section = config.stage_config(stage) if config is not None else None
        if config is None or section is not None:
            parts = [section, *getattr(section, "per_lang", {}).values()]
            named += [(getattr(part, "model", "default"), task) for part in parts]
    return list(dict.fromkeys(named))


def model(name: str, task: str) -> Check:
    """Whether a scorer's files are whole and can be read."""
    from safetensors import SafetensorError, safe_open

    from pretrain_data.models.loading import FASTTEXT, local_path

    folder, title = local_path(name, task), f"model {task}"
    if folder is None:
        return Check(title, WORTH_KNOWING, f"{name} is a hub id: it is fetched at the first run", "or name a folder")
    if (folder / FASTTEXT).is_file():
        return Check(title, GOOD, str(folder))
    files = sorted(folder.glob("*.safetensors"))
    missing = [n for n in ("config.json", "tokenizer.json") if not (folder / n).is_file()]
    if not files or missing:
        lacking = ", ".join(missing or ["*.safetensors"])
        return Check(title, WRONG, f"{folder} lacks {lacking}", "save it with save_pretrained(safe_serialization=True)")
    try:
        for path in files:
            with safe_open(path, "numpy") as weights:
                weights.keys()
    except SafetensorError as error:
        return Check(
            title, WRONG, f"{folder}: {error}", "fetch the file again; with git, check that LFS files are there"
        )
    return Check(title, GOOD, str(folder))


def spark_task(config: Any) -> Check:
    """Start Spark and let a worker import us."""
    from pretrain_data.config import SparkConfig
    from pretrain_data.session import start

    spark = start(config.spark if config is not None else SparkConfig(master="local[1]", driver_memory="1g"), "doctor")
    try:
        versions = spark.sparkContext.parallelize([0], 1).map(_in_worker).collect()
    finally:
        spark.stop()
    return Check("Spark", GOOD, f"{spark.version}; a worker ran {versions[0]}")


def _in_worker(_: int) -> str:
    import pretrain_data

    return f"Python {sys.version_info[0]}.{sys.version_info[1]} with pretrain_data {pretrain_data.__version__}"
