"""Stages and kernels over what a notebook has: lists, DataFrames, Arrow and Spark, with no files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import pretrain_data as pd_
from pretrain_data.errors import ConfigError, InputError

ROOT = Path(__file__).resolve().parents[1]
ZH = "委员会于星期二开会，一致同意在夏季之前公布报告。"
EN = "The committee met on Tuesday and agreed to publish its report before the summer."


def test_a_list_of_texts() -> None:
    result = pd_.run_stage("pii", [f"{ZH}电话13812345678", None, "mail a.b@example.com"])
    assert list(result.kept["text"]) == [f"{ZH}电话<|phone|>", "mail <|email|>"]
    assert list(result.dropped["rule"]) == ["null_text"]
    assert result.metrics["documents_with_spans"] == 2


def test_every_document_comes_back_as_it_came() -> None:
    rows = [{"id": f"d{i}", "text": f"{EN} {i}" if i % 2 else "x", "mine": i} for i in range(10)]
    own = {"files": [], "rules": [{"name": "short", "drop_if": "signals.chars < least", "let": {"least": 5}}]}
    for given in (rows, pd.DataFrame(rows), pa.Table.from_pylist(rows)):
        result = pd_.run_stage("rules", given, **own)
        kept, dropped = (t.to_pandas() if isinstance(t, pa.Table) else t for t in (result.kept, result.dropped))
        assert list(kept["source_id"]) == ["d1", "d3", "d5", "d7", "d9"]
        assert list(kept["mine"]) == [1, 3, 5, 7, 9]
        assert list(dropped["source_id"]) == ["d0", "d2", "d4", "d6", "d8"]
        assert set(dropped["value"]) == {1.0}
        assert set(dropped["threshold"]) == {5.0}
        assert isinstance(result.kept, type(pa.table({}))) == isinstance(given, pa.Table)


def test_what_can_not_be_run_says_why() -> None:
    with pytest.raises(ConfigError, match="reads files"):
        pd_.run_stage("ingest", [EN])
    with pytest.raises(ConfigError, match="stages: rules"):
        pd_.run_stage("filter", [EN])
    with pytest.raises(ConfigError, match="tresholds"):
        pd_.run_stage("dedup", [EN], tresholds=1)
    with pytest.raises(InputError, match="no column text"):
        pd_.run_stage("pii", pd.DataFrame({"body": [EN]}))


@pytest.mark.spark
def test_dedup_and_spark(spark: Any) -> None:
    long = " ".join(f"word{i}" for i in range(60))
    result = pd_.run_stage("dedup", [long, EN * 3, long + " more", ZH * 3], spark=spark, threshold=0.8, verify="exact")
    assert len(result.kept) == 3
    assert list(result.dropped["rule"]) == ["near_duplicate"]
    frame = spark.createDataFrame([(EN,), ("mail a.b@example.com",)], ["text"])
    found = pd_.run_stage("pii", frame)
    assert [row.text for row in found.kept.select("text").collect()] == [EN, "mail <|email|>"]
    assert found.dropped.count() == 0


def test_kernels_take_lists_series_and_arrays() -> None:
    kinds = (
        [ZH, EN],
        (ZH, EN),
        pd.Series([ZH, EN]),
        np.array([ZH, EN]),
        pa.array([ZH, EN]),
        pa.chunked_array([[ZH], [EN]]),
    )
    for given in kinds:
        assert list(pd_.texts.languages(given)["lang"]) == ["zh", "en"]
    assert pd_.texts.scripts([ZH, "委員會於星期二開會", EN]) == ["hans", "hant", None]
    assert pd_.texts.formats([EN, "def add(a, b):\n    return a + b\n"]) == ["prose", "code"]
    assert pd_.texts.pii(["Call 13812345678 now"]) == [[(5, 16, "PHONE")]]
    assert pd_.texts.clean(["ａ\r\nb\x00", "cafe\u0301"]) == ["ａ\nb", "café"]
    signals = pd_.texts.signals([EN, ZH, None], keywords={"time": ["summer", "夏季"]})
    assert list(signals["chars"]) == [len(EN), len(ZH), 0]
    assert list(signals["kw_time"]) == [1, 1, 0]
    assert signals["en_stop_words"][0] >= 2
    assert pd_.texts.tokens([EN, ""])[0] > 10
    assert pd_.texts.tokens([EN, ""])[1] == 0
    with pytest.raises(TypeError, match="list of texts"):
        pd_.texts.formats(EN)


def test_similarity_by_hand() -> None:
    a, b = "a b c d e f", "b c d e f g"  # shingles of five words: 2 each, 1 of 3 in common
    found = pd_.texts.similarities([a, b, a])
    assert found[0, 1] == pytest.approx(1 / 3)
    assert found[0, 2] == 1.0
    assert np.array_equal(found, found.T)
    signatures = pd_.texts.signatures([a, a, b], permutations=512)
    assert (signatures[0] == signatures[1]).all()
    assert (signatures[0] == signatures[2]).mean() == pytest.approx(1 / 3, abs=0.1)


def test_the_example_notebook_runs() -> None:
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert list(names["result"].dropped["source_id"]) == ["d"]
    assert names["scrubbed"].metrics["spans.PHONE"] == 1
