"""What is said of a stage at work: counts, rate, time left, and each finished shard in a log."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pretrain_data import progress
from pretrain_data.progress import ShardProgress, duration

ROOT = Path(__file__).resolve().parents[1]


def finish(folder: Path, name: str, rows: int, rows_in: int) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    entry = {"name": name, "rows": rows, "rows_in": rows_in, "seconds": 2.5}
    (folder / f"{name}.json").write_text(json.dumps(entry))


def test_counts_rate_and_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    finish(tmp_path, "part-00000", 10, 10)  # by an earlier run, which was cut off
    told: list[tuple[str, dict[str, Any]]] = []
    watch = ShardProgress("rules", 8, tmp_path, lambda line: None, lambda line, **about: told.append((line, about)))
    assert told == []
    finish(tmp_path, "dt=2026-01-31/part-00001", 1500, 2000)
    clock[0] += 100
    # 2,000 documents in 100 s, those before not counted in; 2 of 8 shards done, so three times as long again.
    assert watch.line() == "rules: 2 of 8 shards, 2,010 documents, 20/s, about 5 min left"
    name = "dt=2026-01-31/part-00001"
    assert told == [(f"rules: {name}: 1,500 of 2,000 documents kept in 2.5 s", {"partition": name})]
    watch.line()
    assert len(told) == 1, "each shard is told once"


def test_what_is_finished_last_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    with ShardProgress("rules", 1, tmp_path / "none", lambda line: None, lambda line, **about: told.append(line)):
        finish(tmp_path / "none", "part-00000", 1, 1)
    assert told == ["rules: part-00000: 1 of 1 documents kept in 2.5 s"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5000, "83 min"), (11_100, "3 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


#: A stage of four shards, of which one is finished every half second; lines are said as in a run.
WATCHED = """
import json, sys, time
from pathlib import Path
from pretrain_data import progress
from pretrain_data.logs import sayer

progress.POLL_SECONDS, progress.LINE_SECONDS = 0.1, 0.2
folder, say = Path(sys.argv[1]), sayer(["rules"])
with progress.ShardProgress("rules", 4, folder, say, lambda line, **about: None):
    for i in range(4):
        time.sleep(0.5)
        text = json.dumps({"name": f"part-{i}", "rows": 900, "rows_in": 1000, "seconds": 0.5})
        (folder / f"part-{i}.json").write_text(text)
    time.sleep(0.5)
"""


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, "-c", WATCHED, str(tmp_path)]
    with subprocess.Popen(command, stderr=theirs, env=environment) as child:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # how a terminal says that nobody is left at its other end
                break
    os.close(ours)
    assert child.returncode == 0
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
    assert "━" in text
    assert re.search(r"rules .* 2/4 +shards, 2,000 documents, [\d,]+/s 0:00:0\d 0:00:0\d", text), text
    assert b"\x1b[2K" in shown, "the bar is wiped away in the end"


def test_plain_lines_in_a_pipe(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    lines = done.stderr.splitlines()
    assert all(re.fullmatch(r"rules: \d of 4 shards, [\d,]+ documents, [\d,]+/s(, about \d s left)?", x) for x in lines)
    assert any(line.startswith("rules: 2 of 4 shards, 2,000 documents, ") and line.endswith(" left") for line in lines)
