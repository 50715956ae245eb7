"""Mix and export a made-up corpus, then read the blocks back and report what `mix` promises.

    python scripts/bench/mix.py OUT --docs 300000 [--partitions 2] [--block-tokens 500K]

The corpus: lognormal lengths, groups of similar documents whose sizes follow a Zipf law and one giant
group of 2 % of all documents, four channels of which one is repeated. Printed beside the order that was
exported: a plain shuffle of the same documents.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.commands import open_pipeline
from pretrain_data.kernels.spacing import smallest_gaps

WORDS = "the of model data token order training corpus 训练 语料 模型 数据 文本 顺序 相似 文档".split()
CHANNELS = ("zh-knowledge", "en-knowledge", "code", "math")
HELD = (0.4, 0.4, 0.15, 0.05)  # share of the groups
WEIGHTS = (0.35, 0.3, 0.2, 0.15)  # share of the budget


def make(folder: Path, docs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = np.zeros(docs, np.int64)  # group 0 is the giant one
    order = rng.permutation(docs)
    at, number = docs // 50, 1
    while at < docs:
        size = min(int(rng.pareto(1.1) + 1) + 1, 2000, docs - at) if rng.random() < 0.15 else 1
        group[order[at : at + size]] = number
        at, number = at + size, number + 1
    mean = np.exp(rng.normal(3.0, 1.0, number))
    length = np.clip(mean[group] * np.exp(rng.normal(0, 0.2, docs)), 2, 4000).astype(int)
    channel = rng.choice(len(CHANNELS), number, p=HELD)[group]
    pool = rng.choice(WORDS, 20_000)
    begin = rng.integers(0, len(pool) - 4000, docs)
    folder.mkdir(parents=True, exist_ok=True)
    step = 50_000
    for part, first in enumerate(range(0, docs, step)):
        rows = range(first, min(first + step, docs))
        table = {
            "id": [f"d{i}" for i in rows],
            "text": [" ".join(pool[begin[i] : begin[i] + length[i]]) for i in rows],
            "channel": [CHANNELS[channel[i]] for i in rows],
            "similar_group": [f"g{group[i]}" for i in rows],
        }
        pq.write_table(pa.table(table), folder / f"part-{part:05d}.parquet", compression="zstd")


def run(out: Path, docs: int, partitions: int, block_tokens: str) -> Path:
    parts = [
        {"name": name, "weight": weight, "where": {"channel": name}}
        for name, weight in zip(CHANNELS, WEIGHTS, strict=True)
    ]
    stages = {
        "mix": {"input": "in", "phases": [{"name": "main", "max_epochs": 4, "mixture": parts, "budget": docs * 20}]},
        "export": {"block_tokens": block_tokens},
    }
    config = {
        "workspace": f"w{partitions}",
        "spark": {"master": "local[2]", "partitions": partitions, "conf": {"spark.sql.shuffle.partitions": partitions}},
        "stages": stages,
    }
    path = out / f"c{partitions}.yaml"
    path.write_text(json.dumps(config))
    for outcome in open_pipeline(path).run(force=True):
        print(f"{outcome.stage}: {outcome.manifest['seconds']} s")
    return out / f"w{partitions}" / "export"


def spread(label: str, group: np.ndarray, size: np.ndarray) -> None:
    total = int(size.sum())
    _, uses, _, ratio = smallest_gaps(group, np.cumsum(size) - size, total)
    wide = len(group) / uses >= 200
    for name, part in (("ideal gap >= 200 documents", ratio[wide]), ("nearer", ratio[~wide])):
        if len(part):
            figures = f"median {np.median(part):.4f}, p1 {np.percentile(part, 1):.4f}, min {part.min():.4f}"
            print(f"{label}: {name}: {len(part)} groups, {figures}")


def report(export: Path, budget: int) -> None:
    columns = ["block", "offset", "channel", "similar_group", "tokens", "doc_id"]
    files = sorted((export / "documents").glob("*.parquet"))
    table = pa.concat_tables(pq.read_table(file, columns=columns) for file in files)
    tokens = table["tokens"].to_numpy().astype(np.int64)
    group = np.unique(table["similar_group"].to_pylist(), return_inverse=True)[1]
    channel = np.array([CHANNELS.index(c) for c in table["channel"].to_pylist()])
    block = table["block"].to_numpy()
    offset = table["offset"].to_numpy()
    assert np.array_equal(offset, np.cumsum(tokens + 1) - (tokens + 1)), "offsets are not those of the stream"
    print(f"budget: {tokens.sum() / budget - 1:+.5%}")
    for i, name in enumerate(CHANNELS):
        print(f"  {name}: {tokens[channel == i].sum() / (budget * WEIGHTS[i]) - 1:+.5%}")
    spread("exported", group, tokens)
    shuffled = np.random.default_rng(0).permutation(len(tokens))
    spread("shuffled", group[shuffled], tokens[shuffled])
    share = np.zeros((block.max() + 1, len(CHANNELS)))
    np.add.at(share, (block, channel), tokens)
    whole = share[:-1] / share[:-1].sum(1, keepdims=True)
    print(f"blocks: {len(share)}, largest deviation of a channel's share {np.abs(whole - np.array(WEIGHTS)).max():.4f}")
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    print(f"bytes of all blocks: {digest.hexdigest()[:16]}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--docs", type=int, default=300_000)
    arguments.add_argument("--partitions", type=int, default=2)
    arguments.add_argument("--block-tokens", default="500K")
    arguments.add_argument("--seed", type=int, default=0)
    a = arguments.parse_args()
    if not (a.out / "in").exists():
        make(a.out / "in", a.docs, a.seed)
    started = time.time()
    export = run(a.out, a.docs, a.partitions, a.block_tokens)
    print(f"mix and export: {time.time() - started:.0f} s")
    report(export, a.docs * 20)


if __name__ == "__main__":
    main()
