"""Columns of others under our names, in Parquet and JSON lines."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pretrain_data.errors import InputError
from pretrain_data.stages.ingest import IngestConfig, IngestStage

ROWS = [
    {
        "content": "正文 one",
        "source_url": "http://a/1",
        "meta": {"title": "题 1", "when": "2026-01-31T10:00:00Z"},
        "n": 1,
    },
    {"content": "text two", "source_url": None, "meta": None, "n": 2},
    {"content": None, "source_url": "http://a/3", "meta": {"title": None, "when": "never"}, "n": 3},
]
COLUMNS = {"text": "content", "url": "source_url", "title": "meta.title", "crawl_date": "meta.when", "id": "n"}


def ingest(root: Path, columns: dict[str, str]) -> list[dict[str, Any]]:
    stage = IngestStage(IngestConfig(input=str(root), source="s", columns=columns))
    found = []
    for shard in stage.plan(root):
        for done in stage.process(iter(()), shard):
            rules = done.rule.to_pylist() if done.rule is not None else [None] * done.batch.num_rows
            details = done.detail.to_pylist() if done.detail is not None else [None] * done.batch.num_rows
            rows = zip(done.batch.to_pylist(), rules, details, strict=True)
            found += [{**row, "rule": rule, "detail": detail} for row, rule, detail in rows]
    return found


def write(root: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    root.mkdir(exist_ok=True)
    path = root / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_mapped_nested_and_left_alone(tmp_path: Path, kind: str) -> None:
    write(tmp_path, kind, ROWS)
    rows = ingest(tmp_path, COLUMNS)
    assert [(r["text"], r["url"], r["title"], r["crawl_date"], r["source_id"]) for r in rows] == [
        ("正文 one", "http://a/1", "题 1", date(2026, 1, 31), "1"),
        ("text two", None, None, None, "2"),
        ("", "http://a/3", None, None, "3"),
    ]
    assert [r["rule"] for r in rows] == [None, None, "null_text"]
    assert rows[0]["lang"] == "zh"
    assert "content" not in rows[0], "a column that was mapped isn't kept twice"
    assert "meta" in rows[0], "a column that was mapped from in part is kept"


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_an_unknown_column_names_the_nearest(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, ROWS)
    with pytest.raises(InputError, match=r"has no column contnet for text, did you mean content\?") as error:
        ingest(tmp_path, {"text": "contnet"})
    assert str(path) in str(error.value)
    with pytest.raises(InputError, match=r"meta\.titel for title, did you mean meta\.title\?"):
        ingest(tmp_path, {"text": "content", "title": "meta.titel"})


def test_only_columns_of_ours_can_be_filled() -> None:
    with pytest.raises(ValidationError, match=r"txt is no column of ours, did you mean text\?"):
        IngestConfig(input="x", columns={"txt": "content"})


def test_the_name_itself_goes_before_the_path(tmp_path: Path) -> None:
    write(tmp_path, "jsonl", [{"a.b": "dotted", "a": {"b": "nested", "c.d": {"e": "deep 深"}}}])
    assert ingest(tmp_path, {"text": "a.b"})[0]["text"] == "dotted"
    assert ingest(tmp_path, {"text": "a.c.d.e"})[0]["text"] == "deep 深"


def test_text_that_is_none_is_counted_with_its_type(tmp_path: Path) -> None:
    write(tmp_path / "p", "parquet", [{"content": 7}, {"content": None}])
    found = ingest(tmp_path / "p", {"text": "content"})
    assert [(r["rule"], r["detail"]) for r in found] == [("not_text", "text is int64"), ("null_text", None)]
    lines = [{"content": "x"}, {"content": ["a"]}, {"content": {"b": 1}}, {}, {"text": "not this one"}]
    write(tmp_path / "j", "jsonl", lines)
    found = ingest(tmp_path / "j", {"text": "content"})
    assert [r["rule"] for r in found] == [None, "not_text", "not_text", "null_text", "null_text"]
    assert found[1]["detail"].endswith("a.jsonl:2: list")


def test_kinds_of_text_and_times(tmp_path: Path) -> None:
    table = pa.table(
        {
            "t": pa.array(["字典", "字典", "x"]).dictionary_encode(),
            "when": pa.array([datetime(2026, 1, 31, 23), None, datetime(1969, 12, 31, 1)], pa.timestamp("us", "UTC")),
            "link": pa.array([1, 2, 3]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    found = ingest(tmp_path, {"text": "t", "crawl_date": "when", "url": "link"})
    assert [(r["text"], r["crawl_date"], r["url"]) for r in found] == [
        ("字典", date(2026, 1, 31), "1"),
        ("字典", None, "2"),
        ("x", date(1969, 12, 31), "3"),
    ]


def test_a_title_that_changes_its_type_costs_nothing(tmp_path: Path) -> None:
    write(tmp_path, "jsonl", [{"text": f"t{i}", "title": i if i % 2 else f"第{i}"} for i in range(6)])
    assert [r["title"] for r in ingest(tmp_path, {})] == ["第0", "1", "第2", "3", "第4", "5"]
