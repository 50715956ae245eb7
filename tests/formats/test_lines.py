"""Compressed lines: several frames are one file, and one that is cut off says so."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard

from pretrain_data.formats import lines
from pretrain_data.stage import Shard, Unit
from pretrain_data.stages.ingest import IngestConfig, IngestStage

ROWS = [f'{{"text": "第 {i} 行 line"}}\n'.encode() for i in range(2000)]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_all_members_are_read(tmp_path: Path, suffix: str, pack: object) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    half = len(ROWS) // 2
    path.write_bytes(pack(b"".join(ROWS[:half])) + pack(b"") + pack(b"".join(ROWS[half:])))  # type: ignore[operator]
    with lines.open_lines(str(path)) as file:
        assert list(file) == ROWS


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_what_stands_before_the_cut_is_kept(tmp_path: Path, suffix: str, pack: object) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    whole = pack(b"".join(ROWS[:700])) + pack(b"".join(ROWS[700:]))  # type: ignore[operator]
    path.write_bytes(whole[:-10])
    unit = Unit(str(path), "jsonl", label="s/a")
    found = list(IngestStage(IngestConfig(input="x")).process(iter(()), Shard("p", (unit,))))
    rows = [row for done in found for row in done.batch.to_pylist()]
    rules = [rule for done in found for rule in (done.rule.to_pylist() if done.rule is not None else [])]
    assert rules.count("broken_file") == 1
    assert rules[-1] == "broken_file"
    texts = [row["text"] for row in rows[:-1]]
    assert texts == [f"第 {i} 行 line" for i in range(len(texts))]
    assert len(texts) >= 700
