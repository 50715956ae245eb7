"""mix and export: budgets met, similar documents apart, blocks that hold the mixture."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pretrain_data.cli import app
from pretrain_data.commands import open_pipeline
from pretrain_data.errors import InputError
from pretrain_data.kernels.spacing import smallest_gaps

pytestmark = pytest.mark.spark

WORDS = "the a corpus model of data 训练 语料 模型 文本 数据 token order mix block similar".split()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, spark: Any) -> Path:
    """6,000 documents in three channels, a tenth of them in groups of 2 to 8, mixed and exported."""
    folder = tmp_path_factory.mktemp("mix")
    rng = random.Random(3)
    rows = []
    for i in range(6000):
        group = f"g{rng.randrange(150)}" if i % 10 == 0 else f"d{i}"
        channel = rng.choices(["zh-knowledge", "code", "math"], [0.5, 0.4, 0.1])[0]
        text = " ".join(rng.choices(WORDS, k=rng.randrange(20, 200)))
        rows.append({"id": f"d{i}", "text": text, "channel": channel, "similar_group": group})
    pq.write_table(pa.Table.from_pylist(rows), folder / "in.parquet", row_group_size=700)
    mixture = [
        {"name": "zh", "weight": 0.6, "where": {"channel": "zh-knowledge"}},
        {"name": "code", "weight": 0.2, "where": {"channel": "code"}},
        {"name": "math", "weight": 0.2, "where": {"channel": "math"}},
    ]
    phase = {"name": "main", "budget": 400_000, "max_epochs": 4, "mixture": mixture}
    stages = {"mix": {"input": "in.parquet", "phases": [phase]}, "export": {"block_tokens": 50_000, "megatron": True}}
    (folder / "c.yaml").write_text(json.dumps({"workspace": "w", "stages": stages}))
    pipeline = open_pipeline(folder / "c.yaml")
    pipeline._spark = spark
    said: list[str] = []
    pipeline.say = said.append
    assert [o.state for o in pipeline.run()] == ["done", "done"]
    # The plan is told before the order is made, a line a part.
    assert [line.split()[2] for line in said if line.startswith("mix: main ")] == ["zh", "code", "math"]
    assert any(line.startswith("mix: phase") and "epochs" in line for line in said)
    return folder / "w"


def order(workspace: Path) -> list[dict[str, Any]]:
    files = sorted((workspace / "export" / "documents").rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_the_budget_is_met_by_channel(exported: Path) -> None:
    tokens: dict[str, int] = {}
    for row in order(exported):
        tokens[row["channel"]] = tokens.get(row["channel"], 0) + row["tokens"]
    assert sum(tokens.values()) == pytest.approx(400_000, rel=0.001)
    for channel, weight in (("zh-knowledge", 0.6), ("code", 0.2), ("math", 0.2)):
        assert tokens[channel] == pytest.approx(weight * 400_000, rel=0.005)


def test_every_block_holds_the_mixture(exported: Path) -> None:
    files = sorted((exported / "export" / "documents").rglob("*.parquet"))
    assert len(files) >= 7
    for file in files[:-1]:
        table = pq.read_table(file, columns=["channel", "tokens"]).to_pandas()
        shares = table.groupby("channel")["tokens"].sum() / table["tokens"].sum()
        # Three standard errors of about 400 documents of very unequal length, and a little.
        assert abs(shares["zh-knowledge"] - 0.6) < 0.06
        assert abs(shares["math"] - 0.2) < 0.06


def test_uses_and_ledger_agree(exported: Path) -> None:
    kept = ds.dataset(exported / "mix" / "documents").to_table(columns=["doc_id", "positions", "tokens"]).to_pylist()
    uses = {row["doc_id"]: len(row["positions"]) for row in kept}
    assert max(uses.values()) <= 4
    assert min(uses.values()) >= 1
    counted: dict[str, int] = {}
    for row in order(exported):
        counted[row["doc_id"]] = counted.get(row["doc_id"], 0) + 1
    assert counted == uses
    dropped = ds.dataset(exported / "mix" / "dropped").to_table().to_pylist()
    assert len(kept) + len(dropped) == 6000
    for row in dropped:
        assert row["rule"] == ("not_sampled" if row["value"] >= row["threshold"] else "trimmed")
    assert sum(row["rule"] == "trimmed" for row in dropped) <= 20, "a few a part, to meet its budget"


def test_similar_documents_are_far_apart(exported: Path) -> None:
    rows = order(exported)
    group = {
        f"d{i}": g for i, g in enumerate(pq.read_table(exported.parent / "in.parquet")["similar_group"].to_pylist())
    }
    offsets = np.cumsum([0, *(row["tokens"] for row in rows)])[:-1]
    names = [group[row["source_id"]] for row in rows]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    total = int(offsets[-1]) + rows[-1]["tokens"]
    groups = np.array([numbers[name] for name in names])
    _, uses, _, ratio = smallest_gaps(groups, offsets, total)
    # Only groups whose ideal gap spans some hundreds of documents: nearer ones are bound by a document's length.
    wide = ratio[uses <= 8]
    shuffled = np.random.default_rng(1).permutation(len(rows))
    lengths = np.array([row["tokens"] for row in rows])[shuffled]
    _, uses_, _, plain = smallest_gaps(groups[shuffled], np.cumsum(np.r_[0, lengths])[:-1], total)
    assert np.median(wide) >= 0.98
    assert wide.min() >= 0.8
    assert np.median(plain[uses_ <= 8]) < 0.6, "a plain shuffle is no match"


def test_megatron_files_hold_the_texts(exported: Path) -> None:
    from pretrain_data.formats.megatron import MegatronReader
    from pretrain_data.tokenizers import load_saved

    saved = next((exported / "export").rglob("encoder.json"))
    tokenizer = load_saved(str(saved))
    prefixes = sorted(p.with_suffix("") for p in (exported / "export").rglob("*.idx"))
    assert prefixes
    texts = []
    for prefix in prefixes:
        reader = MegatronReader(prefix)
        for i in range(len(reader)):
            ids = reader[i].tolist()
            assert ids[-1] == tokenizer.end_of_document
            texts.append(tokenizer.decode(ids[:-1]))
    assert texts == [row["text"] for row in order(exported)]


def planned(exported: Path, spark: Any, monkeypatch: pytest.MonkeyPatch, policy: str) -> dict[str, dict[str, Any]]:
    """What `plan mix` says about the corpus of `exported` when math wants more than one use of all there is."""
    config = json.loads((exported.parent / "c.yaml").read_text())
    config["stages"]["mix"] |= {"on_shortage": policy}
    config["stages"]["mix"]["phases"][0] |= {"max_epochs": 1, "budget": 700_000}
    path = exported.parent / f"{policy}.yaml"
    path.write_text(json.dumps(config | {"workspace": "w"}))

    def with_session(config: Path, overrides: list[str] | None = None) -> Any:
        pipeline = open_pipeline(config, overrides)
        pipeline._spark = spark
        return pipeline

    monkeypatch.setattr("pretrain_data.commands.plan_mix.open_pipeline", with_session)
    before = sorted(p for p in exported.rglob("*") if p.name != ".staging")
    done = CliRunner().invoke(app, ["plan", "mix", str(path), "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    assert sorted(p for p in exported.rglob("*") if p.name != ".staging") == before, "nothing is written"
    return {row["part"]: row for row in json.loads(done.stdout)}


def test_policies_for_what_a_scarce_part_can_not_give(
    exported: Path, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = planned(exported, spark, monkeypatch, "accept")
    shared = planned(exported, spark, monkeypatch, "redistribute")
    math = accepted["math"]
    assert math["wanted_tokens"] == 140_000
    assert math["available_tokens"] < 140_000
    for rows in (accepted, shared):  # once, all of it, and no more
        assert rows["math"]["given_tokens"] == math["available_tokens"]
        assert rows["math"]["epochs"] == 1
    assert accepted["code"]["given_tokens"] == pytest.approx(140_000, rel=0.005)
    lacking = 700_000 - math["available_tokens"]
    given = {name: shared[name]["given_tokens"] for name in ("zh", "code")}
    room = {name: shared[name]["available_tokens"] for name in given}
    # What math lacks goes to the others by their weights, 3 to 1, as far as they have it.
    code = min(room["code"], max(lacking / 4, lacking - room["zh"]))
    assert given["code"] == pytest.approx(code, rel=0.005)
    assert given["zh"] == pytest.approx(min(room["zh"], lacking - code), rel=0.005)
    with pytest.raises(InputError, match=r"can.*not be met.*math: 140000 wanted"):
        planned(exported, spark, monkeypatch, "fail")
