"""Three phases with mixtures of their own, to the end; and subsets that lie within each other."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pretrain_data import open_blocks
from pretrain_data.commands import open_pipeline
from pretrain_data.formats.megatron import MegatronReader
from pretrain_data.tokenizers import load_saved

pytestmark = pytest.mark.spark

WORDS = "the a corpus model of data 训练 语料 模型 文本 数据 token 全角ＡＢ 繁體 mix block".split()
PHASES = [
    {
        "name": "main",
        "budget": 150_000,
        "mixture": [
            {"name": "zh", "weight": 0.7, "where": {"channel": "zh"}},
            {"name": "code", "weight": 0.3, "where": {"channel": "code"}},
        ],
    },
    {
        "name": "long",
        "budget": 40_000,
        "sequence_length": 1024,
        "mixture": [
            {"name": "long", "weight": 0.5, "where": {"tokens": {"min": 400}}},
            {"name": "short", "weight": 0.5},
        ],
    },
    {"name": "anneal", "budget": 20_000, "quality_exponent": 4, "sequence_length": 256},
]


def run(folder: Path, spark: Any, subset: float) -> Path:
    mix = {"input": str(folder / "in.parquet"), "phases": PHASES, "subset": subset}
    stages = {"mix": mix, "export": {"block_tokens": 20_000, "megatron": True}}
    work = folder / str(subset)
    path = folder / f"{subset}.yaml"
    path.write_text(json.dumps({"workspace": str(work), "stages": stages}))
    pipeline = open_pipeline(path)
    pipeline._spark = spark
    list(pipeline.run())
    return work / "export"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phases")
    rng = random.Random(5)
    rows = []
    for i in range(3000):
        words = rng.randrange(300, 500) if i % 20 == 0 else rng.randrange(20, 120)
        rows.append(
            {
                "id": f"d{i}",
                "text": " ".join(rng.choices(WORDS, k=words)),
                "channel": rng.choice(["zh", "zh", "code"]),
                "quality_score": (i % 10) / 10,
            }
        )
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, folder / "in.parquet", row_group_size=500)
    return folder


@pytest.fixture(scope="module")
def whole(corpus: Path, spark: Any) -> Path:
    return run(corpus, spark, 1.0)


def rows(export: Path) -> list[dict[str, Any]]:
    columns = ["block", "offset", "phase", "doc_id", "use", "tokens", "channel", "text", "quality_score"]
    table = ds.dataset(export / "documents").to_table(columns=columns)
    return sorted(table.to_pylist(), key=lambda row: (row["block"], row["offset"]))


def test_each_phase_has_its_budget_and_mixture(whole: Path) -> None:
    found = rows(whole)
    tokens = Counter[str]()
    for row in found:
        tokens[row["phase"]] += row["tokens"]
    for phase in PHASES:
        assert tokens[str(phase["name"])] == pytest.approx(phase["budget"], rel=0.002)
    assert list(dict.fromkeys(row["phase"] for row in found)) == ["main", "long", "anneal"], "in training order"
    main = [row for row in found if row["phase"] == "main"]
    code = sum(row["tokens"] for row in main if row["channel"] == "code")
    assert code == pytest.approx(0.3 * 150_000, rel=0.005)
    long = [row for row in found if row["phase"] == "long"]
    assert sum(row["tokens"] for row in long if row["tokens"] >= 400) == pytest.approx(20_000, rel=0.005)


def test_annealing_prefers_quality(whole: Path) -> None:
    """With exponent 4, half of the draws by weight q^4 are q ≥ 0.8; evenly it would be a fifth."""
    found = [row for row in rows(whole) if row["phase"] == "anneal"]
    tokens = sum(row["tokens"] for row in found)
    best = sum(row["tokens"] for row in found if row["quality_score"] >= 0.75)
    assert best / tokens > 0.5


def test_readers_give_each_phase_at_its_own_length(whole: Path) -> None:
    encoder = load_saved(str(whole / "tokenizer" / "encoder.json"))
    for phase, length in (("main", 4096), ("long", 1024), ("anneal", 256)):
        reader = open_blocks(whole, phase=phase)
        assert reader.sequence_length == length
        stream = [int(t) for sequence in reader for t in sequence.tokens[: sequence.used]]
        texts = [row["text"] for row in rows(whole) if row["phase"] == phase]
        expected: list[int] = []
        for ids in encoder.encode(texts):
            expected += [*(int(i) for i in ids), encoder.end_of_document]
        assert stream == expected[: len(stream)]
        assert len(stream) > 0.9 * len(expected) - length
        tokens = [MegatronReader(p.with_suffix("")) for p in sorted((whole / "megatron" / phase).glob("*.idx"))]
        assert [int(t) for m in tokens for i in range(len(m)) for t in m[i]] == expected


def test_subsets_are_stratified_and_nested(corpus: Path, whole: Path, spark: Any) -> None:
    used: list[Counter[tuple[str, str]]] = []
    for share, export in ((0.1, run(corpus, spark, 0.1)), (0.5, run(corpus, spark, 0.5)), (1.0, whole)):
        found = rows(export)
        used.append(Counter((row["phase"], row["doc_id"]) for row in found))
        tokens = Counter[tuple[str, str]]()
        for row in found:
            tokens[row["phase"], row["channel"]] += row["tokens"]
        assert tokens["main", "zh"] == pytest.approx(share * 0.7 * 150_000, rel=0.02)
        assert tokens["main", "code"] == pytest.approx(share * 0.3 * 150_000, rel=0.02)
    for small, large in itertools.pairwise(used):
        # All but the documents above the cut that make up the exact number of tokens: two a part at most, five parts.
        assert (small - large).total() <= 2 * 5
