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


def test_pages_and_bytes_in_any_encoding() -> None:
    page = f"<html><head><title>T</title></head><body><nav>Home</nav><p>{EN} {EN}</p></body></html>"
    found = pd_.texts.html([page, "", "<div>" * 100_000])
    assert found["title"][0] == "T"
    assert found["text"][0].strip() == f"{EN} {EN}"
    assert list(found["text"][1:]) == ["", ""]
    read = pd_.texts.decoded(
        [ZH.encode("gb18030"), ZH.encode("utf-8"), "委員會於星期二開會，同意公布報告。".encode("big5")]
    )
    assert list(read["text"]) == [ZH, ZH, "委員會於星期二開會，同意公布報告。"]
    assert set(read["bad_share"]) == {0.0}
    assert list(pd_.texts.html([]).columns) == ["text", "title", "author", "published"]


def test_what_stood_before_goes() -> None:
    line = " ".join(f"w{i}" for i in range(25))
    assert pd_.texts.without_repeats([f"{line}\nown one", f"own two\n{line}", "own two"]) == [
        f"{line}\nown one",
        "own two",
        "own two",
    ], "short lines stay"
    han = "这一行文字在每一篇文章的末尾都会出现，读者早已熟悉，不必再读一遍。"
    assert pd_.texts.without_repeats([f"甲。\n{han}", f"乙。\n{han}"]) == [f"甲。\n{han}", "乙。"]
    assert pd_.texts.without_repeats([]) == []


def test_a_benchmark_is_found_in_texts() -> None:
    item = " ".join(f"w{i}" for i in range(26))  # 14 n-grams of 13
    half = " ".join(f"w{i}" for i in range(19))  # 7 of them
    found = pd_.texts.overlaps([f"before {item} behind", half, EN, ""], [EN[:20], item], n=13)
    assert list(found["share"]) == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert list(found["item"]) == [1, 1, -1, -1]


def test_generated_files_say_so() -> None:
    made, own = pd_.texts.generated(["# Code generated by protoc. DO NOT EDIT.\nx = 1\n", "x = 1\n"])
    assert own is None
    assert "generated by" in str(made)


def test_scorers_are_those_of_the_stages() -> None:
    texts = [f"{EN} {EN}", ZH * 4, None]
    scores = pd_.texts.quality(texts)
    frame = pd.DataFrame({"text": texts[:2], "format": "prose"})
    assert scores[:2] == pytest.approx(pd_.run_stage("quality", frame).kept["quality_score"].to_numpy(), abs=1e-4)
    assert ((scores >= 0) & (scores <= 1)).all()
    found = pd_.texts.domains(texts)
    assert len(found) == 3
    assert found.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    judged = pd_.run_stage("classify", frame).kept
    assert found.max(axis=1)[:2].to_numpy() == pytest.approx(judged["domain_score"].to_numpy(), abs=1e-4)


def test_no_text_is_no_trouble() -> None:
    for name in (
        "languages",
        "scripts",
        "formats",
        "clean",
        "without_boilerplate",
        "pii",
        "scrub",
        "tokens",
        "signals",
    ):
        assert len(getattr(pd_.texts, name)([])) == 0, name
    for name in ("densities", "signatures", "similarities", "quality", "domains", "generated", "html", "decoded"):
        assert len(getattr(pd_.texts, name)([])) == 0, name


def test_what_is_offered_is_listed_and_typed() -> None:
    assert {"open_blocks", "run_stage", "texts"} <= set(dir(pd_))
    assert (Path(pd_.__file__).parent / "py.typed").is_file()
    for name, one in vars(pd_.texts).items():
        if callable(one) and getattr(one, "__module__", "") == "pretrain_data.texts" and not name.startswith("_"):
            assert one.__doc__, name
            assert "return" in one.__annotations__, name
