"""The explorer over hostile documents: what it finds, whom it answers, and that nothing in a document runs."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser import open_page
from hostile_workspace import ATTACKS, hostile, write

from pretrain_data import schema
from pretrain_data.errors import ConfigError, InputError
from pretrain_data.explorer.queries import Workspace, difference
from pretrain_data.explorer.server import serve
from pretrain_data.explorer.trial import trial
from pretrain_data.stage import Shard
from pretrain_data.stages.rules import Rules, RulesConfig


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 hostile documents; `rules` drops the even ones and has an audit; dedup drops 3 and 5 in favour of 1."""
    root = write(tmp_path_factory.mktemp("explore") / "run", hostile())
    stage = Rules(RulesConfig(files=(), rules=()))
    stage.output = str(root / "rules")
    documents = pq.read_table(root / "ingest" / "documents").combine_chunks().to_batches()
    list(stage.process(iter(documents), Shard("part-00000", ())))
    for folder in ("documents", "dropped"):
        (root / "dedup" / folder).mkdir(parents=True)
    kept = pq.read_table(root / "pii" / "documents")
    ids = pa.array([f"{i:032x}" for i in (3, 5)])
    survivors = kept.filter(pa.compute.invert(pa.compute.is_in(kept["doc_id"], ids)))
    survivors = survivors.append_column("cluster_id", survivors["doc_id"])
    pq.write_table(survivors, root / "dedup" / "documents" / "part-00000.parquet")
    gone = [
        {"doc_id": f"{i:032x}", "stage": "dedup", "rule": "near_duplicate", "value": 0.9, "threshold": 0.8}
        | {"kept_doc_id": f"{1:032x}"}
        for i in (3, 5)
    ]
    pq.write_table(pa.Table.from_pylist(gone, schema.DROPPED), root / "dedup" / "dropped" / "part-00000.parquet")
    return root


@pytest.fixture
def server(workspace: Path) -> Iterator[Any]:
    made = serve(workspace)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def files(root: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in root.rglob("*")}


def test_search_by_every_field(workspace: Path) -> None:
    found = Workspace(workspace)

    def ids(**asked: str) -> list[int]:
        return [int(row["doc_id"], 16) for row in found.search(asked)["rows"]]

    assert ids(id="0" * 30 + "c") == list(range(192, 200))
    assert ids(text="Document 17.") == [17]
    assert ids(url="onerror") == [i for i in range(200) if i % 12 == 2]
    assert ids(rule="rule_0<b>") == list(range(0, 200, 6))
    assert ids(stage="rules", text="Document 6.") == [6]
    assert ids(stage="dedup") == [3, 5]
    assert ids(stage="dedup", cluster=f"{1:032x}") == [3, 5]
    assert ids(cluster=f"{1:032x}") == [1, 3, 5], "the survivor and what was dropped for it"
    assert ids(cluster=f"{1:032x}", fate="kept") == [1]
    assert ids(stage="dedup", text="document 5.") == [5], "in either case"
    assert ids(url="ONERROR") == [i for i in range(200) if i % 12 == 2]
    assert ids(stage="pii", fate="kept", text="Document 17.") == [17]
    assert ids(stage="pii", fate="kept", text="Document 18.") == [], "rules dropped it"
    assert ids(stage="nowhere", fate="kept") == []
    assert ids(cluster=f"{7:032x}") == [7]
    assert ids(text="' OR 1=1 --") == []
    assert ids(stage="../../etc") == []


def test_the_way_of_a_document(workspace: Path) -> None:
    found = Workspace(workspace)
    kept = found.document(f"{1:032x}")["steps"]
    assert [(s["stage"], s["fate"]) for s in kept] == [(s, "kept") for s in ("ingest", "rules", "pii", "dedup")]
    assert [s["stage"] for s in kept if "text" in s] == ["ingest"], "the text changed nowhere after"
    gone = found.document(f"{4:032x}")["steps"]
    assert [(s["stage"], s["fate"]) for s in gone] == [("ingest", "kept"), ("rules", "dropped")]
    assert gone[1]["decision"]["rule"] == "rule_2<b>"
    text = hostile()[4]["text"]
    assert gone[1]["columns"]["signals.chars"] == len(text), "what the rules read of a document that they dropped"
    assert found.document("nobody")["steps"] == []


def test_members_of_a_cluster_with_their_differences(workspace: Path) -> None:
    members = Workspace(workspace).cluster(f"{1:032x}")["members"]
    assert [int(m["doc_id"], 16) for m in members] == [1, 3, 5]
    assert members[0]["changes"] is None
    for member in members[1:]:
        assert "".join(part for mark, part in member["changes"] if mark != "+") == members[0]["text"]
        assert "".join(part for mark, part in member["changes"] if mark != "-") == member["text"]


