"""Dense documents from a server that misbehaves: all that was paid for is kept, all that is amiss is in the ledger."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fake_llm import FakeLlm, fake_llm

from pretrain_data.commands import open_pipeline
from pretrain_data.errors import PretrainDataError

EN = (
    "Case {n}. The canal was opened in {year} after eight years of work, and it is {miles} miles long. Boats carried "
    "wheat from the western farms to the harbour, and towns along the water grew quickly in those years. "
)
ZH = (
    "案例{n}。这座大桥于{year}年建成通车，全长{miles}公里，把三座城市连接起来，"
    "使两岸之间的行车时间大大缩短，往来办事比过去方便多了。"
)
EN_OUT = (
    "Finished in {year}, the {miles}-mile waterway linked growers in the west with a port; settlements beside it "
    "prospered, and remote producers found buyers for their crops. Freight became cheap, and people moved. "
)
ZH_OUT = (
    "该跨海桥梁{year}年启用，长{miles}公里，三地由此相通，车程明显下降，区域经济与人员流动更加密切，居民出行效率提高。"
)


def documents(path: Path) -> None:
    """Twelve long documents in two languages, two short ones, one in French, one that doesn't fit `where`."""
    rows = []
    for n in range(12):
        text = (EN, ZH)[n % 2].format(n=n, year=1800 + n, miles=300 + 10 * n) * (4 if n % 2 == 0 else 6)
        rows.append({"id": f"d{n}", "text": text, "quality_score": 0.9, "channel": "knowledge"})
    rows += [{**rows[n], "id": f"short{n}", "text": rows[n]["text"][:60]} for n in (0, 1)]
    french = "Le canal fut ouvert après huit années de travaux et il mesure plusieurs centaines de kilomètres. " * 8
    rows += [{**rows[0], "id": "fr", "text": french}, {**rows[2], "id": "other", "channel": "code"}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def reply(question: str) -> str:
    """A dense text for the document in a prompt; some cases are spoilt."""
    n = int(re.search(r"(?:Case |案例)(\d+)", question)[1])  # type: ignore[index]
    text = ((EN_OUT, ZH_OUT)[n % 2] * 2).format(year=1800 + n, miles=300 + 10 * n)
    return {
        4: "Here is the text: " + text,
        5: text.replace("年启用", "年（1111年）启用"),
        6: text + " Call 13812345678.",
    }.get(n, text)


@pytest.fixture
def run(spark: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    documents(tmp_path / "in.jsonl")

    def once(server: FakeLlm, workspace: str = "w", **more: str) -> dict[str, Any]:
        (tmp_path / "c.yaml").write_text(
            f"""
workspace: {workspace}
stages:
  synthesize:
    input: in.jsonl
    endpoint:
      {{url: '{server.url}', model: big, max_tokens: 500, retries: 3, backoff_seconds: 0.01, timeout_seconds: 2}}
    limits: {{concurrency: 3, {more.get("limits", "")}}}
    where: {{channel: knowledge, quality_score: {{min: 0.5}}}}
    min_chars: 200
    max_error_rate: {more.get("errors", "0.2")}
    {more.get("extra", "")}
"""
        )
        pipeline = open_pipeline(tmp_path / "c.yaml")
        pipeline._spark = spark
        [outcome] = pipeline.run()
        return {"state": outcome.state, "manifest": outcome.manifest, "folder": tmp_path / workspace / "synthesize"}

    return once


def table(folder: Path, kind: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / kind).to_pylist()
    return sorted(rows, key=lambda row: row["source_id"])


def test_from_documents_to_a_source_of_their_own(run: Callable[..., dict[str, Any]], spark: Any) -> None:
    tricks = {1: "500", 2: "cut", 3: "malformed", 7: "drop", 8: "slow", 9: "not_a_completion"}

    def trick(question: str, nth: int) -> str:
        n = int(re.search(r"(?:Case |案例)(\d+)", question)[1])  # type: ignore[index]
        return "500" if n == 10 else tricks.get(n, "good") if nth == 0 else "good"

    with fake_llm(reply, trick) as server:
        found = run(server)
        assert server.most <= 3
        assert max(server.paid.values()) == 1
        kept, dropped = table(found["folder"], "documents"), table(found["folder"], "dropped")
        assert {row["source_id"]: row["rule"] for row in dropped} == {
            "d4": "talk", "d5": "invented_numbers", "d6": "personal_data", "d10": "no_answer",
        }  # fmt: skip
        by_id = {row["source_id"]: row for row in kept}
        assert sorted(by_id) == sorted(f"d{n}" for n in (0, 1, 2, 3, 7, 8, 9, 11)), "no short, French or code document"
        assert by_id["d1"]["text"] == reply("案例1")
        assert [by_id[f"d{n}"]["lang"] for n in (0, 1)] == ["en", "zh"]
        assert {row["source"] for row in kept} == {"synthetic"}
        assert {row["synthetic_model"] for row in kept} == {"big-0101"}
        assert all(row["synthetic_prompt"].startswith("condense@") for row in kept)
        assert len({row["doc_id"] for row in kept}) == 8
        assert by_id["d0"]["synthetic_from"] != by_id["d0"]["doc_id"]
        asked = sum(server.asked.values())
        assert run(server)["state"] == "up to date"
        assert run(server, extra="min_numbers_kept: 0.2")["state"] == "done", "other checks: the answers are there"
        assert sum(server.asked.values()) == asked + 4, "only d10 is asked about again, with its three further tries"
        assert found["manifest"]["metrics"]["chosen"] == 12
    # Where it enters the pipeline: as an input of ingest, under its own source, with its provenance.
    config = found["folder"].parents[1] / "next.yaml"
    inputs = f"[{{path: {found['folder'] / 'documents'}, source: synthetic}}, {{path: in.jsonl, source: crawl}}]"
    config.write_text(f"workspace: next\nstages: {{ingest: {{inputs: {inputs}}}}}\n")
    pipeline = open_pipeline(config)
    pipeline._spark = spark
    assert [o.state for o in pipeline.run()] == ["done"]
    rows = pq.read_table(config.parent / "next" / "ingest" / "documents").to_pylist()
    assert sorted((r["source"], r["source_id"]) for r in rows if r["source"] == "synthetic") == sorted(
        ("synthetic", row["source_id"]) for row in kept
    )
    assert {r["synthetic_from"] for r in rows if r["source"] == "crawl"} <= {None}
    assert len({r["doc_id"] for r in rows}) == len(rows) == 16 + len(kept)


def test_a_spent_budget_ends_the_run_and_more_goes_on(run: Callable[..., dict[str, Any]]) -> None:
    with fake_llm(reply) as server:
        with pytest.raises(PretrainDataError, match=r"budget is spent.*raise stages\.synthesize\.limits"):
            run(server, limits="max_requests: 5")
        assert sum(server.paid.values()) == 5
        found = run(server, limits="max_requests: 7")
        assert sum(server.paid.values()) == len(server.paid) == 12, "no answer was paid for twice"
        assert found["manifest"]["documents"] == 9
        # The same answers from another workspace's own calls: the same bytes.
        again = run(server, workspace="v")
        for path in sorted((found["folder"] / "documents").rglob("*.parquet")):
            assert path.read_bytes() == (again["folder"] / path.relative_to(found["folder"])).read_bytes()
        accepted = run(server, workspace="u", limits="max_requests: 5", errors="1", extra="on_budget: accept")
        assert accepted["manifest"]["rules"]["no_answer"][0] == 7
        assert any("budget was spent" in w for w in accepted["manifest"]["warnings"])


def test_a_wrong_key_ends_the_run(run: Callable[..., dict[str, Any]]) -> None:
    with fake_llm(reply, lambda *_: "401") as server:
        with pytest.raises(PretrainDataError, match="status 401"):
            run(server)
        assert sum(server.asked.values()) <= 3
