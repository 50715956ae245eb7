"""A place in the order for every use of every sampled document; see `kernels.spacing` for the idea.

All of it runs on small rows (no text), and by windows over hashes, so that the outcome depends on
the documents and the seed and on nothing that Spark decides.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.kernels.spacing import Room, even_gaps
from pretrain_data.mixing.plan import LeafPlan

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Groups up to this size are ranked among groups of their own size; larger ones are too few to rank.
RANKED_SIZES = 256
#: Classes of groups up to this size are ranked in 256 pieces, as they may hold most of the corpus.
SPLIT_SIZES = 8

#: A place ends up as phase + place in a double: it must not round up to the next phase.
LAST_PLACE = 1.0 - 2.0**-40

#: Orders of up to so many uses have their gaps evened out, on the driver (some 150 bytes a use). In a longer one a
#: document is next to nothing of a gap.
EVENED = 4_000_000

_PLACE = "shard string, row long, phase int, leaf int, use int, tokens long, group long, place double"


def choose(items: DataFrame, plans: Sequence[LeafPlan]) -> DataFrame:
    """One row for each use: the item's columns and `use`, `uses`."""
    from pyspark.sql import functions as F

    whole = F.array(*(F.lit(plan.whole) for plan in plans))
    cut = F.array(*(F.lit(plan.cut) for plan in plans))
    exceptions = [(i, id_, -1) for i, plan in enumerate(plans) for id_ in plan.left_out]
    exceptions += [(i, id_, 1) for i, plan in enumerate(plans) for id_ in plan.taken_in]
    extra = items.sparkSession.createDataFrame(exceptions, "leaf int, id long, extra int")
    items = items.join(F.broadcast(extra), ["leaf", "id"], "left")
    more = (F.col("used") <= whole[F.col("leaf")]) & (F.col("key") < cut[F.col("leaf")])
    again = F.greatest(F.lit(0), whole[F.col("leaf")] - F.col("used"))
    return (
        items.withColumn("uses", again + more.cast("int") + F.expr("coalesce(extra, 0)"))
        .where("uses > 0")
        .withColumn("use", F.explode(F.sequence(F.lit(0), F.col("uses") - 1)))
    )


def line_up(used: DataFrame) -> DataFrame:
    """Number the uses of each group: `slot` of `size`, the group's tokens `weight`, its leaf `home`.

    A document's own repeats are spread evenly over its group: use j of m at fraction (spin + j)/m.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    group = Window.partitionBy("phase", "group")
    order = group.orderBy("spot", "id", "use")
    return (
        used.withColumn("spot", (F.col("spin") + F.col("use")) / F.col("uses"))
        .withColumn("slot", F.row_number().over(order) - 1)
        .withColumn("size", F.count("*").over(group))
        .withColumn("weight", F.sum("tokens").over(group))
        .withColumn("home", F.first("leaf").over(order))
        .select("shard", "row", "phase", "leaf", "use", "tokens", "group", "slot", "size", "weight", "home", "last")
    )


def rank_groups(lined: DataFrame, seed: int, stretch: Sequence[float] = ()) -> DataFrame:
    """`(phase, group, u)`: u in [0, 1) is the group's rank by tokens among those of its leaf and size.

    Groups are ranked in hash order. One that was used before goes on from there: it is ranked by where it
    was last used and, where it is used several times now, begins a whole gap after its last use.
    `stretch` has for each phase the length of the order so far over that of the order made now.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    groups = lined.where("slot = 0").select(
        "phase",
        "home",
        "size",
        F.when(F.col("size") <= RANKED_SIZES, F.col("size")).otherwise(0).alias("class"),
        "group",
        "weight",
        "last",
        # Groups without a past are among those with one as if they had left off anywhere.
        F.coalesce("last", F.shiftrightunsigned("group", 11) / F.lit(float(1 << 53))).alias("spot"),
    )
    groups = groups.withColumn(
        "piece",
        F.when(F.col("class") <= SPLIT_SIZES, F.floor(F.col("spot") * 256).cast("int")).otherwise(F.lit(0)),
    )
    one = Window.partitionBy("home", "class")
    pieces = (
        groups.groupBy("home", "class", "piece")
        .agg(F.sum("weight").alias("tokens"))
        .withColumn("all", F.sum("tokens").over(one))
        .withColumn("before", F.sum("tokens").over(one.orderBy("piece")) - F.col("tokens"))
        .drop("tokens")
    )
    inside = Window.partitionBy("home", "class", "piece").orderBy("spot", "group")
    rank = (F.col("before") + F.sum("weight").over(inside) - F.col("weight") / 2) / F.col("all")
    # Sizes with few groups must not all begin at the same place.
    turn = F.when(F.col("class") == 1, F.lit(0.0)).otherwise(_fraction(F.lit(seed), "home", "class"))
    drawn = _fraction(F.lit(seed), "phase", "group")
    fresh = F.when(F.col("class") == 0, drawn).otherwise((rank + turn) % 1.0)
    if stretch:
        # A gap is 1/size of the new order; what lies between the last use and the new order's begin is part of it.
        so_far = F.array(*(F.lit(float(s)) for s in stretch))[F.col("phase")]
        left = 1.0 - (1.0 - F.col("last")) * so_far * F.col("size")
        fresh = F.when(F.col("last").isNull() | (F.col("size") == 1) | (left < 0), fresh).otherwise(
            F.least(left, F.lit(LAST_PLACE))
        )
    return groups.join(F.broadcast(pieces), ["home", "class", "piece"]).select("phase", "group", fresh.alias("u"))


