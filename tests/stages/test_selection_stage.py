"""selection, and plan quality over it and over quality: cuts by quantile and by budget; reruns keep just that."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pretrain_data.cli import app
from pretrain_data.commands import open_pipeline
from pretrain_data.errors import InputError
from pretrain_data.selection import plan

pytestmark = pytest.mark.spark

SOURCES = {"web": 0.3, "books": 0.7}


def deliver(folder: Path, count: int = 900) -> list[dict[str, Any]]:
    """Documents of two sources, languages and domains whose scores lie differently; every ninth is unscored code."""
    rng = random.Random(5)
    rows = []
    for i in range(count):
        source, lang, domain = rng.choice(list(SOURCES)), rng.choice(["zh", "en"]), rng.choice(["news", "law"])
        score = min(1.0, max(0.0, round(rng.gauss(SOURCES[source] + 0.1 * (lang == "zh"), 0.15), 4)))
        row = {"id": f"d{i}", "text": ("语料 文本 " if lang == "zh" else "some text ") * rng.randrange(1, 30)}
        row |= {"source": source, "lang": lang, "domain": domain, "quality_score": score, "format": "prose"}
        if i % 9 == 0:
            row |= {"format": "code", "quality_score": None, "domain": "code"}
        rows.append(row)
    (folder / "in").mkdir(exist_ok=True)
    for part in range(3):
        pq.write_table(pa.Table.from_pylist(rows[part::3]), folder / "in" / f"{part}.parquet")
    return rows


def run(spark: Any, folder: Path, workspace: str, partitions: int | None = None, **settings: Any) -> dict[str, Any]:
    whole = {"workspace": workspace, "spark": {"partitions": partitions}}
    path = folder / f"{workspace}.yaml"
    path.write_text(json.dumps(whole | {"stages": {"selection": {"input": "in", **settings}}}))
    pipeline = open_pipeline(path)
    pipeline._spark = spark
    (outcome,) = pipeline.run()
    found: dict[str, Any] = outcome.manifest
    return found


def files(folder: Path) -> dict[str, bytes]:
    found = sorted(p for p in folder.rglob("*.parquet"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def test_quantiles_by_source_and_language_whatever_the_partitioning(spark: Any, tmp_path: Path) -> None:
    rows = deliver(tmp_path)
    cut = {"quantile": 0.3, "by": ["source", "lang"], "min_documents": 20}
    one = run(spark, tmp_path, "one", 1, cut=cut)
    many = run(spark, tmp_path, "many", 3, cut=cut)
    scores: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["quality_score"] is not None:
            scores[f"{row['source']}/{row['lang']}"].append(row["quality_score"])
    want = {name: sorted(found)[int(0.3 * len(found))] for name, found in scores.items()}
    assert one["metrics"]["cuts"]["values"] == pytest.approx(want)
    assert one["metrics"]["calibrated_on"] == sum(map(len, scores.values())) == 800
    gone = {r["id"] for r in rows if r["quality_score"] is not None and r["quality_score"] < want[_group(r)]}
    ledger = ds.dataset(tmp_path / "one/selection/dropped").to_table().to_pylist()
    assert {r["source_id"] for r in ledger} == gone
    by_id = {r["id"]: r for r in rows}
    for row in ledger:
        assert (row["stage"], row["rule"]) == ("selection", "low_quality")
        assert row["value"] == pytest.approx(by_id[row["source_id"]]["quality_score"], abs=1e-6)
        assert row["threshold"] == pytest.approx(want[_group(by_id[row["source_id"]])], abs=1e-6)
    assert files(tmp_path / "one/selection") == files(tmp_path / "many/selection")
    assert many["metrics"]["cuts"] == one["metrics"]["cuts"]


def _group(row: dict[str, Any]) -> str:
    return f"{row['source']}/{row['lang']}"


def test_new_documents_move_a_quantile_and_nothing_cut_elsewhere_is_taken_over(spark: Any, tmp_path: Path) -> None:
    rows = deliver(tmp_path)
    cut = {"quantile": 0.5}
    run(spark, tmp_path, "w", cut=cut)
    low = [{**rows[1], "id": f"n{i}", "quality_score": 0.01} for i in range(300)]
    pq.write_table(pa.Table.from_pylist(low), tmp_path / "in" / "new.parquet")
    night = run(spark, tmp_path, "w", cut=cut)
    fresh = run(spark, tmp_path, "fresh", cut=cut)
    assert files(tmp_path / "w/selection") == files(tmp_path / "fresh/selection")
    assert night["metrics"].get("shards_taken_over", 0) == 0
    assert night["metrics"]["cuts"] == fresh["metrics"]["cuts"]


def test_a_budget_is_met_by_cuts_that_keep_just_what_the_plan_says(spark: Any, tmp_path: Path) -> None:
    rows = deliver(tmp_path)
    first = run(spark, tmp_path, "w", count_tokens=1.0)
    assert first["documents"] == len(rows)
    before = plan.plan(tmp_path / "w", ["selection"])
    target = int(before.total.tokens * 0.6)
    found = plan.plan(tmp_path / "w", ["selection"], target=str(target))
    assert found.by == ["lang", "domain"]
    assert {g.name for g in found.groups} == {f"{a}/{b}" for a in ("zh", "en") for b in ("news", "law", "code")}
    assert target <= found.total.tokens_kept < target * 1.02
    shares = {g.name: g.tokens_kept / g.tokens for g in found.groups}
    code = [g for g in found.groups if "code" in g.name]
    rest = (target - sum(g.tokens for g in code)) / (found.total.tokens - sum(g.tokens for g in code))
    assert all(shares[g.name] == 1.0 for g in code)
    assert all(rest <= share < rest + 0.03 for name, share in shares.items() if "code" not in name)
    command = ["plan", "quality", str(tmp_path / "w.yaml"), "--target-tokens", str(target)]
    told = CliRunner().invoke(app, [*command, "--json", "--out", str(tmp_path / "cuts.yaml")])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["total"]["documents_kept"] == found.total.documents_kept
    assert "60." in CliRunner().invoke(app, command).stdout
    config = "include: [cuts.yaml]\nworkspace: again\nstages: {selection: {input: in, count_tokens: 1.0}}\n"
    (tmp_path / "again.yaml").write_text(config)
    pipeline = open_pipeline(tmp_path / "again.yaml")
    pipeline._spark = spark
    (outcome,) = pipeline.run()
    kept = outcome.manifest
    assert (kept["documents"], kept["chars"]) == (found.total.documents_kept, found.total.chars_kept)
    documents = ds.dataset(tmp_path / "again/selection/documents").to_table(columns=["lang", "domain"]).to_pylist()
    for group in found.groups:
        assert sum(f"{r['lang']}/{r['domain']}" == group.name for r in documents) == group.documents_kept
    # The curve of the rerun knows the same, whatever cut it ran at.
    assert plan.plan(tmp_path / "again", ["selection"], target=str(target)) == found


def test_quantiles_planned_are_those_of_a_run(spark: Any, tmp_path: Path) -> None:
    deliver(tmp_path)
    run(spark, tmp_path, "w")
    found = plan.plan(tmp_path / "w", ["selection"], ["source", "lang"], quantile=0.3)
    cut = {"quantile": 0.3, "by": ["source", "lang"]}
    ran = run(spark, tmp_path, "q", cut=cut)
    assert {g.name: g.cut for g in found.groups} == ran["metrics"]["cuts"]["values"]
    assert found.total.documents_kept == ran["documents"]
    much = plan.plan(tmp_path / "w", ["selection"], target="1T")
    assert "are missing" in much.advice[0]
    assert much.total.documents_kept == much.total.documents
    few = plan.plan(tmp_path / "w", ["selection"], target="100")
    assert "whatever the cut" in few.advice[1]
    with pytest.raises(InputError, match="no curve of quality"):
        plan.plan(tmp_path / "w", ["quality"])


def test_quality_by_quantile_scores_a_sample_beforehand(spark: Any, tmp_path: Path) -> None:
    good, bad = "The committee met on Tuesday to discuss the repair of bridge {}.", "Home {} Login Cart Share Menu Next"
    rows = [{"id": f"{i}", "text": (bad if i % 2 else good).format(i), "lang": "en"} for i in range(400)]
    rows += [{"id": f"c{i}", "text": f"def f{i}(x):\n    return x\n", "lang": "en"} for i in range(20)]
    for row in rows:
        row["format"] = "code" if row["id"].startswith("c") else "prose"
    (tmp_path / "in").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in" / "a.parquet")
    keys = {"input": "in", "cut": {"quantile": 0.5, "sample": 200}}
    (tmp_path / "c.yaml").write_text(json.dumps({"workspace": "w", "stages": {"quality": keys}}))
    pipeline = open_pipeline(tmp_path / "c.yaml")
    pipeline._spark = spark
    (outcome,) = pipeline.run()
    assert 140 < outcome.manifest["metrics"]["calibrated_on"] < 260
    kept = {r["source_id"] for r in ds.dataset(tmp_path / "w/quality/documents").to_table().to_pylist()}
    assert {r["id"] for r in rows if r["format"] == "code"} <= kept
    assert 160 < len(kept) - 20 < 240, "half of what has a score, as well as a sample tells"
    found = plan.plan(tmp_path / "w", ["quality"], quantile=0.5)
    assert (found.stage, found.by) == ("quality", ["lang"])
    assert found.total.documents_kept == 220
