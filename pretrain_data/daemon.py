"""pyspark's daemon, with what every worker imports imported once, before workers are forked.

Spark starts `python -m pretrain_data.daemon` where `spark.python.daemon.module` says so (`session.DEFAULTS`), and has
it fork a worker for each task that runs at a time. What is imported and made here is shared by all of them, page by
page until somebody writes to it; else each worker pays for it anew. A worker that dies is forked again for next to
nothing.

A process that has more than one thread must not fork: a lock that another thread holds stays locked in the child for
good. So nothing here may start a thread (torch is not imported; Arrow's allocator and BLAS are told to start none), and
where there are threads all the same, pyspark's own daemon takes this one's place.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

#: Of the environment: the stages that workers will run, with commas between.
STAGES = "PRETRAIN_DATA_STAGES"

#: What would start threads when it is imported is told not to.
WITHOUT_THREADS = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ARROW_NUM_THREADS": "1",
}


def preload(stages: list[str]) -> None:
    """Import what workers of these stages need, and let each make what depends on no config (`Stage.warm`)."""
    import pyspark.worker  # noqa: F401

    import pretrain_data.shardrun  # noqa: F401
    from pretrain_data.stages import ORDER

    for name in stages:
        stage = getattr(import_module(f"pretrain_data.stages.{name}"), ORDER[name])
        stage.warm()


def threads() -> int:
    """Threads of this process, those of native libraries too."""
    return len(list(Path("/proc/self/task").iterdir()))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The JVM reads the daemon's port from standard output: what an import prints must not stand before it."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def main() -> None:
    """Preload and serve as pyspark's daemon does; `sys.argv[1]` names the worker's module."""
    if Path("/proc/self/task").is_dir():  # elsewhere nobody can tell whether a fork is safe
        for name, value in WITHOUT_THREADS.items():
            os.environ.setdefault(name, value)
        with _quiet():
            preload([name for name in os.environ.get(STAGES, "").split(",") if name])
        if threads() > 1:
            print(
                f"pretrain_data.daemon: {threads()} threads after imports, so workers import for themselves",
                file=sys.stderr,
            )
            os.execv(sys.executable, [sys.executable, "-m", "pyspark.daemon", *sys.argv[1:]])
        gc.collect()
        gc.freeze()  # else a worker's first collection would write to, and so copy, every page
    from pyspark.daemon import manager

    manager()


if __name__ == "__main__":
    main()
