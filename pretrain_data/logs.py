"""What a run says while it works, on the standard error: plain lines, or JSON objects for a log collector.

`PRETRAIN_DATA_LOG=json` chooses the latter: time (UTC, RFC 3339), run (the same for all lines of a process), level
(info, warning, error), stage and partition (a shard's name) where the line is about one, message. An environment
variable, since it belongs to where a job runs and not to what it makes.
"""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console

VARIABLE = "PRETRAIN_DATA_LOG"
WARNING = "warning: "
#: Names this process in its logs and in a night's summary.
RUN = uuid.uuid4().hex[:12]

#: How our errors begin that are about a stage, or a shard in it.
_ABOUT = re.compile(r"stage (\w+)(?:, shard ([^:\s]+))?: ")


def as_json() -> bool:
    """Whether logs are JSON."""
    return os.environ.get(VARIABLE) == "json"


def sayer(stages: list[str]) -> Callable[..., None]:
    """A function that says a line; `stages` are the names that a line may begin with.

    What the line is about may be given by name (`partition`); plain lines leave it out.
    """
    if not as_json():
        console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        return lambda line, **about: console.print(line)

    def say(line: str, **about: str) -> None:
        level = "warning" if line.startswith(WARNING) else "info"
        message = line.removeprefix(WARNING)
        stage, colon, rest = message.partition(": ")
        if colon and stage in stages:
            _write(level, rest, stage, about.get("partition"))
        else:
            _write(level, message, None, about.get("partition"))

    return say


def error(message: str) -> None:
    """Say why a run ends: `error: …`, or an object of the level `error`."""
    if not as_json():
        console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        console.print(f"error: {message}")
        return
    about = _ABOUT.match(message)
    _write("error", message, *(about.groups() if about else (None, None)))


def _write(level: str, message: str, stage: str | None, partition: str | None) -> None:
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "run": RUN,
        "level": level,
        "stage": stage,
        "partition": partition,
        "message": message,
    }
    print(json.dumps(entry, ensure_ascii=False), file=sys.stderr, flush=True)
