"""One run at a time: live, dead and silent owners, on this machine and on others."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pretrain_data import lock
from pretrain_data.errors import Busy
from pretrain_data.lock import EXPIRY_SECONDS, held

ROOT = Path(__file__).resolve().parents[1]
HOLDER = """
import sys, time
from pathlib import Path
from pretrain_data.lock import held
with held(Path(sys.argv[1]), 0, print):
    print("held", flush=True)
    time.sleep(600)
"""


def other(workspace: Path) -> subprocess.Popen[str]:
    """Another process that holds the workspace."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(workspace)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def owner(workspace: Path, host: str, silent: float) -> None:
    """As a run on another machine leaves the file, whose lock is not seen here."""
    (workspace / ".lock").write_text(f"process 77 on {host}, since 2026-01-01 00:00:00 UTC")
    os.utime(workspace / ".lock", (time.time() - silent,) * 2)


def test_a_live_owner_is_named_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    child = other(tmp_path)
    try:
        with (
            pytest.raises(Busy, match=rf"process {child.pid} on {socket.gethostname()}, since 20"),
            held(tmp_path, 0, print),
        ):
            pass
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    said: list[str] = []
    with held(tmp_path, 0, said.append):
        assert f"process {os.getpid()} on " in (tmp_path / ".lock").read_text()
    assert len(said) == 1
    assert said[0].startswith(f"warning: process {child.pid} on ")
    assert (tmp_path / ".lock").read_text() == "", "who leaves in order leaves no name"
    said.clear()
    with held(tmp_path, 0, said.append):
        pass
    assert said == []


def test_another_machine_counts_as_dead_when_it_is_silent(tmp_path: Path) -> None:
    owner(tmp_path, "elsewhere", silent=EXPIRY_SECONDS / 2)
    with pytest.raises(Busy, match=r"process 77 on elsewhere.*150 s ago: after 300 s"), held(tmp_path, 0, print):
        pass
    assert "elsewhere" in (tmp_path / ".lock").read_text(), "its name stays"
    owner(tmp_path, "elsewhere", silent=EXPIRY_SECONDS + 5)
    said: list[str] = []
    with held(tmp_path, 0, said.append):
        pass
    assert said == [
        "warning: process 77 on elsewhere, since 2026-01-01 00:00:00 UTC ended without a word; "
        "what it had not finished is gone on with"
    ]


def test_this_machine_s_dead_need_no_expiry(tmp_path: Path) -> None:
    owner(tmp_path, socket.gethostname(), silent=0)
    with held(tmp_path, 0, lambda line: None):
        pass


def test_who_waits_gets_it_when_the_owner_falls_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.05)
    owner(tmp_path, "elsewhere", silent=EXPIRY_SECONDS - 1)
    said: list[str] = []
    with held(tmp_path, 60, said.append):
        assert "elsewhere" not in (tmp_path / ".lock").read_text()
    assert [line.partition(":")[0] for line in said] == ["waiting", "warning"]


def test_an_owner_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SIGN_SECONDS", 0.05)
    with held(tmp_path, 0, print):
        path = tmp_path / ".lock"
        os.utime(path, (1, 1))
        end = time.monotonic() + 30
        while path.stat().st_mtime == 1 and time.monotonic() < end:
            time.sleep(0.02)
        assert path.stat().st_mtime > time.time() - 60
