"""Foreign Parquet and JSONL become documents, or counted rows with the reason; never a crash."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
import zstandard

from pretrain_data.dataset import Dataset, read_shard
from pretrain_data.errors import InputError
from pretrain_data.formats import foreign
from pretrain_data.stage import Processed, Unit

ROWS = [
    {"id": "a", "text": "first text", "lang": "en", "stars": 3},
    {"id": 7, "text": "第二篇，没有空格。", "lang": "zh", "stars": None},
    {"text": "no\u0000id 全角ＡＢＣ", "lang": "zh", "stars": 5},
]


def read(spec: Path) -> tuple[list[dict[str, Any]], list[tuple[str, str | None]]]:
    """Rows kept, and (rule, detail) of rows dropped."""
    gone: list[tuple[str, str | None]] = []

    def note(processed: Processed) -> None:
        assert processed.rule is not None
        details = processed.detail.to_pylist() if processed.detail is not None else [None] * len(processed.rule)
        gone.extend(zip(processed.rule.to_pylist(), details, strict=True))

    source = Dataset.open_input(str(spec), spec.parent)
    rows = [row for shard in source.shards for b in read_shard(shard, dropped=note) for row in b.to_pylist()]
    return rows, gone


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".parquet"])
def test_rows_become_documents(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    raw = "\n".join(json.dumps(r) for r in ROWS).encode()
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([{**r, "id": str(r["id"]) if "id" in r else None} for r in ROWS]), path)
    elif suffix.endswith(".gz"):
        path.write_bytes(gzip.compress(raw))
    elif suffix.endswith(".zst"):
        path.write_bytes(zstandard.compress(raw))
    else:
        path.write_bytes(raw)
    rows, gone = read(path)
    third = "2" if suffix == ".parquet" else "3"  # rows count from 0, lines from 1
    assert [r["source_id"] for r in rows] == ["a", "7", third]
    assert [r["text"] for r in rows] == ["first text", "第二篇，没有空格。", "noid 全角ＡＢＣ"]
    assert [r["stars"] for r in rows] == [3, None, 5]
    assert [r["lang"] for r in rows] == ["en", "zh", "zh"]
    assert gone == []
    first = "0" if suffix == ".parquet" else "1"
    assert rows[0]["origin"] == f"data{suffix}#{first}"
    expected = xxhash.xxh3_128_hexdigest(f"data{suffix}#{first}\0first text".encode())
    assert rows[0]["doc_id"] == expected


def test_bad_lines_are_counted_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    lines = [
        '{"text":"ok"}',
        '{"text": "cut',
        '{"other":1}',
        "",
        '{"text":null}',
        '{"text":5}',
        "[1]",
        '{"text":"\\ud800"}',
    ]
    path.write_text("\n".join(lines))
    rows, gone = read(path)
    assert [r["text"] for r in rows] == ["ok"]
    assert [rule for rule, _ in gone] == [
        "bad_json",
        "null_text",
        "null_text",
        "not_text",
        "bad_json",
        "bad_json",
    ]
    assert [str(detail).split(":")[1] for _, detail in gone] == ["2", "3", "5", "6", "7", "8"]


def test_a_line_without_end_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "LINE_BYTES", 100)
    path = tmp_path / "long.jsonl"
    path.write_text('{"text":"one"}\n{"text":"' + "x" * 1000 + '"}\n{"text":"two"}\n')
    rows, gone = read(path)
    assert [r["text"] for r in rows] == ["one", "two"]
    assert gone == [("line_too_long", "long.jsonl:2")]


def test_a_large_parquet_file_is_cut_between_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "SHARD_BYTES", 2000)
    table = pa.table({"id": [str(i) for i in range(100)], "text": [f"{i} " + "文本" * 40 for i in range(100)]})
    pq.write_table(table, tmp_path / "big.parquet", row_group_size=10, compression="none")
    source = Dataset.open_input(str(tmp_path), tmp_path)
    assert len(source.shards) > 3
    rows, _ = read(tmp_path)
    assert [r["source_id"] for r in rows] == [str(i) for i in range(100)]
    assert len({r["doc_id"] for r in rows}) == 100
    assert rows[57]["origin"] == "big.parquet#57"


def test_what_can_not_be_read_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file there"):
        Dataset.open_input("nowhere", tmp_path)
    (tmp_path / "x.parquet").write_text("not parquet")
    with pytest.raises(InputError, match=r"x\.parquet: not a Parquet file"):
        Dataset.open_input("x.parquet", tmp_path)
    pq.write_table(pa.table({"body": ["t"]}), tmp_path / "y.parquet")
    with pytest.raises(InputError, match=r"y\.parquet: has no column text"):
        Dataset.open_input("y.parquet", tmp_path)
    pq.write_table(pa.table({"text": ["t"], "tokens": ["many"]}), tmp_path / "z.parquet")
    with pytest.raises(InputError, match="column tokens is string, which isn't int32"):
        read(tmp_path / "z.parquet")


def test_bytes_that_are_not_utf8_are_replaced(tmp_path: Path) -> None:
    raw = pa.Array.from_buffers(pa.string(), 1, pa.array([b"ab\xffc"], pa.binary()).buffers())
    pq.write_table(pa.table({"text": raw}), tmp_path / "bytes.parquet")
    rows, _ = read(tmp_path / "bytes.parquet")
    assert rows[0]["text"] == "ab\ufffdc"


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text":"x"}')
    first = Dataset.open_input(str(tmp_path), tmp_path).fingerprint
    assert Dataset.open_input(str(tmp_path), tmp_path).fingerprint == first
    path.write_text('{"text":"xy"}')
    assert Dataset.open_input(str(tmp_path), tmp_path).fingerprint != first


def test_the_shared_broken_tables(shared_data: Path) -> None:
    broken = shared_data / "broken"
    rows, gone = read(broken / "bad.jsonl")
    assert [r["text"] for r in rows] == ["ok one", "ok two"]
    assert len(gone) == 5
    with pytest.raises(InputError, match=r"not_parquet\.parquet"):
        read(broken / "not_parquet.parquet")
    with pytest.raises(InputError, match=r"wrong_columns\.parquet.*text"):
        read(broken / "wrong_columns.parquet")
    rows, gone = read(broken / "null_and_dup_ids.parquet")
    assert len({r["doc_id"] for r in rows}) == 3
    assert [rule for rule, _ in gone] == ["null_text"]


@pytest.mark.parametrize("statistics", [True, False])
def test_the_footer_tells_how_many_documents_a_file_has(tmp_path: Path, statistics: bool) -> None:
    """As many as reading gives: nulls and NULs, several row groups, parts of a file; None where it can't tell."""
    texts = ["一", None, "two\0", "", None, "six"] * 5
    path = tmp_path / "a.parquet"
    for kind in (pa.string(), pa.large_string(), pa.binary(), pa.list_(pa.string())):
        values: list[Any] = [None if t is None else [t] for t in texts] if pa.types.is_nested(kind) else texts
        table = pa.table({"id": [str(i) for i in range(30)], "text": pa.array(values, kind)})
        pq.write_table(table, path, row_group_size=7, write_statistics=statistics)
        for start, end in ((0, None), (1, 3), (4, 5)):
            unit = Unit(str(path), "parquet", start, end)
            there = sum(p.batch.filter(p.rule.is_null()).num_rows for p in foreign.read_documents(unit))
            told = foreign.rows(unit)
            assert told == (there if statistics and kind in (pa.string(), pa.large_string()) else None)
    assert foreign.rows(Unit(str(path), "jsonl")) is None
