"""One run at a time in a workspace."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pretrain_data.errors import Busy

POLL_SECONDS = 1.0


@contextmanager
def held(workspace: Path, wait: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the workspace; the lock ends with the process, however that ends, so that none is ever stale.

    Raises Busy where another run still holds it after `wait` seconds.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    with (workspace / ".lock").open("a+", encoding="utf-8") as file:
        end, told = time.monotonic() + wait, False
        while not _locked(file):
            file.seek(0)
            owner = file.read().strip() or "another run"
            if time.monotonic() >= end:
                raise Busy(f"{workspace} is in use by {owner}")
            if not told:
                say(f"waiting: {workspace} is in use by {owner}")
                told = True
            time.sleep(min(POLL_SECONDS, max(0.0, end - time.monotonic())))
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now(UTC):%F %T} UTC")
        file.flush()
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
