"""OpenLineage events, as the library's own transports write and send them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pretrain_data import lineage
from pretrain_data.errors import PretrainDataError

MANIFEST = {
    "schema": {"doc_id": "string", "text": "large_string"},
    "documents": 7,
    "shards": [{"documents_file": {"bytes": 100}}, {"documents_file": {"bytes": 20}}, {"documents_file": None}],
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*lineage.os.environ]:
        if name.startswith("OPENLINEAGE"):
            monkeypatch.delenv(name)


def night(events: lineage.Silent, tmp_path: Path) -> None:
    """One stage that is up to date, one that is done, one that fails."""
    with events.stage("ingest"):
        pass
    with events.stage("rules"):
        events.begins("/data/ingest", tmp_path / "rules")
        events.done(MANIFEST)
    with pytest.raises(ValueError, match="电话"):
        _failing(events, tmp_path)


def _failing(events: lineage.Silent, tmp_path: Path) -> None:
    with events.stage("pii"):
        events.begins(str(tmp_path / "rules"), tmp_path / "pii")
        raise ValueError("a text with 电话 13800000000")


def test_nobody_asked(tmp_path: Path) -> None:
    events = lineage.of_environment(lambda line: None)
    assert type(events) is lineage.Silent
    night(events, tmp_path)


def test_events_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "夜")
    transport = {"type": "file", "log_file_path": str(tmp_path / "events.jsonl"), "append": True}
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps(transport))
    night(lineage.of_environment(lambda line: None), tmp_path)
    found = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(e["job"]["name"], e["eventType"]) for e in found] == [
        ("rules", "START"), ("rules", "COMPLETE"), ("pii", "START"), ("pii", "FAIL"),
    ]  # fmt: skip
    assert {e["job"]["namespace"] for e in found} == {"夜"}
    start, complete, _, fail = found
    assert start["run"]["runId"] == complete["run"]["runId"] != fail["run"]["runId"]
    assert start["inputs"][0]["name"] == "/data/ingest"
    [output] = complete["outputs"]
    assert output["name"] == str(tmp_path / "rules")
    assert [(f["name"], f["type"]) for f in output["facets"]["schema"]["fields"]] == list(MANIFEST["schema"].items())  # type: ignore[attr-defined]
    statistics = output["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"], statistics["fileCount"]) == (7, 120, 3)
    # What a foreign exception says may quote a text.
    assert fail["run"]["facets"]["errorMessage"]["message"] == "ValueError"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


def test_events_to_a_collector(
    collector: tuple[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got = collector
    monkeypatch.setenv("OPENLINEAGE_URL", url)
    said: list[str] = []
    night(lineage.of_environment(said.append), tmp_path)
    assert [e["eventType"] for e in got] == ["START", "COMPLETE", "START", "FAIL"]
    assert said == []


def test_a_collector_that_is_not_there_costs_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__RETRY", '{"total": 0}')
    said: list[str] = []
    night(lineage.of_environment(said.append), tmp_path)
    assert len(said) == 1
    assert said[0].startswith("warning: lineage events can't be sent")


def test_the_library_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    monkeypatch.setitem(__import__("sys").modules, "openlineage.client", None)
    with pytest.raises(PretrainDataError, match=r"install pretrain-data\[lineage\]"):
        lineage.of_environment(lambda line: None)
