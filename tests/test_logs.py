"""Lines for people, objects for collectors."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

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
    assert len({e["run"] for e in entries}) == 1
    assert entries[0]["run"] != _run_of(capsys, sayer([]))
    when = datetime.fromisoformat(entries[0]["time"])
    assert when.utcoffset() == timedelta(0)


def _run_of(capsys: Any, say: Any) -> str:
    say("x")
    found: str = json.loads(capsys.readouterr().err)["run"]
    return found
