"""Blocks that were handed out stay; what is added completes the mixture, the uses and the spacing. Validation too."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pretrain_data.commands import open_pipeline
from pretrain_data.errors import InputError
from pretrain_data.kernels.spacing import smallest_gaps

pytestmark = pytest.mark.spark

WORDS = "the a corpus model of data 训练 语料 模型 文本 数据 token order mix block similar".split()
SHARES = {"zh": 0.5, "en": 0.3, "math": 0.2}
MOST_USES = 3


def documents(day: int, count: int) -> list[dict[str, Any]]:
    """Three channels, math scarce; every third document in a group of some six, which go on over the days."""
    rng = random.Random(day)
    rows = []
    for i in range(count):
        channel = rng.choices(["zh", "en", "math"], [0.55, 0.4, 0.05])[0]
        group = f"{channel}{rng.randrange(150)}" if i % 3 == 0 else f"{day}-{i}"
        text = " ".join(rng.choices(WORDS, k=rng.randrange(20, 120)))
        rows.append({"id": f"{day}-{i}", "text": text, "channel": channel, "similar_group": group})
    return rows


def config(folder: Path, budget: int, partitions: int | None = None, **mix: Any) -> Path:
    parts = [{"name": name, "weight": weight, "where": {"channel": name}} for name, weight in SHARES.items()]
    phase = {"name": "main", "budget": budget, "max_epochs": MOST_USES, "mixture": parts}
    stages = {
        "mix": {"input": "in", "phases": [phase], "handed_out": "export", **mix},
        "export": {"block_tokens": 20_000, "megatron": True},
    }
    whole = {"workspace": "w", "spark": {"partitions": partitions}, "stages": stages}
    path = folder / "c.yaml"
    path.write_text(json.dumps(whole))
    return path


def run(spark: Any, folder: Path, budget: int, partitions: int | None = None, **mix: Any) -> dict[str, Any]:
    pipeline = open_pipeline(config(folder, budget, partitions, **mix))
    pipeline._spark = spark
    return {outcome.stage: outcome.manifest for outcome in pipeline.run()}


def deliver(folder: Path, day: int, rows: list[dict[str, Any]]) -> None:
    (folder / "in").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "in" / f"{day}.parquet", row_group_size=300)


def blocks(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "w/export/blocks.json").read_text())["blocks"]
    return found


def files(folder: Path, numbers: list[int]) -> dict[str, bytes]:
    found = {}
    for record in blocks(folder):
        if record["block"] in numbers:
            for path in (f"blocks/part-{record['block']:05d}.json", *(f["path"] for f in record["files"].values())):
                found[path] = (folder / "w/export" / path).read_bytes()
    return found


def uses(folder: Path, phase: str = "main") -> list[dict[str, Any]]:
    table = ds.dataset(folder / "w/export/documents").to_table(
        columns=["block", "offset", "phase", "doc_id", "source_id", "use", "tokens", "channel", "similar_group"]
    )
    return sorted((r for r in table.to_pylist() if r["phase"] == phase), key=lambda r: r["offset"])


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory: pytest.TempPathFactory, spark: Any) -> tuple[Path, dict[str, bytes], dict[str, Any]]:
    """150,000 tokens on the first night, 300,000 in all on the second: what the first left, the second's manifests."""
    folder = tmp_path_factory.mktemp("append")
    deliver(folder, 1, documents(1, 3000))
    run(spark, folder, 150_000, holdout={"tokens": 4000, "max_share": 0.1})
    before = files(folder, [record["block"] for record in blocks(folder)])
    deliver(folder, 2, documents(2, 3000))
    made = run(spark, folder, 300_000, holdout={"tokens": 4000, "max_share": 0.1})
    return folder, before, made


