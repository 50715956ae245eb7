"""Benchmark items planted verbatim, reformatted and edited; clean documents; n-grams by a plain oracle."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretrain_data.errors import InputError
from pretrain_data.kernels.ngrams import Benchmarks, ngrams
from pretrain_data.stage import Shard
from pretrain_data.stages.decontaminate import DecontaminateConfig, DecontaminateStage

ITEM = "一个水池有甲乙两根水管，单开甲管六小时注满，单开乙管八小时注满"


def judge(stage: DecontaminateStage, texts: list[str]) -> tuple[list[str | None], list[str | None]]:
    batch = pa.RecordBatch.from_pydict(
        {"doc_id": [str(i) for i in range(len(texts))], "text": pa.array(texts, pa.large_string())}
    )
    [done] = stage.process(iter([batch]), Shard("part-00000", ()))
    assert done.rule is not None
    assert done.detail is not None
    return done.rule.to_pylist(), done.detail.to_pylist()


def stage_of(path: Path) -> DecontaminateStage:
    return DecontaminateStage(DecontaminateConfig(benchmarks=[path]))


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+|[一-鿿]", text.lower())


@pytest.mark.parametrize("n", [1, 3])
def test_equal_ngrams_are_equal_words_in_a_row(n: int) -> None:
    texts = ["The cat sat, the CAT sat!", "猫坐 the cat  sat", "", "a", "甲乙丙。甲 乙丙x"]
    hashes, ends = ngrams(pa.array(["skipped", *texts]).slice(1), n)
    grams = [g for t in texts for w in [words(t)] for g in (tuple(w[i : i + n]) for i in range(len(w) - n + 1))]
    assert ends[-1] == len(hashes) == len(grams)
    numbered: dict[tuple[str, ...], int] = {}
    for gram, value in zip(grams, hashes.tolist(), strict=True):
        assert numbered.setdefault(gram, value) == value
    assert len(set(numbered.values())) == len(numbered)


def test_shares_are_of_distinct_ngrams_of_the_best_item() -> None:
    marks = Benchmarks(pa.array(["a b c d", "c d e f g", "a a a a"]), 2)
    assert marks.sizes.tolist() == [3, 4, 1]
    share, item = marks.match(pa.array(["x c d y", "c d e f", "a b a b", "a a", "nothing", ""]))
    # c d is one of three grams of item 0 and one of four of item 1.
    assert np.allclose(share, [1 / 3, 3 / 4, 1 / 3, 1, 0, 0])
    assert item.tolist() == [0, 1, 0, 2, -1, -1]


def test_runs_of_numbers_tell_nothing() -> None:
    marks = Benchmarks(pa.array(["0 1 2 a b c3", "0 1 ab 水"]), 3, telling=1)
    assert marks.sizes.tolist() == [0, 2]
    assert marks.match(pa.array(["0 1 2 a b c3", "1 ab 水"]))[1].tolist() == [-1, 1]


def test_chinese_by_characters(tmp_path: Path) -> None:
    path = tmp_path / "zh.jsonl"
    path.write_text(json.dumps({"benchmark": "cmath", "text": ITEM}) + "\n", encoding="utf-8")
    # ITEM has 29 characters, 22 8-grams; its first 12 hold 5 of them.
    spaced = " ".join(ITEM.replace("，", ","))
    rules, names = judge(
        stage_of(path), [f"题目：{ITEM}。答案", spaced, ITEM[:13], "水池里有鱼，水管在旁边，今天天气很好"]
    )
    assert rules == ["benchmark_13gram", "benchmark_13gram", "benchmark_near_8gram", None]
    assert names == ["cmath#0", "cmath#0", "cmath#0", None]


def test_a_file_that_holds_no_items(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    path.write_text('[{"question": "?"}]')
    with pytest.raises(InputError, match="item 0 has no `text`"):
        judge(stage_of(path), ["x"])


def edited(text: str, choose: random.Random) -> str:
    """One word in ten replaced."""
    pieces = re.split(r"(\s+)", text)
    at = [i for i, piece in enumerate(pieces) if piece.strip()]
    for i in choose.sample(at, max(1, round(len(at) / 10))):
        pieces[i] = f"other{choose.randrange(1000)}"
    return "".join(pieces)


def test_planted_benchmarks_are_found_and_clean_documents_are_not(shared_data: Path) -> None:
    path = shared_data / "text" / "eval" / "benchmarks.json"
    items = [item["text"] for item in json.loads(path.read_text(encoding="utf-8"))]
    stage, choose = stage_of(path), random.Random(8)
    verbatim, _ = judge(stage, [f"From a forum: {text} Thanks." for text in items])
    assert None not in verbatim
    reformatted, _ = judge(stage, ["前言 " + re.sub(r"\s+", " \n ", text.swapcase()) for text in items])
    assert None not in reformatted
    changed, _ = judge(stage, [f"Seen today. {edited(text, choose)} What next?" for text in items])
    assert sum(rule is not None for rule in changed) >= 0.9 * len(items)
    clean = pq.read_table(shared_data / "text" / "quality" / "docs.parquet", columns=["text"])["text"].to_pylist()
    rules, names = judge(stage, clean)
    flagged = [name for rule, name in zip(rules, names, strict=True) if rule is not None]
    assert len(flagged) <= 0.001 * len(clean), flagged[:10]
