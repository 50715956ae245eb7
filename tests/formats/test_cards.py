"""The dataset card and Croissant metadata of an export, and that others can read what the card points to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import yaml

from pretrain_data.formats.cards import croissant, size_category, write_cards

COLUMNS = pa.schema(
    {
        "doc_id": pa.string(),
        "text": pa.large_string(),
        "tokens": pa.int32(),
        "quality_score": pa.float32(),
        "crawl_date": pa.date32(),
        "positions": pa.list_(pa.float64()),
        "signals": pa.struct([("chars", pa.int32())]),
    }
)
BLOCKS = [
    {"phase": "main", "documents": 600, "tokens": 3000, "channels": {"code": [200, 2000], "math": [400, 1000]}},
    {"phase": "late", "documents": 500, "tokens": 2500, "channels": {"code": [500, 2500]}},
]


def test_the_card_says_what_there_is(tmp_path: Path) -> None:
    write_cards(tmp_path, BLOCKS, COLUMNS, "my corpus", "cc-by-4.0")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---")[1])
    assert head["license"] == "cc-by-4.0"
    assert head["size_categories"] == ["1K<n<10K"]
    assert head["configs"][0]["data_files"] == "documents/*.parquet"
    assert "| code | 700 | 4,500 |" in text
    assert "| math | 400 | 1,000 |" in text
    assert "1,100 uses of documents,\n5,500 tokens, 2 blocks in the phases main, late" in text
    assert "| tokens | int32 | tokens | length under the training tokenizer |" in text


def test_croissant_has_a_field_for_each_plain_column() -> None:
    fields = croissant(COLUMNS, "n", "other")["recordSet"][0]["field"]
    assert {f["name"]: f["dataType"] for f in fields} == {
        "doc_id": "sc:Text",
        "text": "sc:Text",
        "tokens": "sc:Integer",
        "quality_score": "sc:Float",
        "crawl_date": "sc:Date",
        "positions": "sc:Float",
    }
    assert [f["name"] for f in fields if f.get("repeated")] == ["positions"]


@pytest.mark.parametrize(("rows", "name"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**12, "n>1T")])
def test_size_categories(rows: int, name: str) -> None:
    assert size_category(rows) == name


@pytest.mark.spark
@pytest.mark.slow
def test_an_export_is_read_by_duckdb_and_pandas(sample_run: Callable[[int], Path]) -> None:
    duckdb = pytest.importorskip("duckdb")
    export = sample_run(2) / "export"
    blocks = json.loads((export / "blocks.json").read_text(encoding="utf-8"))["blocks"]
    tokens = sum(block["tokens"] for block in blocks)
    pattern = str(export / "documents" / "*.parquet")
    assert duckdb.connect().execute(f"SELECT sum(tokens) FROM '{pattern}'").fetchall() == [(tokens,)]
    frame = pd.concat(pd.read_parquet(path) for path in sorted((export / "documents").glob("*.parquet")))
    assert frame["tokens"].sum() == tokens
    assert f"{tokens:,} tokens" in (export / "README.md").read_text(encoding="utf-8")
    meta = json.loads((export / "croissant.json").read_text(encoding="utf-8"))
    named = {f["source"]["extract"]["column"] for f in meta["recordSet"][0]["field"]}
    assert named <= set(frame.columns)
    assert {"doc_id", "text", "channel", "tokens"} <= named
