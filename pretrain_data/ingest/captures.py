"""What came before: identical payloads, and URLs crawled again, over the whole input.

A first pass lists each shard's captures (URL, time, hash of the payload) in an Arrow file beside its documents; Spark
finds the captures that give way, by aggregates that combine before they shuffle, so that no popular payload
or URL is ever one task's burden; each shard then gets its own short list of them. No text is read, nothing is
extracted twice. Captures of shards that haven't changed are taken over from the output before, so that a night lists
what is new alone; shards whose list is what it was keep their documents too.

The order that decides is the input's own (days, labels, offsets), so that nights and one run over everything, and
any partitioning, end in the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import xxhash

from pretrain_data.dataset import on_each, run_on_shards
from pretrain_data.mapped import load, save
from pretrain_data.stage import Shard, StageRun
from pretrain_data.writer import write_atomically

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Folders beside documents/: what was captured, and what gives way.
CAPTURES, GIVING_WAY = "captures", "giving_way"
#: What each shard's list hashes to, by shard.
DIGESTS = "digests.json"
BATCH_ROWS = 10_000

CAPTURE = pa.schema(
    [
        ("label", pa.string()),  # of the unit
        ("offset", pa.int64()),
        ("nth", pa.int32()),  # of the captures at one offset: a member may hold several records
        ("source_id", pa.string()),
        ("url", pa.binary(16)),  # XXH3-128; null where there is none
        ("time", pa.string()),
        ("payload", pa.binary(16)),  # XXH3-128; null where it is empty
    ]
)
_KEYS = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int64()),
        ("url", pa.binary()),
        ("payload", pa.binary()),
        ("time", pa.string()),
        ("id", pa.string()),
    ]
)
_LOSER = pa.schema([("row", pa.int64()), ("rule", pa.string()), ("kept_id", pa.string()), ("detail", pa.string())])
_DONE = pa.schema([("shard", pa.int32()), ("digest", pa.string())])

Place = tuple[str, int, int]  # label, offset, nth
CapturesOf = Callable[[Shard], Iterable[dict[str, Any]]]


@dataclass(frozen=True)
class Loser:
    """Why a capture gives way, and to which."""

    rule: str
    kept_id: str
    detail: str


@dataclass
class Places:
    """Numbers the captures at one offset as they come."""

    last: tuple[str, int] | None = None
    nth: int = 0

    def place(self, label: str, offset: int) -> Place:
        self.nth = self.nth + 1 if self.last == (label, offset) else 0
        self.last = (label, offset)
        return label, offset, self.nth


def capture(place: Place, source_id: str, url: str | None, time: str, payload: bytes) -> dict[str, Any]:
    """One row of a shard's captures."""
    return {
        "label": place[0],
        "offset": place[1],
        "nth": place[2],
        "source_id": source_id,
        "url": xxhash.xxh3_128_digest(url.encode("utf-8", "surrogatepass")) if url else None,
        "time": time.rstrip("Z"),  # so that a fraction of a second comes after the second
        "payload": xxhash.xxh3_128_digest(payload) if payload.strip() else None,
    }


def decide(run: StageRun, stage: str, captures_of: CapturesOf, recrawl: bool, payloads: bool) -> frozenset[str]:
    """List the captures of all shards and which of them give way; the shards that come out as in the output before.

    `captures_of(shard)` yields rows as `capture` makes them.
    """
    shards, before = run.source.shards, run.workspace / stage
    folder = run.output / CAPTURES
    for name in run.unchanged:
        _link(before / CAPTURES / f"{name}.arrow", folder / f"{name}.arrow")
    todo = tuple(s for s in shards if not (folder / f"{s.name}.arrow").exists())

    def listed(shard: Shard) -> None:
        rows = list(captures_of(shard))
        _write(folder / f"{shard.name}.arrow", pa.Table.from_pylist(rows, CAPTURE))

    on_each(run.spark, todo, listed, run.tasks)
    numbers = {shard.name: i for i, shard in enumerate(shards)}

    def keys(shard: Shard) -> Iterator[pa.RecordBatch]:
        table = load(folder / f"{shard.name}.arrow")
        for start in range(0, table.num_rows, BATCH_ROWS):
            part = table.slice(start, BATCH_ROWS)
            yield pa.RecordBatch.from_pydict(
                {
                    "shard": pa.array([numbers[shard.name]] * part.num_rows, pa.int32()),
                    "row": pa.array(np.arange(start, start + part.num_rows)),
                    "url": part["url"].combine_chunks().cast(pa.binary()),
                    "payload": part["payload"].combine_chunks().cast(pa.binary()),
                    "time": part["time"].combine_chunks(),
                    "id": part["source_id"].combine_chunks(),
                }
            )

    found = losers(run_on_shards(run.spark, shards, keys, _KEYS, run.tasks), recrawl, payloads)
    digests = _written(run, found)
    known = _digests(before)
    write_atomically(run.output / GIVING_WAY / DIGESTS, json.dumps(digests, sort_keys=True))
    return frozenset(name for name in run.unchanged if digests.get(name) == known.get(name))