def test_nothing_new_adds_nothing(two_nights: tuple[Path, dict[str, bytes], dict[str, Any]], spark: Any) -> None:
    """Another config makes the mix run again, and it finds the budget met."""
    folder, _, _ = two_nights
    again = folder.with_name("again")
    shutil.copytree(folder, again)
    manifests = run(spark, again, 300_000, holdout={"tokens": 4000, "max_share": 0.1}, bins=8192)
    assert blocks(again) == blocks(folder)
    assert manifests["mix"]["documents"] == 0
    rules = {row["rule"] for row in ds.dataset(again / "w/mix/dropped").to_table(columns=["rule"]).to_pylist()}
    assert rules == {"handed_out", "held_out", "not_sampled"}


def test_blocks_handed_out_stay_byte_for_byte(two_nights: tuple[Path, dict[str, bytes], dict[str, Any]]) -> None:
    folder, before, made = two_nights
    assert len([name for name in before if name.startswith("documents/")]) >= 8
    assert {name: (folder / "w/export" / name).read_bytes() for name in before} == before
    numbers = [record["block"] for record in blocks(folder)]
    assert numbers == list(range(len(numbers)))
    assert made["export"]["metrics"]["blocks_carried_over"] == len([n for n in before if n.startswith("blocks/")])


def test_the_union_keeps_budget_and_mixture(two_nights: tuple[Path, dict[str, bytes], dict[str, Any]]) -> None:
    folder, _, _ = two_nights
    tokens = Counter[str]()
    for row in uses(folder):
        tokens[row["channel"]] += row["tokens"]
    assert tokens.total() == pytest.approx(300_000, rel=0.002)
    for channel, share in SHARES.items():
        assert tokens[channel] == pytest.approx(share * 300_000, rel=0.01), channel


def test_uses_are_counted_over_all_blocks(two_nights: tuple[Path, dict[str, bytes], dict[str, Any]]) -> None:
    folder, _, _ = two_nights
    found = uses(folder)
    counts = Counter(row["doc_id"] for row in found)
    assert max(counts.values()) <= MOST_USES
    assert len({(row["doc_id"], row["use"]) for row in found}) == len(found), "uses go on being numbered"
    # Scarce mathematics is repeated. On the second night what is new is, evenly, and of the first night's none that
    # was used more often already.
    math: dict[str, Counter[str]] = {"1": Counter(), "2": Counter()}
    for row in found:
        if row["channel"] == "math":
            math[row["source_id"][0]][row["doc_id"]] += 1
    assert set(math["1"].values()) == {MOST_USES - 1, MOST_USES}
    assert max(math["2"].values()) - min(math["2"].values()) <= 1
    assert max(math["2"].values()) <= min(math["1"].values())
    # What is there once is used once before anything is used twice.
    zh = Counter(row["doc_id"] for row in found if row["channel"] == "zh")
    assert max(zh.values()) == 1


def test_the_stream_has_no_gap(two_nights: tuple[Path, dict[str, bytes], dict[str, Any]]) -> None:
    folder, _, _ = two_nights
    found = uses(folder)
    offsets = np.array([row["offset"] for row in found])
    sizes = np.array([row["tokens"] for row in found]) + 1
    assert offsets[0] == 0
    assert (np.diff(offsets) == sizes[:-1]).all()


