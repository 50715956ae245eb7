"""One run at a time in a workspace.

The lock is the operating system's and ends with the process, however that ends. Some file systems keep such locks to
one machine (object stores mounted by FUSE, Lustre without `flock`): so the owner also writes its name down and gives
a sign of life, and another machine that finds a young one leaves the workspace alone, lock or not.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pretrain_data.errors import Busy

POLL_SECONDS = 1.0
#: How often an owner gives a sign of life, and after how long without one it is taken for dead by other machines.
#: Far enough apart for clocks that differ and for file systems that cache a file's time for a minute.
SIGN_SECONDS = 20.0
EXPIRY_SECONDS = 300.0

_OWNER = re.compile(r"process \d+ on (?P<host>\S+), since ")


@contextmanager
def held(workspace: Path, wait: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the workspace. Raises Busy where another run still holds it after `wait` seconds."""
    workspace.mkdir(parents=True, exist_ok=True)
    with (workspace / ".lock").open("a+", encoding="utf-8") as file:
        end, told = time.monotonic() + wait, False
        while (owner := _held_by(file)) is not None:
            if time.monotonic() >= end:
                raise Busy(f"{workspace} is in use by {owner}")
            if not told:
                say(f"waiting: {workspace} is in use by {owner}")
                told = True
            time.sleep(min(POLL_SECONDS, max(0.0, end - time.monotonic())))
        if dead := _written(file):
            say(f"warning: {dead} ended without a word; what it had not finished is gone on with")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now(UTC):%F %T} UTC")
        file.flush()
        over = threading.Event()
        signs = threading.Thread(target=_give_signs, args=(file, over), daemon=True)
        signs.start()
        try:
            yield
        finally:
            over.set()
            signs.join()
            file.truncate(0)


def _held_by(file: IO[str]) -> str | None:
    """The owner of the lock; None where it is this process now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _written(file) or "another run"
    owner = _written(file)
    known = _OWNER.match(owner)
    silent = time.time() - os.fstat(file.fileno()).st_mtime
    if known and known["host"] != socket.gethostname() and silent < EXPIRY_SECONDS:
        fcntl.flock(file, fcntl.LOCK_UN)
        return f"{owner} (or was until {max(0.0, silent):.0f} s ago: after {EXPIRY_SECONDS:.0f} s it counts as dead)"
    return None


def _written(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip()


def _give_signs(file: IO[str], over: threading.Event) -> None:
    while not over.wait(SIGN_SECONDS):
        with suppress(OSError):  # whatever ails the file system, the run itself meets it and says so
            os.utime(file.fileno())
