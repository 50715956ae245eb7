"""From texts to verified pairs: signatures, band keys, comparison of what meets in a bucket."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.dataset import on_each, read_marked
from pretrain_data.dedup import withdrawn
from pretrain_data.dedup.buckets import Keyed, Layout, pairs, write_parquet
from pretrain_data.dedup.config import DedupConfig
from pretrain_data.dedup.index import Index, band_keys, sorted_keys
from pretrain_data.dedup.members import Sums, measured, sums, total
from pretrain_data.dedup.store import CONTENT, Store, flush
from pretrain_data.graph import distributed
from pretrain_data.kernels import datasketch_backend, lsh, minhash
from pretrain_data.stage import Shard, StageRun
from pretrain_data.tokenizers import load_tokenizer

PAIRS = "candidates"
EDGES = "edges"


def characters(batch: pa.RecordBatch, config: DedupConfig) -> Any:
    """For which documents every letter is a token."""
    if config.tokens == "unified" or "lang" not in batch.schema.names:
        return np.zeros(batch.num_rows, np.bool_)
    found = pc.is_in(batch.column("lang"), pa.array(config.character_languages))
    return found.to_numpy(zero_copy_only=False).astype(np.bool_)


def sign(
    run: StageRun,
    shards: tuple[Shard, ...],
    store: Store,
    config: DedupConfig,
    bands: lsh.Bands,
    gone: frozenset[str],
) -> list[dict[str, Any]]:
    """Write signatures and contents of the documents of `shards` to the store, and what decisions need to `meta`.

    Where there is an index to look up in, their keys as well, sorted, a file a shard. Documents whose id is in `gone`
    are marked, and take part in nothing. Returns the sums of the others, for `curve.Totals`.
    """
    criteria = [c.column for c in config.survivor]
    meta, keys = run.scratch / "meta", run.scratch / "keys"
    for folder in (meta, keys):
        folder.mkdir(exist_ok=True)
    saved = run.scratch / "tokenizer.json"
    load_tokenizer(config.tokenizer).save(saved)
    # A curve is drawn, and tokens counted for it, where the run looks at the whole.
    share = 0.0 if config.incremental else config.token_sample / max(1, store.documents)
    k, n, incremental = config.signature, config.shingle, config.incremental
    make = datasketch_backend.sign if config.backend == "datasketch" else minhash.sign

    def work(batches: Iterator[pa.RecordBatch], shard: Shard) -> Sums:
        first = at = shard.first_row or 0
        signatures, contents, skipped = store.signatures("r+"), store.contents("r+"), store.skipped("r+")
        kept: list[pa.RecordBatch] = []
        groups: Sums = {}
        for batch in batches:
            made, _, hashes = make(batch.column("text"), characters(batch, config), k, n, simplified=config.simplified)
            rows = slice(at, at + batch.num_rows)
            signatures[rows] = made
            contents[rows] = np.ascontiguousarray(hashes).view(CONTENT).reshape(-1)
            skipped[rows] = withdrawn.among(batch, gone)
            about = measured(batch, str(saved), share)
            kept.append(about.append_column(withdrawn.RULE, pa.array(skipped[rows])))
            sums(about if not skipped[rows].any() else about.filter(pa.array(~skipped[rows])), groups)
            at += batch.num_rows
        name = shard.name.replace("/", "--")
        if incremental:
            stay = np.flatnonzero(~skipped[first:at]) + first
            np.save(keys / f"{name}.npy", np.sort(band_keys(signatures[stay], contents[stay], bands)[0]))
        flush(signatures, contents, skipped)
        if kept:
            pq.write_table(pa.Table.from_batches(kept), meta / f"{name}.parquet")
        return groups

    columns = ["doc_id", "source_id", "text", "lang", "format", "channel", "tokens", *criteria]
    return total(run.each(list(dict.fromkeys(columns)), work, shards))


def candidates(
    run: StageRun,
    shards: tuple[Shard, ...],
    before: tuple[Shard, ...],
    store: Store,
    config: DedupConfig,
    bands: lsh.Bands,
) -> Path:
    """The distinct candidate pairs among documents of `shards`, and of them with those that the index holds."""
    first_new = (shards[0].first_row or 0) if shards else 0
    wanted, index = run.scratch / "wanted.npy", Index(run.output)
    if before:
        paths = [run.scratch / "keys" / f"{s.name.replace('/', '--')}.npy" for s in shards]
        sorted_keys([np.load(path, mmap_mode="r") for path in paths], wanted)

    def keys(shard: Shard) -> Iterator[Keyed]:
        first, end = shard.first_row or 0, (shard.first_row or 0) + (shard.rows or 0)
        if first < first_new:
            yield index.look_up(shard, wanted, store, config.anchors + config.window)
            return
        signatures, contents, skipped = store.signatures(), store.contents(), store.skipped()
        for at in range(first, end, _ROWS):
            rows = np.flatnonzero(~skipped[at : min(at + _ROWS, end)]) + at
            found, places = band_keys(signatures[rows], contents[rows], bands)
            yield found, rows[places]

    path, name = run.scratch / PAIRS, "pairs_left_out_of_large_buckets"
    layout = Layout.of(store.documents, bands.number, run.partitions)
    left_out = pairs(run, before + shards, keys, layout, config.anchors, config.window, first_new, path)
    run.metrics[name] = run.metrics.get(name, 0) + left_out
    return path


def write_sets(run: StageRun, shards: tuple[Shard, ...], store: Store, config: DedupConfig, candidates: Path) -> None:
    """Second pass: the shingle sets of the documents that are in a candidate pair, and of no others.

    Of our own shards, those of earlier days among them, only the row groups that hold such a document are read.
    """
    wanted = np.zeros(store.documents + 1, np.bool_)
    for file in sorted(candidates.glob("*.parquet")):
        for batch in _batches(file):
            wanted[batch.column("first").to_numpy()] = True
            wanted[batch.column("second").to_numpy()] = True
    flags = store.folder / "wanted.npy"
    np.save(flags, wanted)
    n = config.shingle
    some = tuple(s for s in shards if wanted[(s.first_row or 0) : (s.first_row or 0) + (s.rows or 0)].any())

    def work(shard: Shard) -> int:
        start = shard.first_row or 0
        marked = np.array(np.load(flags, mmap_mode="r")[start : start + (shard.rows or 0)])
        numbers, values, sizes, read = [], [], [np.zeros(1, np.int64)], 0
        for at, batch in read_marked(shard, ["text", "lang"], marked):
            read += batch.num_rows
            mask = marked[at : at + batch.num_rows]
            numbers.append(np.flatnonzero(mask) + at + start)
            part = batch.filter(pa.array(mask))
            found, offsets = minhash.shingle_sets(part.column("text"), characters(part, config), n, config.simplified)
            values.append(found)
            sizes.append(np.diff(offsets))
        if numbers:
            store.write_sets(shard, np.concatenate(numbers), np.concatenate(values), np.cumsum(np.concatenate(sizes)))
        return read

    name = "documents_read_for_sets"
    run.metrics[name] = run.metrics.get(name, 0) + sum(on_each(run.spark, some, work, run.tasks))
    store.join_sets(some)


def edges(run: StageRun, store: Store, config: DedupConfig, candidates: Path) -> Path:
    """The candidate pairs that are similar enough, with their similarities."""
    lowest, exact = np.float32(config.lowest), config.by_sets

    def compare(file: Path) -> None:
        parts, similar = [distributed.EDGES.empty_table()], store.comparison(exact)
        for batch in _batches(file):
            first, second = batch.column("first").to_numpy(), batch.column("second").to_numpy()
            found = similar(first, second)
            keep = found >= lowest
            parts.append(pa.table([first[keep], second[keep], found[keep]], schema=distributed.EDGES))
        write_parquet(path / file.name, pa.concat_tables(parts))

    path = run.scratch / EDGES
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    on_each(run.spark, sorted(candidates.glob("*.parquet")), compare, run.tasks)
    return path


_ROWS = 8192  # documents whose keys are made at a time


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file) as parquet:
        yield from parquet.iter_batches(batch_size=1 << 20)