def test_groups_stay_apart_over_the_seam(two_nights: tuple[Path, dict[str, bytes], dict[str, Any]]) -> None:
    folder, before, made = two_nights
    found = uses(folder)
    group = {name: i for i, name in enumerate(sorted({row["similar_group"] for row in found}))}
    numbers = np.array([group[row["similar_group"]] for row in found])
    offsets = np.array([row["offset"] for row in found])
    total = int(offsets[-1]) + found[-1]["tokens"] + 1
    groups, counts, _, ratio = smallest_gaps(numbers, offsets, total)
    seam = {row["similar_group"] for row in found if f"documents/part-{row['block']:05d}.parquet" in before}
    seam &= {row["similar_group"] for row in found if f"documents/part-{row['block']:05d}.parquet" not in before}
    over = np.isin(groups, [group[name] for name in seam]) & (counts <= 12)
    assert over.sum() >= 100
    lengths = np.array([row["tokens"] for row in found])
    shuffled = np.random.default_rng(1).permutation(len(found))
    _, _, _, plain = smallest_gaps(numbers[shuffled], np.cumsum(np.r_[0, lengths[shuffled]])[:-1], total)
    assert np.median(ratio[over]) >= 0.6
    assert np.percentile(ratio[over], 1) >= 0.25
    assert np.median(ratio[over]) >= 2 * np.median(plain[over])
    # The stage's own figures are those of the oracle.
    report = made["export"]["metrics"]["spread"]["main"]
    wide = len(found) / counts >= 200
    assert report["wide"]["groups"] == wide.sum()
    assert report["wide"]["spaced"]["median"] == pytest.approx(np.median(ratio[wide]), abs=1e-4)
    assert report["wide"]["spaced"]["min"] == pytest.approx(ratio[wide].min(), abs=1e-4)
    assert report["wide"]["plain_shuffle"]["median"] < report["wide"]["spaced"]["median"]


def test_validation_is_never_trained_on(two_nights: tuple[Path, dict[str, bytes], dict[str, Any]]) -> None:
    folder, _, made = two_nights
    held = uses(folder, "validation")
    groups = {row["similar_group"] for row in held}
    assert not groups & {row["similar_group"] for row in uses(folder)}
    tokens = Counter[str]()
    for row in held:
        tokens[row["channel"]] += row["tokens"]
    assert set(tokens) == set(SHARES)
    # 4,000 tokens of each channel, but no more than a tenth of it: mathematics has some 5 % of 3,000 × 70 × 1.3.
    assert tokens["zh"] == pytest.approx(4000, rel=0.15)
    assert 500 < tokens["math"] < 2500
    # On the second night new members of those groups are left out, and the ledger says why.
    dropped = ds.dataset(folder / "w/mix/dropped").to_table(columns=["source_id", "rule"]).to_pylist()
    out = {row["source_id"] for row in dropped if row["rule"] == "held_out"}
    late = {row["id"] for row in documents(2, 3000) if row["similar_group"] in groups}
    assert late
    assert late <= out
    counts = Counter(row["rule"] for row in dropped)
    assert counts["handed_out"] > 500
    assert made["mix"]["documents_in"] == 6000


def test_only_the_first_blocks_were_handed_out(tmp_path: Path, spark: Any) -> None:
    """The rest is planned anew: all that came meanwhile is in it, and the same bytes for any partitioning."""
    deliver(tmp_path, 1, documents(1, 1200))
    run(spark, tmp_path, 120_000)
    shutil.copytree(tmp_path, tmp_path / "again", ignore=lambda folder, names: {"again"})
    before = files(tmp_path, [0, 1])
    later = documents(2, 1200)
    made = []
    for folder, partitions in ((tmp_path, 2), (tmp_path / "again", 13)):
        deliver(folder, 2, later)
        run(spark, folder, 120_000, partitions, handed_out_blocks=2)
        made.append({p.name: p.read_bytes() for p in sorted((folder / "w/export").rglob("*.parquet"))})
    assert made[0] == made[1]
    assert files(tmp_path, [0, 1]) == before
    found = uses(tmp_path)
    assert sum(row["tokens"] for row in found) == pytest.approx(120_000, rel=0.002)
    assert any(row["source_id"].startswith("2-") for row in found if row["block"] >= 2)
    with pytest.raises(InputError, match="handed out, but the export has"):
        run(spark, tmp_path, 120_000, handed_out_blocks=99)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mix": {"end_of_document": "<|im_end|>"}}, "another tokenizer"),
        ({"export": {"megatron": False}}, "bin, idx"),
        ({"export": {"jsonl": True}}, "jsonl"),
        ({"export": {"columns": ["channel", "similar_group"]}}, "source_id"),
    ],
    ids=["tokenizer", "megatron", "jsonl", "columns"],
)
def test_two_versions_never_stand_in_one_order(
    two_nights: tuple[Path, dict[str, bytes], dict[str, Any]], spark: Any, change: dict[str, Any], message: str
) -> None:
    """The blocks that were handed out stay, and the error says how to go on."""
    folder, _, _ = two_nights
    before = files(folder, [record["block"] for record in blocks(folder)])
    whole = json.loads(config(folder, 330_000, holdout={"tokens": 4000, "max_share": 0.1}).read_text())
    for stage, keys in change.items():
        whole["stages"][stage] |= keys
    (folder / "changed.yaml").write_text(json.dumps(whole))
    pipeline = open_pipeline(folder / "changed.yaml")
    pipeline._spark = spark
    with pytest.raises(InputError, match=f"(?s){message}.*begin a new order"):
        list(pipeline.run())
    assert files(folder, [record["block"] for record in blocks(folder)]) == before


