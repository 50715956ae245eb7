"""Native code that hangs, crashes or eats memory ends in a process of its own, and the next call works."""

from __future__ import annotations

import ctypes
import os
import pickle
import time

import pytest

from pretrain_data.ingest import confined
from pretrain_data.ingest.confined import Confined, Ended
from pretrain_data.kernels.pdf import PdfError


def double(text: str, times: int = 2) -> str:
    return text * times


def number() -> int:
    return os.getpid()


def spin() -> None:
    while True:
        pass


def crash() -> None:
    ctypes.string_at(0)


def eat() -> int:
    return len(bytearray(1 << 30))


def refuse() -> None:
    raise PdfError("pdf_encrypted", "it has a password")


@pytest.fixture
def child() -> Confined:
    return Confined(256 << 20)


def test_calls_share_a_child_until_it_dies(child: Confined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "GRACE", 0.0)
    assert child.call(double, "中" * 3_000_000, limit=9, times=2) == "中" * 6_000_000
    first = child.call(number, limit=9)
    assert first not in (os.getpid(), None)
    assert child.call(number, limit=9) == first
    with pytest.raises(Ended, match=r"no end within 0\.1 CPU seconds") as hung:
        child.call(spin, limit=0.1)
    assert hung.value.hung
    second = child.call(number, limit=9)
    assert second != first
    for death in (crash, eat):
        with pytest.raises(Ended) as ended:
            child.call(death, limit=9)
        assert not ended.value.hung
    assert child.call(double, "a", limit=9) == "aa"
    child.close()
    assert child.call(number, limit=9) not in (first, second)
    child.close()


def test_errors_come_through_and_leave_the_child_alive(child: Confined) -> None:
    before = child.call(number, limit=9)
    with pytest.raises(PdfError, match="password") as error:
        child.call(refuse, limit=9)
    assert error.value.rule == "pdf_encrypted"
    assert child.call(number, limit=9) == before
    child.close()


def test_cpu_time_of_earlier_calls_does_not_count(child: Confined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "GRACE", 0.0)
    for _ in range(3):
        assert child.call(busy, 0.7, limit=1.0) >= 0.7
    child.close()


def busy(seconds: float) -> float:
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        pass
    return time.process_time() - begin


def test_it_travels_to_a_worker_without_its_child(child: Confined) -> None:
    mine = child.call(number, limit=9)
    there = pickle.loads(pickle.dumps(child))
    assert there.call(number, limit=9) != mine
    there.close()
    child.close()