def _fraction(*columns):  # type: ignore[no-untyped-def]
    from pyspark.sql import functions as F

    return F.shiftrightunsigned(F.xxhash64(*columns), 11) / F.lit(float(1 << 53))


def place(lined: DataFrame, ranks: DataFrame, leaves: int, bins: int, scratch: Path) -> DataFrame:
    """`shard, row, phase, leaf, use, tokens, group, place` for every use, place in [0, 1)."""
    from pyspark.sql import functions as F

    spark = lined.sparkSession
    ranked = lined.join(ranks, ["phase", "group"])
    columns = ["shard", "row", "phase", "leaf", "use", "tokens", "group"]
    spread = str(scratch / "grouped")
    at = (F.col("u") + F.col("slot")) / F.col("size")
    ranked.where("size > 1").select(*columns, at.alias("place")).write.mode("overwrite").parquet(spread)
    grouped = spark.read.parquet(spread)
    taken = (
        grouped.groupBy("leaf", F.floor(F.col("place") * bins).alias("bin"))
        .agg(F.sum("tokens").alias("tokens"))
        .toArrow()  # at most leaves * bins rows
    )
    alone = ranked.where("size = 1").select(*columns, F.col("u").alias("place"))
    free = {row["leaf"]: row["tokens"] for row in alone.groupBy("leaf").agg(F.sum("tokens").alias("tokens")).collect()}
    used = np.zeros((leaves, bins), np.int64)
    used[taken["leaf"].to_numpy(), taken["bin"].to_numpy()] = taken["tokens"].to_numpy()
    rooms = {leaf: Room.left_by(used[leaf], tokens) for leaf, tokens in free.items()}

    def settle(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            leaf, share = batch.column("leaf").to_numpy(), batch.column("place").to_numpy()
            places = np.empty(len(leaf))
            for number in np.unique(leaf):
                mask = leaf == number
                places[mask] = rooms[number].places(share[mask])
            yield batch.set_column(batch.num_columns - 1, "place", pa.array(places))

    return grouped.unionByName(alone.mapInArrow(settle, _PLACE))


def evened(placed: DataFrame, scratch: Path) -> DataFrame:
    """`placed` with places at which the gaps of groups are nearer to the ideal: see `kernels.spacing.even_gaps`."""
    before, after = scratch / "placed", scratch / "evened"
    placed.write.mode("overwrite").parquet(str(before))
    rows = pq.read_table(before)
    keys = ("phase", "place", "shard", "row", "use")  # of uses at the same place the shard's first comes first
    rows = rows.sort_by([(key, "ascending") for key in keys])
    phase, group = rows["phase"].to_numpy(), rows["group"].to_numpy()
    size = rows["tokens"].to_numpy() + 1  # each document is followed by an end-of-document token
    place = np.empty(len(rows))
    for number in np.unique(phase):
        low, high = np.searchsorted(phase, [number, number + 1])
        order = low + even_gaps(group[low:high], size[low:high])
        place[order] = (np.cumsum(size[order]) - size[order]) / size[order].sum()
    after.mkdir(exist_ok=True)
    rows = rows.set_column(rows.schema.get_field_index("place"), "place", pa.array(place))
    pq.write_table(rows, after / "places.parquet")
    return placed.sparkSession.read.schema(_PLACE).parquet(str(after))


def positions(placed: DataFrame) -> DataFrame:
    """`shard, row, position` of uses that have a place: position = phase + place."""
    return placed.selectExpr("shard", "row", f"phase + least(place, {LAST_PLACE!r}D) as position")


def places_file(scratch: Path, shard: str) -> Path:
    return scratch / "places" / f"{shard}.parquet"


#: Columns of a shard's places: a row for each new use, with its position, and one without for a document that
#: was used before, or is held out, and isn't used now; `mark` says which, `used` how often before.
PLACES = ("row", "position", "used", "mark")


def write_places(places: DataFrame, scratch: Path, partitions: int) -> None:
    """For each shard a file of `PLACES`, by row and position. `places` has these and the shard's name."""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        written, writer, shard = 0, None, None
        path = scratch
        try:
            for batch in batches:
                names = batch.column("shard").to_pylist()
                starts = [i for i in range(len(names)) if i == 0 or names[i] != names[i - 1]]
                for start, end in zip(starts, [*starts[1:], len(names)], strict=True):
                    if names[start] != shard:
                        if writer is not None:
                            _finish(writer, path)
                        shard = names[start]
                        path = places_file(scratch, shard)
                        path.parent.mkdir(parents=True, exist_ok=True)
                        writer = pq.ParquetWriter(_writing(path), batch.select(list(PLACES)).schema)
                    assert writer is not None
                    writer.write_batch(batch.slice(start, end - start).select(list(PLACES)))
                    written += 1
            if writer is not None:
                _finish(writer, path)
                writer = None
        finally:
            if writer is not None:
                writer.close()
        yield pa.RecordBatch.from_pydict({"written": pa.array([written], pa.int64())})

    (
        places.select("shard", *PLACES)
        .repartition(partitions, "shard")
        .sortWithinPartitions("shard", "row", "position")
        .mapInArrow(write, "written long")
        .collect()  # one row a partition
    )


def _writing(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.writing")


def _finish(writer: pq.ParquetWriter, path: Path) -> None:
    writer.close()
    os.replace(_writing(path), path)