def test_only_what_is_new_is_counted(tmp_path: Path, spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts of the first night's shards are taken over, and are those that counting anew gives."""
    monkeypatch.setattr("pretrain_data.formats.foreign.SHARD_BYTES", 1)  # a shard a row group

    def counted(folder: Path, **mix: Any) -> tuple[int, dict[str, bytes]]:
        pipeline = open_pipeline(config(folder, 60_000, handed_out=None, **mix))
        pipeline._spark = spark
        [made] = [outcome.manifest for outcome in pipeline.run(last="mix")]
        names = [shard["name"] for shard in made["shards"]]
        found = {p.stem: p.read_bytes() for p in sorted((folder / "w/mix/tokens").glob("*.npy"))}
        assert list(found) == names
        return made["metrics"]["shards_counted_before"], found

    deliver(tmp_path, 1, documents(1, 900))
    assert counted(tmp_path)[0] == 0
    deliver(tmp_path, 2, documents(2, 600))
    before, ours = counted(tmp_path)
    assert (before, len(ours)) == (3, 5)
    shutil.copytree(tmp_path / "in", tmp_path / "anew" / "in")
    assert counted(tmp_path / "anew") == (0, ours)
    deliver(tmp_path, 2, documents(3, 600))  # delivered again, other than before
    before, changed = counted(tmp_path)
    assert before == 3
    assert [name for name in ours if ours[name] != changed[name]] == ["part-00003", "part-00004"]
    assert counted(tmp_path, end_of_document="<|im_end|>")[0] == 0


def test_a_plain_run_does_not_write_anew_what_was_to_stay(tmp_path: Path, spark: Any) -> None:
    """`--append` is `handed_out: export`; without it the next run is refused, unless it says that it begins anew."""
    deliver(tmp_path, 1, documents(1, 400))

    def go(budget: int, *overrides: str, append: bool = False) -> list[str]:
        path = config(tmp_path, budget)
        whole = json.loads(path.read_text())
        del whole["stages"]["mix"]["handed_out"]
        path.write_text(json.dumps(whole))
        pipeline = open_pipeline(path, list(overrides), append)
        pipeline._spark = spark
        return [outcome.state for outcome in pipeline.run()]

    assert go(20_000) == ["done", "done"], "nothing was promised yet"
    first = files(tmp_path, [record["block"] for record in blocks(tmp_path)])
    deliver(tmp_path, 2, documents(2, 400))
    assert go(40_000, append=True) == ["done", "done"]
    assert go(40_000, append=True) == ["up to date", "up to date"]
    there = files(tmp_path, [record["block"] for record in blocks(tmp_path)])
    assert len(there) > len(first)
    assert first.items() <= there.items()
    with pytest.raises(InputError, match="--append"):
        go(40_000)
    assert files(tmp_path, [record["block"] for record in blocks(tmp_path)]) == there
    assert go(40_000, "stages.mix.handed_out=null") == ["done", "done"]
    assert go(40_000) == ["up to date", "up to date"]
