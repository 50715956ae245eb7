"""The trace against a brute-force reader of the blocks: 1,000 places, every document, a planted bad block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretrain_data.errors import InputError
from pretrain_data.formats.blocks import Block, BlockWriter, write_manifest
from pretrain_data.tokenizers import load_tokenizer
from pretrain_data.trace import Trace

ROWS, BLOCKS = 12_000, 12
BAD = 7  # this block's documents have many newlines
ODD = 5_500  # this document alone is garbled


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export")
    load_tokenizer("default").save(out / "tokenizer" / "encoder.json")
    random = np.random.default_rng(8)
    tokens = random.integers(1, 400, ROWS)
    number = np.arange(ROWS) // (ROWS // BLOCKS)
    newlines = np.where(number == BAD, 0.6, 0.1)
    garbled = np.where(np.arange(ROWS) == ODD, 0.9, 0.0)
    ids = [f"d{i % 9000:05d}" for i in range(ROWS)]  # the first 3,000 documents are used twice
    batch = pa.RecordBatch.from_pydict(
        {
            "position": np.arange(ROWS) / ROWS,
            "doc_id": ids,
            "use": pa.array(np.arange(ROWS) // 9000, pa.int32()),
            "tokens": pa.array(tokens, pa.int64()),
            "shard": ["part-00000"] * ROWS,
            "row": pa.array(np.arange(ROWS) % 9000, pa.int64()),
            "text": pa.array(["文"] * ROWS, pa.large_string()),
            "channel": ["zh" if i % 3 else "code" for i in range(ROWS)],
            "origin": [f"crawl.warc#{i % 9000}" for i in range(ROWS)],
            "similar_group": [f"g{i // 2}" for i in range(ROWS)],
            "signals": pa.array(
                [{"newline_share": n, "mojibake_share": g} for n, g in zip(newlines, garbled, strict=True)]
            ),
            "block": pa.array(number, pa.int32()),
        }
    )
    starts = np.concatenate(([0], np.cumsum(tokens + 1)))
    blocks = tuple(Block(k, "main", int(starts[k * (ROWS // BLOCKS)]), (k / BLOCKS, "", 0)) for k in range(BLOCKS))
    names = ("text", "channel", "origin", "similar_group", "signals")
    schema = pa.schema([batch.schema.field(name) for name in names])
    list(BlockWriter(out, blocks, str(out / "tokenizer" / "encoder.json"), False, False, schema)(iter([batch])))
    write_manifest(out, blocks, {"end_of_document": 0, "sequence_length": {"main": 64}})
    return out


@pytest.fixture(scope="module")
def stream(exported: Path) -> np.ndarray:
    """Brute force: the row of the whole order that holds each token."""
    tables = [pq.read_table(p, columns=["tokens"]) for p in sorted((exported / "documents").glob("*.parquet"))]
    return np.repeat(np.arange(ROWS), pa.concat_tables(tables)["tokens"].to_numpy() + 1)


def test_a_thousand_places(exported: Path, stream: np.ndarray) -> None:
    trace = Trace(exported)
    starts = [block["offset"] for block in trace.blocks]
    for place in np.random.default_rng(1).integers(0, len(stream), 1000).tolist():
        block = int(np.searchsorted(starts, place, side="right")) - 1
        [found] = trace.at(block, place - starts[block])
        row = int(stream[place])
        assert (found["doc_id"], found["use"]) == (f"d{row % 9000:05d}", row // 9000)
        assert found["origin"] == f"crawl.warc#{row % 9000}"
        assert found["input"] == {"shard": "part-00000", "row": row % 9000}


def test_steps_over_the_ends_of_blocks(exported: Path, stream: np.ndarray) -> None:
    trace = Trace(exported)
    size = 64 * 128
    for step in range(len(stream) // size):
        found = trace.step(step, 64, 128)
        rows = list(dict.fromkeys(stream[step * size : (step + 1) * size].tolist()))
        assert [(d["doc_id"], d["use"]) for d in found] == [(f"d{r % 9000:05d}", r // 9000) for r in rows]
        groups = [r // 2 for r in rows]
        assert [d["similar_here"] for d in found] == [groups.count(g) - 1 for g in groups]


def test_where_a_document_stands(exported: Path) -> None:
    trace = Trace(exported)
    offsets = np.concatenate([np.load(p)["offset"] for p in sorted((exported / "index").glob("*.npy"))])
    for row in (0, 2_999, 3_000, 8_999):
        places = [row, row + 9000] if row < 3000 else [row]
        found = trace.document(f"d{row:05d}")
        assert [d["offset"] for d in found] == offsets[places].tolist()
    assert trace.document("nowhere") == []


def test_what_is_out_of_the_ordinary(exported: Path) -> None:
    trace = Trace(exported)
    [odd] = trace.document(f"d{ODD:05d}")
    assert odd["unusual"].keys() == {"mojibake_share"}
    assert odd["stages"]["rules"] == {"newline_share": 0.1, "mojibake_share": 0.9}
    assert odd["stages"]["ingest"]["origin"] == f"crawl.warc#{ODD}"
    [next_one] = trace.document(f"d{ODD + 1:05d}")
    assert next_one["unusual"] == {}
    first, second, *_ = trace.suspicious()
    assert (first["block"], first["by"], first["value"], first["neighbours"]) == (BAD, "newline_share", 0.6, 0.1)
    assert second["unlike"] < first["unlike"] / 5


def test_duplicates_nearby(exported: Path) -> None:
    """Groups are pairs of neighbours: the other one begins where this one ends, or the other way round."""
    trace = Trace(exported)
    offsets = np.concatenate([np.load(p)["offset"] for p in sorted((exported / "index").glob("*.npy"))])
    for row in (4_000, 4_001, 8_999):
        [found] = trace.document(f"d{row:05d}")
        assert found["similar_in_block"] == 1
        assert found["nearest_similar"] == abs(offsets[row ^ 1] - offsets[row])


def test_places_that_do_not_exist(exported: Path) -> None:
    trace = Trace(exported)
    with pytest.raises(InputError, match="no block 12"):
        trace.at(BLOCKS, 0)
    with pytest.raises(InputError, match="outside"):
        trace.at(0, 10**9)
    with pytest.raises(InputError, match="has no token"):
        trace.step(10**6, 1024, 4096)
