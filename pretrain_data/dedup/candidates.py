"""From texts to verified pairs: signatures, band keys through one shuffle, comparison of what meets in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.dataset import run_on_shards
from pretrain_data.dedup import withdrawn
from pretrain_data.dedup.config import DedupConfig
from pretrain_data.dedup.index import KEYED, Index, band_keys, sorted_keys
from pretrain_data.dedup.members import measured
from pretrain_data.dedup.store import CONTENT, Store, flush
from pretrain_data.kernels import datasketch_backend, lsh, minhash
from pretrain_data.stage import Shard, StageRun
from pretrain_data.tokenizers import load_tokenizer

#: Stands in a pair's place before a count of pairs that were left out.
LEFT_OUT = -1
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
) -> None:
    """Write signatures and contents of the documents of `shards` to the store, and what decisions need to `meta`.

    Where there is an index to look up in, their keys as well, sorted, a file a shard. Documents whose id is in `gone`
    are marked, and take part in nothing.
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

    def work(batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
        first = at = shard.first_row or 0
        signatures, contents, skipped = store.signatures("r+"), store.contents("r+"), store.skipped("r+")
        kept = []
        for batch in batches:
            made, _, hashes = make(batch.column("text"), characters(batch, config), k, n, simplified=config.simplified)
            rows = slice(at, at + batch.num_rows)
            signatures[rows] = made
            contents[rows] = np.ascontiguousarray(hashes).view(CONTENT).reshape(-1)
            skipped[rows] = withdrawn.among(batch, gone)
            about = measured(batch, str(saved), share)
            kept.append(about.append_column(withdrawn.RULE, pa.array(skipped[rows])))
            at += batch.num_rows
        name = shard.name.replace("/", "--")
        if incremental:
            stay = np.flatnonzero(~skipped[first:at]) + first
            np.save(keys / f"{name}.npy", np.sort(band_keys(signatures[stay], contents[stay], bands)[0]))
        flush(signatures, contents, skipped)
        if kept:
            pq.write_table(pa.Table.from_batches(kept), meta / f"{name}.parquet")
        yield pa.RecordBatch.from_pydict({"shard": [shard.name]})

    columns = ["doc_id", "source_id", "text", "lang", "format", "channel", "tokens", *criteria]
    run.scan(list(dict.fromkeys(columns)), work, _SHARD, shards).count()


def candidates(
    run: StageRun,
    shards: tuple[Shard, ...],
    before: tuple[Shard, ...],
    store: Store,
    config: DedupConfig,
    bands: lsh.Bands,
) -> Path:
    """The distinct candidate pairs among documents of `shards`, and of them with those that the index holds."""
    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    def keys(shard: Shard) -> Iterator[pa.RecordBatch]:
        first, end = shard.first_row or 0, (shard.first_row or 0) + (shard.rows or 0)
        signatures, contents, skipped = store.signatures(), store.contents(), store.skipped()
        for at in range(first, end, _ROWS):
            rows = np.flatnonzero(~skipped[at : min(at + _ROWS, end)]) + at
            found, places = band_keys(signatures[rows], contents[rows], bands)
            yield pa.RecordBatch.from_arrays([pa.array(found), pa.array(rows[places])], schema=KEYED)

    keyed = run_on_shards(run.spark, shards, keys, KEYED, run.tasks)
    if before:
        wanted = run.scratch / "wanted.npy"
        paths = [run.scratch / "keys" / f"{s.name.replace('/', '--')}.npy" for s in shards]
        sorted_keys([np.load(path, mmap_mode="r") for path in paths], wanted)
        most = config.anchors + config.window
        old = Index(run.output).look_up(run.spark, before, wanted, store, most, run.tasks)
        # Once and for all: a look-up writes what it found to the store.
        old.write.mode("overwrite").parquet(str(run.scratch / "met"))
        keyed = keyed.unionByName(run.spark.read.parquet(str(run.scratch / "met")))
    first_new = (shards[0].first_row or 0) if shards else 0
    pairs = _pairs_in_buckets(
        keyed.repartition(run.partitions, "key").sortWithinPartitions("key", "document"), config, first_new
    )
    path = run.scratch / PAIRS
    left_out = Observation("left out")
    pairs = pairs.observe(left_out, F.sum(F.expr(f"if(first = {LEFT_OUT}, second, 0)")).alias("pairs"))
    pairs = pairs.where(f"first <> {LEFT_OUT}").dropDuplicates(["first", "second"])
    pairs.write.mode("overwrite").parquet(str(path))
    name = "pairs_left_out_of_large_buckets"
    # Spark fails on an observation that saw no row at all; and a bucket that spares pairs has some.
    some = any(pq.read_metadata(file).num_rows for file in path.glob("*.parquet"))
    run.metrics[name] = run.metrics.get(name, 0) + ((left_out.get["pairs"] or 0) if some else 0)
    return path


def write_sets(run: StageRun, shards: tuple[Shard, ...], store: Store, config: DedupConfig, pairs: Path) -> None:
    """Second pass: the shingle sets of the documents that are in a candidate pair, and of no others."""
    wanted = np.zeros(store.documents + 1, np.bool_)
    for batch in _pairs(pairs):
        wanted[batch.column("first").to_numpy()] = True
        wanted[batch.column("second").to_numpy()] = True
    flags = store.folder / "wanted.npy"
    np.save(flags, wanted)
    n = config.shingle
    some = tuple(s for s in shards if wanted[(s.first_row or 0) : (s.first_row or 0) + (s.rows or 0)].any())

    def work(batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
        marked = np.load(flags, mmap_mode="r")
        at, numbers, values, sizes = shard.first_row or 0, [], [], [np.zeros(1, np.int64)]
        for batch in batches:
            mask = np.array(marked[at : at + batch.num_rows])
            numbers.append(np.flatnonzero(mask) + at)
            part = batch.filter(pa.array(mask))
            found, offsets = minhash.shingle_sets(part.column("text"), characters(part, config), n, config.simplified)
            values.append(found)
            sizes.append(np.diff(offsets))
            at += batch.num_rows
        if numbers:
            store.write_sets(shard, np.concatenate(numbers), np.concatenate(values), np.cumsum(np.concatenate(sizes)))
        yield pa.RecordBatch.from_pydict({"shard": [shard.name]})

    run.scan(["text", "lang"], work, _SHARD, some).count()
    store.join_sets(some)


def edges(run: StageRun, store: Store, config: DedupConfig, pairs: Path) -> Path:
    """The candidate pairs that are similar enough, with their similarities."""
    lowest, exact = np.float32(config.lowest), config.by_sets

    def compare(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            first, second = batch.column("first").to_numpy(), batch.column("second").to_numpy()
            found = store.similarities(first, second, exact)
            keep = found >= lowest
            yield pa.RecordBatch.from_pydict({"first": first[keep], "second": second[keep], "similarity": found[keep]})

    path = run.scratch / EDGES
    frame = run.spark.read.parquet(str(pairs)).select("first", "second")
    frame.mapInArrow(compare, "first long, second long, similarity float").write.mode("overwrite").parquet(str(path))
    return path


_SHARD = pa.schema([("shard", pa.string())])
_ROWS = 8192  # documents whose keys are made at a time


def _pairs_in_buckets(keyed: Any, config: DedupConfig, first_new: int) -> Any:
    """Candidate pairs of rows that are sorted by key within each partition.

    A row whose `first` is LEFT_OUT is no pair: it says how many were left out of large buckets.
    """

    anchors, window = config.anchors, config.window

    def pair(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # A bucket may go on in the next batch: what its later rows are paired with is carried over, and no more.
        old_keys, old, omitted = np.zeros(0, np.int64), np.zeros(0, np.int64), 0
        for batch in batches:
            keys = np.concatenate([old_keys, batch.column("key").to_numpy()])
            documents = np.concatenate([old, batch.column("document").to_numpy()])
            first, second, capped = lsh.bucket_pairs(keys, documents, anchors, window, first_new, len(old), omitted)
            if capped:
                first, second = np.append(first, LEFT_OUT), np.append(second, capped)
            yield pa.RecordBatch.from_pydict({"first": first, "second": second})
            old_keys, old, omitted = lsh.context(keys, documents, anchors, window, omitted)

    return keyed.mapInArrow(pair, "first long, second long")


def _pairs(path: Path) -> Iterator[pa.RecordBatch]:
    for file in sorted(path.glob("*.parquet")):
        with pq.ParquetFile(file) as parquet:
            yield from parquet.iter_batches(batch_size=1 << 20)
