"""Megatron files give back the exact tokens, and have the layout that megatron-core documents."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from pretrain_data.formats.megatron import MegatronReader, MegatronWriter


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_tokens_come_back_with_their_end(tmp_path: Path, dtype: type) -> None:
    documents = [[1, 2, 3], [], [7], list(range(100))]
    with MegatronWriter(tmp_path / "x", np.dtype(dtype), 9) as writer:
        for part in (documents[:2], documents[2:]):
            offsets = np.concatenate(([0], np.cumsum([len(d) for d in part])))
            writer.add(np.array([t for d in part for t in d], np.uint32), offsets)
    reader = MegatronReader(tmp_path / "x")
    assert [reader[i].tolist() for i in range(len(reader))] == [[*d, 9] for d in documents]
    index = (tmp_path / "x.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    assert struct.unpack_from("<QB", index, 9) == (1, {np.uint16: 8, np.int32: 4}[dtype])
    assert (tmp_path / "x.bin").stat().st_size == (104 + 4) * np.dtype(dtype).itemsize


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "y.idx").write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a Megatron index"):
        MegatronReader(tmp_path / "y")


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.filterwarnings("ignore")
def test_megatron_core_reads_them(tmp_path: Path, dtype: type) -> None:
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    rng = np.random.default_rng(1)
    documents = [rng.integers(0, 60_000, size) for size in (5, 0, 1, 4097, 300)]
    with MegatronWriter(tmp_path / "x", np.dtype(dtype), 9) as writer:
        writer.add(
            np.concatenate(documents).astype(np.uint32), np.concatenate(([0], np.cumsum([len(d) for d in documents])))
        )
    read = indexed.IndexedDataset(str(tmp_path / "x"))
    assert [read[i].tolist() for i in range(len(read))] == [[*d.tolist(), 9] for d in documents]
    assert read.document_indices.tolist() == [0, 1, 2, 3, 4, 5]
    assert read[0].dtype == np.dtype(dtype)
    assert read.get(3, offset=4000, length=50).tolist() == documents[3][4000:4050].tolist()
