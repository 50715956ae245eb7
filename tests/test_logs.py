"""Lines for people, objects for collectors."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from pretrain_data import logs
from pretrain_data.cli import guarded
from pretrain_data.errors import AccountingError, ConfigError
from pretrain_data.logs import VARIABLE, sayer


def test_plain_lines_are_said_as_they_are(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    sayer(["rules"])("warning: rules: [red]中文[/red]")
    assert capsys.readouterr().err == "warning: rules: [red]中文[/red]\n"


def test_objects_have_run_stage_and_level(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "json")
    say = sayer(["rules", "pii"])
    for line in ("warning: rules: max_shift: zh 0.3", "pii: 1 of 2 shards", "waiting: w is in use\nby 中文"):
        say(line)
    say("pii: part-00001: done", partition="part-00001")
    entries = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert entries.pop()["partition"] == "part-00001"
    assert {e["partition"] for e in entries} == {None}
    assert [(e["level"], e["stage"], e["message"]) for e in entries] == [
        ("warning", "rules", "max_shift: zh 0.3"),
        ("info", "pii", "1 of 2 shards"),
        ("info", None, "waiting: w is in use\nby 中文"),
    ]
    assert {e["run"] for e in entries} == {_run_of(capsys, sayer([]))} == {logs.RUN}, "one process, one run"
    when = datetime.fromisoformat(entries[0]["time"])
    assert when.utcoffset() == timedelta(0)


def _run_of(capsys: Any, say: Any) -> str:
    say("x")
    found: str = json.loads(capsys.readouterr().err)["run"]
    return found


def _ending(error: Exception) -> None:
    def command() -> None:
        raise error

    with pytest.raises(SystemExit):
        guarded(command)


def test_how_a_run_ends_is_an_object_too(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "json")
    for error in (
        ConfigError("c.yaml:3: stages.pii: 未知\nand more"),
        AccountingError("stage rules, shard dt=2026-01-31/part-00002: 3 documents in, 2 kept, 0 dropped"),
        ValueError("unforeseen"),
    ):
        _ending(error)
    config, accounting, defect = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert {e["level"] for e in (config, accounting, defect)} == {"error"}
    assert config["message"] == "c.yaml:3: stages.pii: 未知\nand more"
    assert (accounting["stage"], accounting["partition"]) == ("rules", "dt=2026-01-31/part-00002")
    assert defect["message"].endswith("ValueError: unforeseen\n")
    assert "Traceback" in defect["message"]


def test_how_a_run_ends_is_a_line_for_people(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    _ending(ConfigError("no [red]such[/red] key"))
    assert capsys.readouterr().err == "error: no [red]such[/red] key\n"
    with pytest.raises(ValueError, match="unforeseen"):
        guarded(lambda: int("unforeseen"))
