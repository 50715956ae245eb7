"""Mix and export a made-up corpus, then read the blocks back and report what `mix` promises.

    python scripts/bench/mix.py OUT --docs 300000 [--partitions 2] [--block-tokens 500K]
    python scripts/bench/mix.py OUT --docs 300000 --growing     # 60 % of it on a first night, all on a second

The corpus: lognormal lengths, groups of similar documents whose sizes follow a Zipf law and one giant
group of 2 % of all documents, four channels of which one is repeated. Printed beside the order that was
exported: a plain shuffle of the same documents. 1,000 random tokens are then traced and held against a reader
of the whole stream. With --growing the blocks of the first night are handed out, so that they stay; a run that
was ended between the nights goes on with the second.
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
from pretrain_data.trace import Trace

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


def run(out: Path, docs: int, partitions: int, block_tokens: str, share: float | None = None) -> Path:
    """Mix and export; with `share`, a night of --growing over that share of the input files."""
    parts = [
        {"name": name, "weight": weight, "where": {"channel": name}}
        for name, weight in zip(CHANNELS, WEIGHTS, strict=True)
    ]
    source, workspace = "in", f"w{partitions}"
    mix: dict[str, object] = {}
    if share is not None:
        source, workspace = f"in-{share}", f"growing{partitions}"
        (out / source).mkdir(exist_ok=True)
        files = sorted((out / "in").glob("*.parquet"))
        for file in files[: round(share * len(files))]:
            if not (out / source / file.name).exists():
                (out / source / file.name).hardlink_to(file)
        mix = {"handed_out": "export"}
    budget = round(docs * 20 * (share or 1.0))
    phases = [{"name": "main", "max_epochs": 4, "mixture": parts, "budget": budget}]
    stages = {"mix": {"input": source, "phases": phases, **mix}, "export": {"block_tokens": block_tokens}}
    config = {
        "workspace": workspace,
        "spark": {"master": "local[2]", "partitions": partitions, "conf": {"spark.sql.shuffle.partitions": partitions}},
        "stages": stages,
    }
    path = out / f"c{partitions}.yaml"
    path.write_text(json.dumps(config))
    for outcome in open_pipeline(path).run(force=share is None):
        use = outcome.manifest["usage"]
        peaks = ", ".join(f"{who} {use[f'{who}_peak_bytes'] / 2**20:,.0f} MiB" for who in ("driver", "jvm", "worker"))
        took = f"{outcome.manifest['seconds']:.0f} s, {use['cpu_seconds']:.0f} CPU s, at most {peaks}"
        print(f"{outcome.stage}: {outcome.state}, {took}", flush=True)
    return out / workspace / "export"


def grow(out: Path, docs: int, partitions: int, block_tokens: str) -> Path:
    """The two nights; asserts that the first one's blocks stay as they are."""
    export = out / f"growing{partitions}" / "export"
    seen = out / f"first-night{partitions}.json"
    if not seen.exists():
        run(out, docs, partitions, block_tokens, 0.6)
        seen.write_text(json.dumps(sums(export)))
    run(out, docs, partitions, block_tokens, 1.0)
    before, after = json.loads(seen.read_text()), sums(export)
    assert {name: after[name] for name in before} == before, "a block that was handed out has changed"
    print(f"blocks: {len(before)} handed out and unchanged, {len(after) - len(before)} added")
    return export


def sums(export: Path) -> dict[str, str]:
    """SHA-256 of each block's documents."""
    files = sorted((export / "documents").glob("*.parquet"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


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
    trace(export, table, tokens)


def trace(export: Path, table: pa.Table, tokens: np.ndarray) -> None:
    """1,000 random tokens, a step and documents, against the whole stream read by brute force."""
    row_of = np.repeat(np.arange(len(tokens), dtype=np.int32), tokens + 1)
    rng = np.random.default_rng(1)
    ids = table["doc_id"]
    took: dict[str, list[float]] = {"place": [], "step": [], "document": []}
    wrong = 0
    for at in rng.integers(0, len(row_of), 1000).tolist():
        begin = time.perf_counter()
        places = Trace(export)  # opened for each query, as the command does
        starts = [block["offset"] for block in places.blocks]
        block = int(np.searchsorted(starts, at, side="right")) - 1
        [found] = places.at(block, at - starts[block])
        took["place"].append(time.perf_counter() - begin)
        wrong += found["doc_id"] != ids[int(row_of[at])].as_py()
    for number in range(5):
        size = 64 * 4096
        step = int(rng.integers(0, len(row_of) // size))
        begin = time.perf_counter()
        rows = Trace(export).step(step, 64, 4096)
        took["step"].append(time.perf_counter() - begin)
        expected = dict.fromkeys(row_of[step * size : (step + 1) * size].tolist())
        wrong += [d["doc_id"] for d in rows] != [ids[row].as_py() for row in expected]
        one = ids[int(rng.integers(0, len(ids)))].as_py()
        begin = time.perf_counter()
        places_ = [d["offset"] for d in Trace(export).document(one)]
        took["document"].append(time.perf_counter() - begin)
        if number == 0:  # the scan over all ids in Python is what the index saves
            wrong += places_ != [table["offset"][i].as_py() for i, d in enumerate(ids.to_pylist()) if d == one]
    for kind, seconds in took.items():
        figures = f"median {np.median(seconds):.3f} s, slowest {max(seconds):.3f} s"
        print(f"trace by {kind}: {len(seconds)} queries, {figures}")
    print(f"trace: {wrong} answers differ from the brute-force reader's")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--docs", type=int, default=300_000)
    arguments.add_argument("--partitions", type=int, default=2)
    arguments.add_argument("--block-tokens", default="500K")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--growing", action="store_true", help="in two nights, the first one's blocks handed out")
    a = arguments.parse_args()
    if not (a.out / "in").exists():
        make(a.out / "in", a.docs, a.seed)
    started = time.time()
    export = (grow if a.growing else run)(a.out, a.docs, a.partitions, a.block_tokens)
    print(f"mix and export: {time.time() - started:.0f} s")
    report(export, a.docs * 20)


if __name__ == "__main__":
    main()
