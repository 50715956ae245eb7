"""The main job: the sample crawl through all eight stages, held against the truth that was planted in it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from pretrain_data.report.page import write_report
from pretrain_data.sample.planted import jaccard

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[1]
STAGES = ["ingest", "rules", "quality", "pii", "dedup", "classify", "mix", "export"]


def rows(path: Path, *columns: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ds.dataset(path, format="parquet").to_table(columns=list(columns) or None).to_pylist()
    return found


def truth(sample_crawl: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (sample_crawl / "truth" / f"{name}.jsonl").open(encoding="utf-8")]


def key(row: dict[str, Any]) -> str:
    return str(row["url"] or row["source_id"])


def test_every_document_is_kept_or_dropped(sample_run: Callable[[int], Path], sample_crawl: Path) -> None:
    workspace = sample_run(2)
    ids: set[str] = set()
    for number, name in enumerate(STAGES[:-1]):
        kept = {r["doc_id"] for r in rows(workspace / name / "documents", "doc_id")}
        dropped = {r["doc_id"] for r in rows(workspace / name / "dropped", "doc_id")}
        assert kept.isdisjoint(dropped)
        if number:
            assert kept | dropped == ids, name
        ids = kept
    assert {r["doc_id"] for r in rows(workspace / "export" / "documents", "doc_id")} == ids
    everything = {
        key(r) for folder in ("documents", "dropped") for r in rows(workspace / "ingest" / folder, "url", "source_id")
    }
    assert {t["id"] for t in truth(sample_crawl, "documents")} <= everything


def test_the_fates_are_the_planted_ones(sample_run: Callable[[int], Path], sample_crawl: Path) -> None:
    workspace = sample_run(2)
    fate: dict[str, tuple[str, str]] = {}
    for name in STAGES[:-1]:
        for row in rows(workspace / name / "dropped"):
            assert row["stage"] == name
            fate[key(row)] = (name, row["rule"])
    for planted in truth(sample_crawl, "documents"):
        stage, rule = fate.get(planted["id"], ("kept", ""))
        if planted["fate"] in ("any", "either"):
            continue
        if planted["fate"] == "ingest":
            assert (stage, rule) == ("ingest", planted["rule"])
        elif planted["fate"] == "rules":
            assert stage == "rules", planted
        elif planted["fate"] == "kept":
            # The other side of a near-duplicate pair may go in its place, and the mixture may leave it out.
            assert stage in ("kept", "mix", "dedup"), (planted, rule)


def test_near_duplicates_lose_one_side(sample_run: Callable[[int], Path], sample_crawl: Path) -> None:
    """By the Jaccard similarity of what was extracted: a heading outside of the text makes pages differ."""
    workspace = sample_run(2)
    met = {key(r): r for r in rows(workspace / "pii" / "documents", "url", "source_id", "text", "lang")}
    gone = {key(r) for r in rows(workspace / "dedup" / "dropped", "url", "source_id")}
    judged = Counter[str]()
    for pair in truth(sample_crawl, "pairs"):
        sides = [pair["id1"], pair["id2"]]
        if not all(side in met for side in sides):
            continue
        similarity = jaccard(*(met[side]["text"] for side in sides), met[sides[0]]["lang"])
        lost = sum(side in gone for side in sides)
        if similarity >= 0.85:
            assert lost >= 1, (pair, similarity)
            judged["near"] += 1
        elif similarity < 0.7:
            assert lost < 2, (pair, similarity)
            judged["far"] += 1
    assert judged["near"] >= 10


def test_pages_are_decoded_right(sample_run: Callable[[int], Path], sample_crawl: Path) -> None:
    from pretrain_data.sample.pages import written

    text = {r["url"]: r["text"] for r in rows(sample_run(2) / "ingest" / "documents", "url", "text") if r["url"]}
    encodings = Counter(t.get("encoding") for t in truth(sample_crawl, "documents"))
    assert min(encodings[e] for e in ("gb18030", "gbk", "big5hkscs")) >= 1
    for page in written():
        if page.kind in ("base", "personal"):
            first = next(line for line in page.body.split("\n") if not line.startswith("```"))
            assert first in text[page.url], page.id


def test_personal_data_is_gone(sample_run: Callable[[int], Path], sample_crawl: Path) -> None:
    workspace = sample_run(2)
    before = {r["url"]: r["text"] for r in rows(workspace / "rules" / "documents", "url", "text") if r["url"]}
    after = {r["url"]: r for r in rows(workspace / "pii" / "documents", "url", "text", "pii_spans") if r["url"]}
    planted = [p for p in truth(sample_crawl, "pii") if p["id"] in after]
    assert len(planted) >= 25
    for item in planted:
        assert item["value"] in before[item["id"]]
        assert item["value"] not in after[item["id"]]["text"], item["type"]
        spans = after[item["id"]]["pii_spans"]
        assert (item["type"], item["value"]) in {(s["type"], before[item["id"]][s["start"] : s["end"]]) for s in spans}
        assert f"<|{item['type'].lower()}|>" in after[item["id"]]["text"]


def test_notices_are_gone_and_articles_whole(sample_run: Callable[[int], Path], sample_crawl: Path) -> None:
    after = {r["url"]: r["text"] for r in rows(sample_run(2) / "pii" / "documents", "url", "text") if r["url"]}
    planted = [b for b in truth(sample_crawl, "boilerplate") if b["id"] in after]
    assert len(planted) >= 20
    gone = sum(b["goes"] not in after[b["id"]] for b in planted)
    assert gone / len(planted) >= 0.95
    assert all(b["stays"] in after[b["id"]] for b in planted)


def test_formats_never_meet_the_prose_scorer(sample_run: Callable[[int], Path]) -> None:
    found = rows(sample_run(2) / "quality" / "documents", "format", "quality_score")
    assert {r["format"] for r in found} >= {"prose", "code", "markdown", "latex"}
    for row in found:
        assert (row["quality_score"] is not None) == (row["format"] == "prose")
        assert row["quality_score"] is None or 0 <= row["quality_score"] <= 1


def test_channels_tokens_and_budget(sample_run: Callable[[int], Path]) -> None:
    workspace = sample_run(2)
    found = rows(workspace / "export" / "documents", "channel", "tokens", "text")
    assert {r["channel"] for r in found} >= {"zh-knowledge", "en-knowledge", "code", "math"}
    total = sum(r["tokens"] for r in found)
    assert abs(total - 1_000_000) <= 10_000
    assert all(r["tokens"] > 0 and r["text"] for r in found)


def test_the_partitioning_leaves_no_trace(sample_run: Callable[[int], Path]) -> None:
    digests = []
    for partitions in (2, 13):
        workspace = sample_run(partitions)
        files = sorted(p for name in STAGES for p in (workspace / name).rglob("*") if p.suffix in (".parquet", ".zst"))
        digests.append({str(p.relative_to(workspace)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})
    assert digests[0] == digests[1]
    assert len(digests[0]) > 40


def test_the_report_shows_all_stages(sample_run: Callable[[int], Path]) -> None:
    from pretrain_data.report.page import report_data

    workspace = sample_run(2)
    data = report_data(workspace, STAGES)
    assert [s["stage"] for s in data["stages"]] == STAGES
    for key in ("rules", "pii", "shares", "mixture", "spread", "samples"):
        assert data[key], key
    assert len(data["audit"]["rules"]) > 5
    assert data["scores"]["documents"] == sum(
        r["quality_score"] is not None for r in rows(workspace / "classify" / "documents", "quality_score")
    )
    assert (
        data["dedup"]["curve"][0]["documents"]
        < data["dedup"]["curve"][-1]["documents"]
        == data["stages"][4]["documents_in"]
    )
    members = [m for cluster in data["clusters"]["largest"] for m in cluster["members"]]
    assert len(members) >= 5
    assert all(m["text"] for m in members)
    dropped = {s["doc_id"] for s in data["samples"] if s["side"] == "dropped" and s["stage"] == "dedup"}
    assert dropped <= {r["doc_id"] for r in rows(workspace / "dedup" / "dropped", "doc_id")}
    assert len(dropped) >= 3
    assert write_report(workspace, STAGES).stat().st_size < 5_000_000
