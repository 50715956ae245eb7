"""The reader against a stream put together by hand: every rank, resumed, over the ends of blocks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pretrain_data import open_blocks
from pretrain_data.errors import InputError
from pretrain_data.formats.blocks import Block, BlockWriter, write_manifest
from pretrain_data.kernels.packing import best_fit
from pretrain_data.tokenizers import load_saved, load_tokenizer

LENGTH = 16
CUT = 60  # first document of the second block
TEXTS = [f"第{i}篇：混合 mixed {'text 文本 ' * (i % 13)}end" for i in range(100)]
CHANNELS = ["zh" if i % 3 else "code" for i in range(100)]


def export(out: Path, megatron: bool) -> np.ndarray:
    """Two blocks of 60 and 40 documents; returns the tokens of their stream."""
    tokenizer = load_tokenizer("default")
    saved = out / "tokenizer" / "encoder.json"
    tokenizer.save(saved)
    ids = load_saved(str(saved)).encode(TEXTS)
    tokens = np.array([len(i) for i in ids])
    batch = pa.RecordBatch.from_pydict(
        {
            "position": np.arange(100) / 100,
            "doc_id": [f"d{i:03d}" for i in range(100)],
            "use": pa.array(np.zeros(100), pa.int32()),
            "tokens": pa.array(tokens, pa.int64()),
            "shard": ["s"] * 100,
            "row": pa.array(np.arange(100), pa.int64()),
            "text": pa.array(TEXTS, pa.large_string()),
            "channel": CHANNELS,
            "block": pa.array((np.arange(100) >= CUT).astype(np.int32)),
        }
    )
    second = int((tokens[:CUT] + 1).sum())
    blocks = (Block(0, "main", 0, (0.0, "d000", 0)), Block(1, "main", second, (0.6, "d060", 0)))
    schema = pa.schema([("text", pa.large_string()), ("channel", pa.string())])
    list(BlockWriter(out, blocks, str(saved), megatron, False, schema)(iter([batch])))
    about = {"end_of_document": tokenizer.end_of_document, "sequence_length": {"main": LENGTH}}
    write_manifest(out, blocks, about)
    return np.concatenate([[*i, tokenizer.end_of_document] for i in ids])


@pytest.fixture(scope="module", params=[True, False], ids=["megatron", "text"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    out = tmp_path_factory.mktemp("export")
    return out, export(out, request.param)


def owners() -> tuple[np.ndarray, list[int]]:
    lengths = [len(i) + 1 for i in load_tokenizer("default").encode(TEXTS)]
    return np.repeat(np.arange(100), lengths), lengths


def test_concatenated_sequences_are_the_stream(exported: tuple[Path, np.ndarray]) -> None:
    out, stream = exported
    owner, _ = owners()
    sequences = list(open_blocks(out))
    assert len(sequences) == len(stream) // LENGTH
    assert np.concatenate([s.tokens for s in sequences]).tolist() == stream[: len(sequences) * LENGTH].tolist()
    for number, sequence in enumerate(sequences):
        part = owner[number * LENGTH : (number + 1) * LENGTH]
        starts = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist()]
        assert sequence.starts.tolist() == starts
        assert sequence.doc_ids == [f"d{part[s]:03d}" for s in starts]
        assert sequence.channels == [CHANNELS[part[s]] for s in starts]
        wanted = {c: sum(CHANNELS[d] == c for d in part) for c in {CHANNELS[d] for d in part}}
        assert sequence.channel_tokens() == wanted


@pytest.mark.parametrize("packing", ["concatenate", "best-fit"])
def test_ranks_share_the_sequences_and_resume_with_another_number_of_ranks(
    exported: tuple[Path, np.ndarray], packing: str
) -> None:
    out, _ = exported
    whole = [s.tokens.tolist() for s in open_blocks(out, packing=packing)]  # type: ignore[arg-type]
    readers = [open_blocks(out, packing=packing, rank=r, world_size=3) for r in range(3)]  # type: ignore[arg-type]
    iterators = [iter(reader) for reader in readers]
    seen = [next(i).tokens.tolist() for _ in range(4) for i in iterators]
    state = readers[0].state_dict()
    assert state == {"position": 12} == readers[2].state_dict()
    rest = [
        list(open_blocks(out, packing=packing, rank=r, world_size=2, position=12))  # type: ignore[arg-type]
        for r in range(2)
    ]
    seen += [s.tokens.tolist() for s in sorted([*rest[0], *rest[1]], key=lambda s: s.number)]
    assert seen == whole


def test_best_fit_gives_every_token_once_and_cuts_only_what_is_too_long(exported: tuple[Path, np.ndarray]) -> None:
    out, stream = exported
    _, lengths = owners()
    ends = np.cumsum(lengths)
    documents = {f"d{i:03d}": stream[ends[i] - lengths[i] : ends[i]].tolist() for i in range(100)}
    found: dict[str, list[list[int]]] = {}
    for sequence in open_blocks(out, packing="best-fit"):
        assert len(sequence.tokens) == LENGTH
        bounds = [*sequence.starts.tolist(), sequence.used]
        for doc_id, start, end in zip(sequence.doc_ids, bounds, bounds[1:], strict=False):
            found.setdefault(doc_id, []).append(sequence.tokens[start:end].tolist())
    assert found.keys() == documents.keys()
    for doc_id, pieces in found.items():
        whole = documents[doc_id]
        assert sorted(pieces) == sorted(whole[k : k + LENGTH] for k in range(0, len(whole), LENGTH))


def test_best_fit_takes_the_fullest_sequence_that_holds_it() -> None:
    # By hand, capacity 10: 7 opens A (3 left), 6 opens B (4 left), 4 fills B, 3 fills A, 2 opens C;
    # 25 gives two full sequences and a 5, which comes after 6 and opens its own: then 2 goes there.
    pieces = best_fit(np.array([7, 6, 3, 4, 25, 2]), 10)
    together: dict[int, list[int]] = {}
    for document, sequence in zip(pieces.document.tolist(), pieces.sequence.tolist(), strict=True):
        together.setdefault(sequence, []).append(document)
    assert sorted(map(sorted, together.values())) == [[0, 2], [1, 3], [4], [4], [4, 5]]


def test_blocks_added_while_reading_are_taken_up(tmp_path: Path) -> None:
    stream = export(tmp_path, True)
    manifest = tmp_path / "blocks.json"
    whole = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**whole, "blocks": whole["blocks"][:1]}))
    reader = open_blocks(tmp_path)
    first = list(reader)
    assert 0 < len(first) < len(stream) // LENGTH
    manifest.write_text(json.dumps(whole))
    assert [s.number for s in reader] == list(range(len(first), len(stream) // LENGTH))


def test_what_can_not_be_read_is_said(exported: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"blocks\.json"):
        open_blocks(tmp_path)
    with pytest.raises(InputError, match="no phase 'anneal'"):
        open_blocks(exported[0], phase="anneal")
    with pytest.raises(InputError, match="rank 2 of 2"):
        open_blocks(exported[0], rank=2, world_size=2)
