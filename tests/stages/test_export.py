"""Which block a use belongs to, what explodes into rows, and bytes that depend on rows alone; no Spark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretrain_data.errors import AccountingError
from pretrain_data.formats.blocks import Block, BlockWriter
from pretrain_data.formats.megatron import MegatronReader
from pretrain_data.stage import Shard
from pretrain_data.stages.export import Explode, block_numbers, phase_name
from pretrain_data.tokenizers import load_saved, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tokenizer") / "encoder.json"
    load_tokenizer("default").save(path)
    return str(path)


def test_a_use_at_the_very_place_where_a_block_begins() -> None:
    # Blocks 0 and 1 of phase 0, block 2 of phase 1, block 3 of validation, whose places are the lowest.
    blocks = [
        Block(0, "main", 0, (0.1, "b", 0)),
        Block(1, "main", 90, (0.5, "d", 1)),
        Block(2, "anneal", 0, (1.25, "a", 0)),
        Block(3, "validation", 0, (-1.0, "a", 0)),
    ]
    position = np.array([0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 0.9, 1.25, 7.0, -1.0, -0.2])
    doc_id = pa.array(["b", "a", "c", "d", "d", "e", "a", "a", "a", "a", "z"])
    use = np.array([0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 0])
    assert block_numbers(blocks, position, doc_id, use).tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3]


def test_phases_have_names() -> None:
    assert [phase_name(["main", "anneal"], n) for n in (-1, 0, 1, 2)] == ["validation", "main", "anneal", "phase-2"]


def test_every_use_becomes_a_row(tokenizer: str) -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "doc_id": ["a", "b", "c"],
            "text": ["甲", "乙", "丙"],
            "tokens": pa.array([1, 2, 3], pa.int32()),
            "positions": pa.array([[0.5, 0.75], None, [0.25]], pa.list_(pa.float64())),
        }
    )
    rows = pa.Table.from_batches(Explode(tokenizer, 1, ("text",))(iter([batch, batch]), Shard("s", ()))).to_pydict()
    assert rows["doc_id"] == ["a", "a", "c"] * 2
    assert rows["use"] == [0, 1, 0] * 2
    assert rows["position"] == [0.5, 0.75, 0.25] * 2
    assert rows["tokens"] == [1, 1, 3] * 2
    assert rows["text"] == ["甲", "甲", "丙"] * 2
    assert rows["row"] == [0, 0, 2, 3, 3, 5]


def test_without_a_mix_every_document_is_placed_once(tokenizer: str) -> None:
    batch = pa.RecordBatch.from_pydict({"doc_id": ["a", "b"], "text": ["hello world", ""]})
    [rows] = Explode(tokenizer, 1, ())(iter([batch]), Shard("s", ()))
    [again] = Explode(tokenizer, 2, ())(iter([batch]), Shard("s", ()))
    assert rows["tokens"].to_pylist() == [len(load_saved(tokenizer).encode(["hello world"])[0]), 0]
    assert all(0 <= p < 1 for p in rows["position"].to_pylist())
    assert rows["position"] != again["position"], "another seed, another order"


def incoming(tokenizer: str, count: int = 10_000) -> pa.RecordBatch:
    texts = [f"第{i}篇文档 document {i}" for i in range(count)]
    lengths = [len(ids) for ids in load_saved(tokenizer).encode(texts)]
    return pa.RecordBatch.from_pydict(
        {
            "position": pa.array(np.arange(count) / count),
            "doc_id": [f"d{i:05d}" for i in range(count)],
            "use": pa.array(np.zeros(count), pa.int32()),
            "tokens": pa.array(lengths, pa.int64()),
            "shard": ["s"] * count,
            "row": pa.array(np.arange(count), pa.int64()),
            "text": pa.array(texts, pa.large_string()),
            "channel": ["zh" if i % 3 else "code" for i in range(count)],
            "block": pa.array((np.arange(count) >= 6000).astype(np.int32)),
        }
    )


SCHEMA = pa.schema([("text", pa.large_string()), ("channel", pa.string())])


def write(out: Path, tokenizer: str, batch: pa.RecordBatch, step: int) -> dict[str, bytes]:
    second = int((np.asarray(batch["tokens"])[:6000] + 1).sum())
    blocks = (Block(0, "main", 0, (0.0, "d00000", 0)), Block(1, "main", second, (0.6, "d06000", 0)))
    writer = BlockWriter(out, blocks, tokenizer, True, False, SCHEMA)
    list(writer(batch.slice(i, step) for i in range(0, batch.num_rows, step)))
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_bytes_depend_on_the_rows_alone(tmp_path: Path, tokenizer: str) -> None:
    batch = incoming(tokenizer)
    files = write(tmp_path / "a", tokenizer, batch, 4096)
    assert files == write(tmp_path / "b", tokenizer, batch, 777)
    assert not [name for name in files if "/." in name], "nothing is left under a working name"
    tokens, offset = np.asarray(batch["tokens"]), 0
    for block, part in ((0, tokens[:6000]), (1, tokens[6000:])):
        record = json.loads(files[f"blocks/part-0000{block}.json"])
        assert (record["documents"], record["tokens"], record["offset"]) == (len(part), part.sum(), offset)
        assert sum(documents for documents, _ in record["channels"].values()) == len(part)
        table = pq.read_table(tmp_path / "a" / "documents" / f"part-0000{block}.parquet")
        assert table["offset"].to_pylist() == (offset + np.cumsum(part + 1) - (part + 1)).tolist()
        reader = MegatronReader(tmp_path / "a" / "megatron" / "main" / f"part-0000{block}")
        assert (reader.lengths == part + 1).all()
        offset += int((part + 1).sum())


def test_other_token_counts_than_the_mix_are_refused(tmp_path: Path, tokenizer: str) -> None:
    batch = incoming(tokenizer)
    wrong = batch.set_column(3, "tokens", pa.array(np.asarray(batch["tokens"]) + 1))
    with pytest.raises(AccountingError, match="tokenizer"):
        write(tmp_path, tokenizer, wrong, 4096)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()], "neither blocks nor what was begun"
