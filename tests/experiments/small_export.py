"""A small export made by hand: Markov text of a few channels as token files, no Spark needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.formats.megatron import MegatronWriter

VOCABULARY, END = 64, 63
CHANNELS = {"zh-knowledge": 0.3, "en-knowledge": 0.4, "code": 0.2, "math": 0.1}


def write_export(out: Path, documents: int = 600, blocks: int = 3, holdout: bool = True, seed: int = 0) -> None:
    """`documents` training documents over `blocks` blocks; a tenth of them once more, and a validation block."""
    rng = np.random.default_rng(seed)
    tables = {c: rng.dirichlet(np.full(8, 0.3), 12) for c in CHANNELS}  # 12 states of 8 tokens each
    bases = {c: 5 * i for i, c in enumerate(CHANNELS)}

    def text(channel: str, length: int) -> np.ndarray:
        states = rng.integers(0, 12, length)
        states[1::2] = states[: length // 2 * 2 : 2]  # pairs of the same state: something to learn
        return np.array([bases[channel] + rng.choice(8, p=tables[channel][s]) + s % 3 * 12 for s in states])

    records, offset, used = [], 0, 0
    names = ["validation"] * holdout + ["main"] * blocks
    for number, phase in enumerate(names):
        count = documents // 10 if phase == "validation" else documents // blocks
        channel = rng.choice(list(CHANNELS), count, p=list(CHANNELS.values())).tolist()
        tokens = [text(c, int(n)) for c, n in zip(channel, rng.integers(20, 120, count), strict=True)]
        ids = [f"{phase}-{used + i}" for i in range(count)]
        used += count
        if number == len(names) - 1:  # the last block holds some documents of the first again
            first = pq.read_table(out / "documents" / f"part-{int(holdout):05d}.parquet")
            again = np.arange(0, first.num_rows, 10)
            ids += first["doc_id"].take(again).to_pylist()
            channel += first["channel"].take(again).to_pylist()
            tokens += [np.full(n, 1) for n in first["tokens"].take(again).to_pylist()]
        file = out / "documents" / f"part-{number:05d}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        lengths = [len(t) for t in tokens]
        table = {
            "doc_id": ids,
            "channel": channel,
            "tokens": pa.array(lengths, pa.int32()),
            "quality_score": pa.array(rng.random(len(ids)), pa.float32()),
            "similar_group": [i if rng.random() < 0.8 else "g7" for i in ids],
        }
        pq.write_table(pa.table(table), file)
        prefix = out / "megatron" / phase / f"part-{number:05d}"
        with MegatronWriter(prefix, np.dtype(np.uint16), END) as writer:
            writer.add(np.concatenate(tokens).astype(np.uint16), np.concatenate(([0], np.cumsum(lengths))))
        record = {"block": number, "phase": phase, "offset": offset, "documents": len(ids), "tokens": sum(lengths)}
        records.append(record)
        offset = 0 if phase == "validation" else offset + sum(lengths) + len(ids)
    about = {"end_of_document": END, "vocabulary_size": VOCABULARY, "sequence_length": {"main": 32}, "blocks": records}
    (out / "blocks.json").write_text(json.dumps(about), encoding="utf-8")
