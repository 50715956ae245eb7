"""The maximum spanning forest of more edges than one machine should hold, exactly the one it would find.

An edge that is the least of a cycle is in no maximum spanning forest (the cycle property), and that stays so whatever
edges come besides. So each partition keeps the forest of its own edges, a few partitions at a time are merged, and
what is left falls towards nodes - 1. Source: Kruskal 1956; Tarjan, "Data Structures and Network Algorithms" (1983),
ch. 6; the merging is that of Karloff, Suri and Vassilvitskii, "A Model of Computation for MapReduce" (2010).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.errors import AccountingError
from pretrain_data.graph.forest import Forest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EDGES = pa.schema([("first", pa.int64()), ("second", pa.int64()), ("similarity", pa.float32())])
#: Edges that a task takes in before it looks for cycles among them and those that it has.
TAKEN_IN = 4_000_000
#: Partitions that are merged into one, each time.
MERGED = 4


def count(path: Path) -> int:
    """Edges in a folder of Parquet."""
    return sum(pq.read_metadata(file).num_rows for file in path.glob("*.parquet"))


def read(path: Path) -> tuple[Any, Any, Any]:
    """first, second and similarity of all edges of a folder."""
    files = sorted(path.glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(file) for file in files]) if files else EDGES.empty_table()
    return table["first"].to_numpy(), table["second"].to_numpy(), table["similarity"].to_numpy()


def reduce(spark: SparkSession, edges: Path, work: Path, most: int, taken_in: int = TAKEN_IN) -> Path:
    """A folder of at most `most` of the edges, among them the whole maximum spanning forest, where that has no more.

    `edges` has first, second (int64) and similarity (float32), every edge once. Each round is written below `work`.
    """
    path, parts, number = edges, None, 0
    while count(path) > most and parts != 1:
        frame = spark.read.schema("first long, second long, similarity float").parquet(str(path))
        parts = max(1, frame.rdd.getNumPartitions() if parts is None else -(-parts // MERGED))
        if number:  # the first round takes partitions as they come: no edge is moved
            frame = frame.coalesce(parts)
        path = work / f"forest-{number}"
        function = _keeping_forests(taken_in)
        frame.mapInArrow(function, "first long, second long, similarity float").write.mode("overwrite").parquet(
            str(path)
        )
        number += 1
    return path


def check(spark: SparkSession, edges: Path, forest: Forest, work: Path) -> None:
    """Hold every edge against the forest: its ends are in one tree. Raises AccountingError where one is not.

    That trees join nothing that is apart needs no look, since their edges are edges of the graph; that they are trees
    is the forest's own doing.
    """
    np.save(work / "nodes.npy", forest.nodes)
    np.save(work / "trees.npy", forest.clusters(-1.0))
    nodes, trees = str(work / "nodes.npy"), str(work / "trees.npy")

    def torn(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        known, tree = np.load(nodes, mmap_mode="r"), np.load(trees, mmap_mode="r")
        found = 0
        for batch in batches:
            ends = [batch.column(name).to_numpy() for name in ("first", "second")]
            one, other = (np.minimum(np.searchsorted(known, end), len(known) - 1) for end in ends)
            whole = (known[one] == ends[0]) & (known[other] == ends[1]) & (tree[one] == tree[other])
            found += int((~whole).sum())
        yield pa.RecordBatch.from_pydict({"torn": pa.array([found], pa.int64())})

    frame = spark.read.schema("first long, second long, similarity float").parquet(str(edges))
    lost = sum(row["torn"] for row in frame.mapInArrow(torn, "torn long").collect())
    if lost:
        raise AccountingError(f"the similarity forest tears {lost:,} edges apart; run dedup again with --force")


def _keeping_forests(taken_in: int) -> Any:
    def keep(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts: list[tuple[Any, Any, Any]] = []
        held = waiting = 0
        for batch in batches:
            parts.append(tuple(batch.column(i).to_numpy() for i in range(3)))  # type: ignore[arg-type]
            waiting += batch.num_rows
            # As many as are held already, so that each edge is sorted a bounded number of times.
            if waiting >= max(taken_in, held):
                parts = [_forest(parts)]
                held, waiting = len(parts[0][0]), 0
        first, second, similarity = _forest(parts)
        yield pa.RecordBatch.from_arrays([pa.array(first), pa.array(second), pa.array(similarity)], schema=EDGES)

    return keep


def _forest(parts: list[tuple[Any, Any, Any]]) -> tuple[Any, Any, Any]:
    """The edges of the parts' common forest, by their nodes' numbers."""
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    forest = Forest.of(*(np.concatenate([part[i] for part in parts]) for i in range(3)))
    return forest.nodes[forest.first], forest.nodes[forest.second], forest.similarity
