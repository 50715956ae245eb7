"""From band keys to distinct candidate pairs: two exchanges of arrays between Python workers.

Spark moves whole arrays, as bytes, and looks into none of them. First a task sorts the keys of some documents and sends
each partition its range of them; the partition merges what it got in order of (key, document), and pairs the documents
of each bucket. Then each pair goes to the partition of its later document, which writes the distinct ones: a document
is the later one of a bounded number of pairs, however large its buckets are, so that these partitions are even. As
rows of a DataFrame the same keys and pairs took twenty times the CPU.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.kernels import lsh
from pretrain_data.stage import Shard, StageRun

#: Keys that a partition gets, about.
KEYS_A_PARTITION = 1 << 22
#: Keys, or pairs, that a task sorts at a time.
AT_ONCE = 1 << 20

I64 = npt.NDArray[np.int64]
Keyed = tuple[I64, I64]  # keys and, for each, a document's number
Stretch = tuple[int, Any, Any]  # least document, keys in order, and for each its document less the least (uint32)
Packed = tuple[int, I64]  # pairs left out of large buckets, and pairs as `Layout` packs them


class Layout(NamedTuple):
    """Which partition a key and a pair belong to, and how a pair (first < second) is one number there."""

    partitions: int
    documents: int

    @classmethod
    def of(cls, documents: int, bands: int, least: int) -> Layout:
        """For so many documents and bands; at least `least` partitions."""
        narrow = (documents >> (62 - documents.bit_length())) + 1  # else a pair would need more than 63 bits
        return cls(max(least, -(-documents * max(1, bands) // KEYS_A_PARTITION), narrow), documents)

    @property
    def bits(self) -> int:
        return max(1, self.documents.bit_length())

    @property
    def width(self) -> int:
        """Documents of a partition."""
        return max(1, -(-self.documents // self.partitions))

    def cuts(self, keys: I64) -> I64:
        """Where each partition's range of sorted keys ends, and the first begins (partitions + 1)."""
        bounds = [-(2**63) + (2**64 * i) // self.partitions for i in range(1, self.partitions)]
        return np.r_[0, np.searchsorted(keys, np.array(bounds, np.int64)), len(keys)]

    def packed(self, first: I64, second: I64) -> Iterator[tuple[int, I64]]:
        """For each partition that has any of these pairs, the distinct ones in order of second and first."""
        if not len(first):
            return
        home = second // self.width
        numbers = (second - home * self.width) << self.bits | first
        if self.partitions <= 1 << 16:
            home = home.astype(np.uint16)  # NumPy sorts these by radix
        order = np.argsort(home, kind="stable")
        home, numbers = home[order], numbers[order]
        starts = np.flatnonzero(np.r_[True, home[1:] != home[:-1], True]).tolist()
        for low, high in pairwise(starts):
            yield int(home[low]), distinct(numbers[low:high])

    def unpacked(self, partition: int, numbers: I64) -> tuple[I64, I64]:
        """first and second of a partition's pairs."""
        return numbers & ((1 << self.bits) - 1), (numbers >> self.bits) + partition * self.width


def pairs(
    run: StageRun,
    shards: tuple[Shard, ...],
    keys: Callable[[Shard], Iterable[Keyed]],
    layout: Layout,
    anchors: int,
    window: int,
    first_new: int,
    out: Path,
) -> int:
    """Write the distinct pairs of documents that share a key, the later of them `first_new` or after.

    `keys(shard)` gives keys and documents, some at a time, each time documents behind those before. `out` becomes a
    folder of Parquet with first < second. Returns how many pairs were left out of large buckets (see
    `lsh.bucket_pairs`).
    """
    context = run.spark.sparkContext
    shared = context.broadcast(shards)

    def send(numbers: Iterable[int]) -> Iterable[tuple[int, Stretch]]:
        for number in numbers:
            for found, documents in keys(shared.value[number]):
                yield from _stretches(found, documents, layout)

    def pair(received: Iterable[tuple[int, Stretch]]) -> Iterable[tuple[int, Packed]]:
        with _Spool() as spool:
            for _, stretch in received:
                spool.add(stretch)
            for first, second, left_out in _paired(spool.in_order(), anchors, window, first_new):
                if left_out:
                    yield 0, (left_out, np.zeros(0, np.int64))
                for home, numbers in layout.packed(first, second):
                    yield home, (0, numbers)

    def write(partition: int, received: Iterable[tuple[int, Packed]]) -> Iterable[int]:
        numbers, left_out = _merged(packed for _, packed in received)
        first, second = layout.unpacked(partition, numbers)
        if len(numbers):
            write_parquet(out / f"part-{partition:05}.parquet", pa.table({"first": first, "second": second}))
        yield left_out

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    tasks = max(1, min(len(shards), run.tasks or len(shards)))
    sent = context.parallelize(range(len(shards)), tasks).mapPartitions(send)
    paired = sent.partitionBy(layout.partitions, _itself).mapPartitions(pair)
    left_out = paired.partitionBy(layout.partitions, _itself).mapPartitionsWithIndex(write).collect()
    return int(sum(left_out))


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a file so that a task that runs twice, or is cut off, leaves one whole file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(table, temporary)
    temporary.rename(path)


def distinct(values: I64) -> I64:
    """The distinct values in order."""
    values = np.sort(values)
    return values[np.r_[True, values[1:] != values[:-1]][: len(values)]]


def _itself(partition: int) -> int:
    return partition


def _stretches(keys: I64, documents: I64, layout: Layout) -> Iterator[tuple[int, Stretch]]:
    if not len(keys):
        return
    least = int(documents.min())
    order = np.lexsort((documents, keys))
    keys, offsets = keys[order], (documents[order] - least).astype(np.uint32)
    cuts = layout.cuts(keys).tolist()
    for partition, (low, high) in enumerate(pairwise(cuts)):
        if high > low:
            # Copies: a slice is pickled with no more than itself, but keeps all alive until then.
            yield partition, (least, keys[low:high].copy(), offsets[low:high].copy())


class _Spool:
    """Stretches of keys in two temporary files, so that a partition with a giant bucket needs no more memory."""

    def __init__(self) -> None:
        folder = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None
        self.files: tuple[IO[bytes], ...] = tuple(tempfile.TemporaryFile(dir=folder) for _ in range(2))  # noqa: SIM115
        self.stretches: list[tuple[int, int, int]] = []  # least document, start, end
        self.size = 0

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self.files:
            file.close()

    def add(self, stretch: Stretch) -> None:
        least, keys, offsets = stretch
        keys.tofile(self.files[0])
        (offsets.astype(np.int64) + least).tofile(self.files[1])
        self.stretches.append((least, self.size, self.size + len(keys)))
        self.size += len(keys)

    def in_order(self, at_once: int = AT_ONCE) -> Iterator[Keyed]:
        """All rows by (key, document), at most about `at_once` at a time."""
        if not self.size:
            return
        for file in self.files:
            file.flush()
        keys, documents = (np.memmap(file, np.int64, "r") for file in self.files)
        stretches = [(start, end) for _, start, end in sorted(self.stretches)]
        yield from _in_order(keys, documents, stretches, -(2**63), 2**63 - 1, at_once)


def _in_order(keys: I64, documents: I64, stretches: Any, low: int, high: int, at_once: int) -> Iterator[Keyed]:
    """The rows with keys from `low` to `high`, by halves of that range until few enough are left to be sorted."""
    parts = []
    for start, end in stretches:
        first = start + int(np.searchsorted(keys[start:end], np.int64(low), "left"))
        last = start + int(np.searchsorted(keys[start:end], np.int64(high), "right"))
        if last > first:
            parts.append((first, last))
    rows = sum(end - start for start, end in parts)
    if rows <= at_once:
        if rows:
            found = np.concatenate([keys[start:end] for start, end in parts])
            numbers = np.concatenate([documents[start:end] for start, end in parts])
            order = np.argsort(found, kind="stable")  # stretches come in the order of their documents
            yield found[order], numbers[order]
    elif low == high:
        for start, end in parts:
            for at in range(start, end, at_once):
                yield np.array(keys[at : min(at + at_once, end)]), np.array(documents[at : min(at + at_once, end)])
    else:
        middle = (low + high) // 2
        yield from _in_order(keys, documents, parts, low, middle, at_once)
        yield from _in_order(keys, documents, parts, middle + 1, high, at_once)


def _paired(rows: Iterable[Keyed], anchors: int, window: int, first_new: int) -> Iterator[tuple[I64, I64, int]]:
    """Pairs of the documents of each bucket, and how many were left out, from rows by (key, document)."""
    # A bucket may go on in the next rows: what its later ones are paired with is carried over, and no more.
    old_keys, old, omitted = np.zeros(0, np.int64), np.zeros(0, np.int64), 0
    for more_keys, more in rows:
        keys, documents = np.concatenate([old_keys, more_keys]), np.concatenate([old, more])
        yield lsh.bucket_pairs(keys, documents, anchors, window, first_new, len(old), omitted)
        old_keys, old, omitted = lsh.context(keys, documents, anchors, window, omitted)


def _merged(received: Iterable[Packed]) -> tuple[I64, int]:
    """The distinct pairs, and the sum of what was left out."""
    parts, waiting, left_out = [np.zeros(0, np.int64)], 0, 0
    for omitted, numbers in received:
        left_out += omitted
        parts.append(numbers)
        waiting += len(numbers)
        if waiting > max(AT_ONCE, len(parts[0])):  # as many as are held, so that each is sorted a few times at most
            parts, waiting = [distinct(np.concatenate(parts))], 0
    return distinct(np.concatenate(parts)), left_out
