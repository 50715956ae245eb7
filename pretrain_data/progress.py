"""Shows how far a stage is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

POLL_SECONDS = 0.5
LINE_SECONDS = 30.0
#: Looking takes at most this share of the time, on file systems that list slowly too.
MOST_LOOKING = 0.05

Say = Callable[..., None]  # a line, and by name what it is about (partition)


class Progress:
    """Watches from a thread of its own while a `with` block runs; subclasses say what is counted."""

    unit = ""

    def __init__(self, stage: str, say: Say) -> None:
        self.stage, self.say = stage, say
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.began = time.monotonic()

    def look(self) -> tuple[int, int]:
        """(done, of how many); the latter is 0 where that isn't known."""
        raise NotImplementedError

    def detail(self) -> str:
        """What else is known, beside counts and time."""
        return ""

    def __enter__(self) -> Progress:
        self.began = time.monotonic()
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end.set()
        self.thread.join()

    def line(self) -> str:
        """How far it is, in a line of text."""
        done, of = self.look()
        seconds = time.monotonic() - self.began
        if not of:  # nothing is counted while the driver computes
            return f"{self.stage}: at work for {duration(seconds)}{self.detail()}"
        text = f"{self.stage}: {done:,} of {of:,} {self.unit}{self.detail()}"
        return f"{text}, about {duration(seconds * (of - done) / done)} left" if 0 < done < of else text

    def _watch(self) -> None:
        if sys.stderr.isatty():
            self._bar()
            return
        last, wait = time.monotonic(), POLL_SECONDS
        while not self.end.wait(wait):
            began = time.monotonic()
            line = self.line()
            if time.monotonic() - last >= LINE_SECONDS:
                last = time.monotonic()
                self.say(line)
            wait = max(POLL_SECONDS, (time.monotonic() - began) / MOST_LOOKING)

    def _bar(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(self.stage, total=None, detail=self.unit)
            wait = POLL_SECONDS
            while not self.end.wait(wait):
                began = time.monotonic()
                done, of = self.look()
                bar.update(task, completed=done, total=of or None, detail=self.unit + self.detail())
                wait = max(POLL_SECONDS, (time.monotonic() - began) / MOST_LOOKING)


class ShardProgress(Progress):
    """Counts finished shards by their sidecars, so that it costs the job nothing; `note` hears of each."""

    unit = "shards"

    def __init__(self, stage: str, shards: int, sidecars: Path, say: Say, note: Say) -> None:
        super().__init__(stage, say)
        self.shards, self.sidecars, self.note = shards, sidecars, note
        self.seen: set[Path] = set()
        self.documents = 0
        self.here = 0  # documents of shards that were finished before this run
        self.look(tell=False)
        self.here = self.documents

    def look(self, tell: bool = True) -> tuple[int, int]:
        for path in self.sidecars.rglob("*.json") if self.sidecars.exists() else ():
            if path in self.seen or path.name.startswith("."):
                continue
            self.seen.add(path)
            found = json.loads(path.read_text(encoding="utf-8"))
            self.documents += found["rows_in"]
            if tell:
                text = f"{found['rows']:,} of {found['rows_in']:,} documents kept in {found['seconds']:.1f} s"
                self.note(f"{self.stage}: {found['name']}: {text}", partition=found["name"])
        return len(self.seen), self.shards

    def detail(self) -> str:
        rate = (self.documents - self.here) / max(time.monotonic() - self.began, 1e-9)
        return f", {self.documents:,} documents, {rate:,.0f}/s"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.look()  # what was finished since the last look is told too


class TaskProgress(Progress):
    """Counts the tasks of Spark's jobs, where a stage looks at the whole and has no shards to count."""

    unit = "tasks of a pass over the whole"

    def __init__(self, stage: str, spark: SparkSession, say: Say) -> None:
        super().__init__(stage, say)
        self.tracker = spark.sparkContext.statusTracker()

    def look(self) -> tuple[int, int]:
        from py4j.protocol import Py4JError

        try:
            return self._tasks()
        except (Py4JError, OSError):
            return 0, 0  # the JVM is gone: the run itself says so

    def _tasks(self) -> tuple[int, int]:
        done = of = 0
        for job in self.tracker.getActiveJobsIds():
            info = self.tracker.getJobInfo(job)
            for number in info.stageIds if info is not None else ():
                stage = self.tracker.getStageInfo(number)
                if stage is not None:
                    done, of = done + stage.numCompletedTasks, of + stage.numTasks
        return done, of


def duration(seconds: float) -> str:
    """Seconds as 45 s, 12 min or 3 h 5 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
