"""Where Spark spills in local mode: a folder of this process alone, so that what a killed one left can be told.

A JVM that is killed leaves its `blockmgr-…` behind, shuffle files of the whole run among them, and nobody can say whose
it was. On a cluster the manager clears up after its containers.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
import time
import uuid
from pathlib import Path
from typing import IO

VARIABLE = "SPARK_LOCAL_DIRS"
LOCK = ".in-use"
#: As for what dead runs leave in a workspace: a day for whoever wants to see why.
KEEP_SECONDS = 24 * 3600.0

_held: list[IO[str]] = []  # open, and so locked, as long as this process lives


def give_own() -> None:
    """Let Spark in this process spill to a folder of its own under the system's temporary one; removed at the end.

    Nothing is done where the environment names folders already. What dead processes left a day ago is removed.
    """
    if VARIABLE in os.environ:
        return
    base = Path(tempfile.gettempdir()) / f"pretrain_data-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    if base.lstat().st_uid != os.getuid():
        return  # somebody else's trap: Spark's own folders have names that nobody can foresee
    clear(base)
    own = base / uuid.uuid4().hex
    own.mkdir()
    file = (own / LOCK).open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    _held.append(file)
    os.environ[VARIABLE] = str(own)
    atexit.register(shutil.rmtree, own, ignore_errors=True)


def clear(base: Path, keep_seconds: float = KEEP_SECONDS) -> list[Path]:
    """Remove the folders of processes that have been dead for `keep_seconds`, as their last change tells."""
    removed = []
    for folder in sorted(p for p in base.iterdir() if (p / LOCK).is_file()):
        with (folder / LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its process lives
            if max(p.lstat().st_mtime for p in (folder, *folder.rglob("*"))) > time.time() - keep_seconds:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed
