"""What is said of a stage at work: counts, rate, time left, and each finished shard in a log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pretrain_data import progress
from pretrain_data.progress import ShardProgress, duration


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