def test_difference_by_hand() -> None:
    assert difference("the old cat", "the new cat") == [["=", "the "], ["-", "old"], ["+", "new"], ["=", " cat"]]
    assert difference("今天很热", "今天不热") == [["=", "今天"], ["-", "很"], ["+", "不"], ["=", "热"]]
    assert difference("same", "same") is None
    assert difference("a " * 5000, "b " * 5000) is None, "too long to compare"


def test_a_rule_tried_is_counted_right(workspace: Path) -> None:
    lengths = [len(row["text"].replace("\0", "")) for row in hostile()]
    found = trial(workspace / "rules", "signals.chars > 100")
    assert found["documents"] == 200
    assert found["removed"] == sum(n > 100 for n in lengths)
    by_source = {v["value"]: v["removed"] for v in found["attributes"]["source"]["values"]}
    assert sum(by_source.values()) == found["removed"]
    with pytest.raises(ConfigError, match="did you mean"):
        trial(workspace / "rules", "signals.char > 100")
    with pytest.raises(ConfigError):
        trial(workspace / "rules", "__import__('os')")
    with pytest.raises(ConfigError, match="does not hold url"):
        trial(workspace / "rules", "contains(url, 'x')")


def test_no_workspace_no_explorer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no stage has run"):
        serve(tmp_path)


def test_only_who_knows_the_secret_on_this_host_is_answered(server: Any, workspace: Path) -> None:
    before = files(workspace)
    assert server.server_address[0] == "127.0.0.1"

    def status(url: str, host: str | None = None) -> int:
        request = urllib.request.Request(url, headers={"Host": host} if host else {})
        try:
            with urllib.request.urlopen(request) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code

    base = server.url.rsplit("/", 2)[0]
    assert status(server.url) == 200
    assert status(f"{base}/") == 404
    assert status(f"{base}/guess/search?id=0") == 404
    assert status(server.url, host="evil.example") == 404
    assert status(server.url + "../../etc/passwd") == 404
    assert status(server.url + "queries.py") == 404
    assert status(server.url + "search?text=" + "x" * 10_000) == 404
    with urllib.request.urlopen(server.url + "try?rule=" + urllib.parse.quote("import os")) as reply:
        assert "can't be read" in json.load(reply)["error"]
        assert "script-src 'self'" in reply.headers["Content-Security-Policy"]
    assert files(workspace) == before, "nothing is written"


def test_hostile_documents_stay_text_in_every_view(server: Any) -> None:
    rule = urllib.parse.quote("signals.chars > 100")
    with open_page(server.url, locale="en-US", viewport={"width": 390, "height": 844}) as watched:
        page = watched.page
        page.wait_for_selector("main[data-ready=search] tbody tr")
        assert page.eval_on_selector_all("tbody tr", "rows => rows.length") == 100
        page.fill("[name=text]", ATTACKS[0])
        page.press("[name=text]", "Enter")
        page.wait_for_selector("tbody tr:nth-child(17):last-child", state="attached")  # every twelfth of 200
        for view, wait in (
            (f"document={'0' * 30}0b", ".card pre"),
            (f"document={'0' * 31}a", ".card pre"),
            (f"cluster={'0' * 31}1", ".card ins"),
            (f"try={rule}", "tbody tr"),
        ):
            page.evaluate(f"location.hash = {json.dumps(view)}")
            page.wait_for_selector(f"main[data-ready={view.split('=')[0]}] {wait}")
            assert page.evaluate("window.hacked") is None
            assert page.evaluate("document.querySelectorAll('script').length") == 3
            assert page.evaluate("document.querySelectorAll('iframe, img').length") == 0
            assert page.evaluate("document.documentElement.scrollWidth") == 390, view
        page.click("#language")
        page.wait_for_selector("nav a:text-is('试一条规则')")
        assert watched.complaints == []
        assert all(url.startswith(server.url) for url in watched.requests)


def test_what_can_not_be_read_is_said(tmp_path: Path) -> None:
    root = write(tmp_path / "run", hostile(4))
    made = serve(root)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        (root / "pii" / "documents" / "part-00000.parquet").write_bytes(b"PAR1 not at all")
        with urllib.request.urlopen(made.url + "search?stage=pii&fate=kept") as reply:  # type: ignore[attr-defined]
            assert "part-00000.parquet" in json.load(reply)["error"]
    finally:
        made.shutdown()
        made.server_close()
