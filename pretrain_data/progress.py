"""Shows how far a stage is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

POLL_SECONDS = 0.5
LINE_SECONDS = 30.0


class Progress:
    """Counts finished shards by their sidecars, so that it costs the job nothing."""

    def __init__(self, stage: str, shards: int, sidecars: Path, say: Callable[[str], None]) -> None:
        self.stage, self.shards, self.sidecars, self.say = stage, shards, sidecars, say
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Progress:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end.set()
        self.thread.join()

    def done(self) -> int:
        """Number of finished shards."""
        return sum(1 for _ in self.sidecars.rglob("*.json")) if self.sidecars.exists() else 0

    def _watch(self) -> None:
        if sys.stderr.isatty():
            self._bar()
            return
        last = time.monotonic()
        while not self.end.wait(POLL_SECONDS):
            if time.monotonic() - last >= LINE_SECONDS:
                last = time.monotonic()
                self.say(f"{self.stage}: {self.done()} of {self.shards} shards")

    def _bar(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("shards"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(self.stage, total=self.shards)
            while not self.end.wait(POLL_SECONDS):
                bar.update(task, completed=self.done())