def losers(keys: DataFrame, recrawl: bool, payloads: bool) -> DataFrame:
    """Of captures (shard, row, url, payload, time, id) those that give way: shard, row, rule, kept_id, detail.

    With `recrawl` the latest capture of a URL stays, of equal times the last one; with `payloads` the first
    with a payload, among those that stay.
    """
    from pyspark.sql import functions as F

    none = F.lit(None).cast("string")
    there = keys.withColumns({"rule": none, "kept_id": none, "detail": none})
    if recrawl:
        best = F.max(F.struct("time", "shard", "row", "id"))
        there = _against(there, "url", best, "recrawled", F.concat(F.lit("captured again "), F.col("best.time")))
    if payloads:
        best = F.min(F.struct("shard", "row", "id"))
        there = _against(there, "payload", best, "same_payload", none)
    return there.where(F.col("rule").isNotNull()).select("shard", "row", "rule", "kept_id", "detail")


def _against(there: DataFrame, key: str, best: Any, rule: str, detail: Any) -> DataFrame:
    """Let all captures with the same `key` give way to the best of them; those that gave way before don't count."""
    from pyspark.sql import functions as F

    taking_part = F.col("rule").isNull() & F.col(key).isNotNull()
    winners = there.where(taking_part).groupBy(key).agg(best.alias("best"))
    joined = there.withColumn("key", F.when(taking_part, F.col(key))).join(
        winners.withColumnRenamed(key, "key"), "key", "left"
    )
    lost = F.col("best").isNotNull() & ~((F.col("best.shard") == F.col("shard")) & (F.col("best.row") == F.col("row")))
    return joined.withColumns(
        {
            "rule": F.when(lost, F.lit(rule)).otherwise(F.col("rule")),
            "kept_id": F.when(lost, F.col("best.id")).otherwise(F.col("kept_id")),
            "detail": F.when(lost, detail).otherwise(F.col("detail")),
        }
    ).drop("key", "best")


def giving_way(output: Path, shard: str) -> dict[Place, Loser]:
    """What gives way of a shard, by place."""
    path = output / GIVING_WAY / f"{shard}.arrow"
    if not path.exists():
        return {}
    lost = load(path)
    places = load(output / CAPTURES / f"{shard}.arrow").select(["label", "offset", "nth"]).take(lost["row"])
    return {
        (place["label"], place["offset"], place["nth"]): Loser(row["rule"], row["kept_id"], row["detail"] or "")
        for place, row in zip(places.to_pylist(), lost.to_pylist(), strict=True)
    }


# --- inside ---------------------------------------------------------------------------------------


def _written(run: StageRun, found: DataFrame) -> dict[str, str]:
    """Write each shard's losers to a file of its own; what each hashes to, by shard."""
    from pyspark.sql.pandas.types import from_arrow_schema

    names, folder = [shard.name for shard in run.source.shards], run.output / GIVING_WAY

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        shard: int | None = None
        rows: list[dict[str, Any]] = []
        for batch in batches:
            for row in batch.to_pylist():
                if row["shard"] != shard and rows:
                    yield done(shard, rows)
                    rows = []
                shard = row["shard"]
                rows.append(row)
        if rows:
            yield done(shard, rows)

    def done(shard: int | None, rows: list[dict[str, Any]]) -> pa.RecordBatch:
        assert shard is not None
        table = pa.Table.from_pylist([{k: v for k, v in row.items() if k != "shard"} for row in rows], _LOSER)
        digest = _write(folder / f"{names[shard]}.arrow", table)
        return pa.RecordBatch.from_pydict({"shard": [shard], "digest": [digest]}, _DONE)

    placed = found.repartition(run.partitions, "shard").sortWithinPartitions("shard", "row")
    written = placed.mapInArrow(write, from_arrow_schema(_DONE)).collect()  # one row a shard
    return {names[row["shard"]]: row["digest"] for row in written}


def _digests(output: Path) -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads((output / GIVING_WAY / DIGESTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return known


def _write(path: Path, table: pa.Table) -> str:
    save(path, table, compression="zstd")
    return xxhash.xxh3_64_hexdigest(path.read_bytes())


def _link(source: Path, target: Path) -> None:
    if source.exists() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # a file system without hard links
            target.write_bytes(source.read_bytes())
