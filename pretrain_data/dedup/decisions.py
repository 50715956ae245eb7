"""What becomes of each document that has a similar one, in words that the ledger can keep; a small file a shard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.dedup.members import Clusters
from pretrain_data.graph.paths import paths
from pretrain_data.stage import Shard

#: Steps of a path that the ledger lists; of a longer one it tells the number and the weakest.
LISTED = 4


def decide(clusters: Clusters, threshold: float, spacing: float) -> tuple[pa.Table, Any, Any]:
    """A row a node (number, gone, exact, similarity, kept_doc_id, kept_id, similar_group, detail); and for each node
    its cluster and its survivor."""
    forest, table = clusters.forest, clusters.table
    cluster = forest.clusters(threshold)
    survivor, value = clusters.survivors(threshold)
    contents = clusters.store.contents()
    same = contents[forest.nodes] == contents[forest.nodes[survivor]]
    gone = survivor != np.arange(len(survivor))
    group = forest.clusters(spacing)
    decided = pa.table(
        {
            "number": forest.nodes,
            "gone": gone,
            "exact": same,
            "similarity": value,
            "kept_doc_id": table["doc_id"].combine_chunks().take(pa.array(survivor)),
            "kept_id": table["source_id"].combine_chunks().take(pa.array(survivor)),
            "similar_group": table["similar_group"].combine_chunks().take(pa.array(group)),
            "detail": _details(clusters, np.flatnonzero(gone & ~same), survivor),
        }
    )
    return decided, cluster, survivor


def write(decided: pa.Table, shards: tuple[Shard, ...], folder: Path) -> None:
    """One file a shard, with the row in it in place of the document's number."""
    numbers = decided["number"].to_numpy()
    for shard in shards:
        start = shard.first_row or 0
        low, high = np.searchsorted(numbers, [start, start + (shard.rows or 0)])
        part = decided.slice(low, high - low)
        rows = pc.subtract(part["number"], start)
        pq.write_table(part.set_column(0, "row", rows), folder / f"{shard.name.replace('/', '--')}.parquet")


def write_forest(clusters: Clusters, days: tuple[Shard, ...] | None, folder: Path) -> None:
    """The forest by doc_ids, as one file; or a file for each of a day's shards.

    An edge belongs to the shard of its later document then, and stays with it as the nights go on.
    """
    forest, ids = clusters.forest, clusters.table["doc_id"].combine_chunks()
    ends = forest.nodes[forest.first], forest.nodes[forest.second]
    columns = {
        "first": ids.take(pa.array(forest.first)),
        "second": ids.take(pa.array(forest.second)),
        "similarity": forest.similarity,
    }
    if clusters.exact:
        columns["first_in_second"] = clusters.store.containments(*ends)
        columns["second_in_first"] = clusters.store.containments(*ends[::-1])
    table = pa.table(columns)
    if days is None:
        pq.write_table(table, folder / "forest.parquet", compression="zstd")
        return
    for shard in days:
        start = shard.first_row or 0
        home = (ends[1] >= start) & (ends[1] < start + (shard.rows or 0))
        path = folder / "forest" / f"{shard.name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.filter(pa.array(home)), path, compression="zstd")


def _details(clusters: Clusters, gone: Any, survivor: Any) -> pa.Array:
    """How much of a dropped document is in its survivor, and over which similarities the two are in one cluster."""
    forest = clusters.forest
    ends = survivor[gone]
    steps, weakest, listed = paths(
        len(forest.nodes), forest.first, forest.second, forest.similarity, gone, ends, LISTED
    )
    hops = [_two_digits(listed[:, i]) for i in range(LISTED)]
    whole = pc.binary_join_element_wise("path", *hops, " ", null_handling="skip")
    short = pc.binary_join_element_wise(
        "path of", pa.array(steps).cast(pa.string()), "steps, the weakest", _two_digits(weakest), " "
    )
    text = pc.if_else(pa.array(steps <= LISTED), whole, short)
    if clusters.exact:
        inside = _two_digits(clusters.store.containments(forest.nodes[gone], forest.nodes[ends]))
        text = pc.binary_join_element_wise(pc.binary_join_element_wise("contained", inside, " "), text, "; ")
    place = np.full(len(forest.nodes), -1, np.int64)
    place[gone] = np.arange(len(gone))
    return text.take(pa.array(place, mask=place < 0))


def _two_digits(values: Any) -> pa.Array:
    """Similarities cut to two digits: 0.999 is not 1."""
    known = ~np.isnan(values)
    hundredths = np.floor(np.where(known, values, 0).astype(np.float64) * 100 + 1e-4).astype(np.int64)
    digits = pc.utf8_lpad(pa.array(hundredths % 100).cast(pa.string()), 2, "0")
    out = pc.binary_join_element_wise(pa.array(hundredths // 100).cast(pa.string()), digits, ".")
    return pc.if_else(pa.array(known), out, pa.scalar(None, pa.string()))
