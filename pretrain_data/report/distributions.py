"""Score distributions and similarity clusters, from a bounded part of the Parquet."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.report.samples import Case, heads, parquet_files, spread, texts
from pretrain_data.report.shown import masked, shown

BINS = 25
MOST_SHARDS = 64
MOST_ROWS = 20_000  # of one shard
MOST_VALUES = 8
MOST_EDGES = 5_000_000  # of the forest; beyond it cluster sizes are left out
LARGEST = 5
MEMBERS = 4
COLUMNS = ("lang", "domain", "source", "format")


def scores(workspace: Path) -> dict[str, Any] | None:
    """Histograms of `quality_score` by language, domain, source and format; None where nothing is scored.

    BINS equal bins over 0..1. `documents` says on how many it stands: those of a spread of shards.
    """
    folder = next((f for s in ("classify", "quality") if (f := workspace / s / "documents").is_dir()), None)
    if folder is None:
        return None
    counts: dict[tuple[str, str], Any] = {}
    documents = 0
    for path in spread(parquet_files(folder), MOST_SHARDS):
        for batch in heads(path, ("quality_score", *COLUMNS), MOST_ROWS):
            if "quality_score" not in batch.schema.names:
                return None
            batch = batch.filter(pc.is_valid(batch.column("quality_score")))
            score = batch.column("quality_score").to_numpy(zero_copy_only=False)
            bins = np.clip((score * BINS).astype(np.int64), 0, BINS - 1)
            documents += len(score)
            for column in (c for c in COLUMNS if c in batch.schema.names):
                coded = pc.fill_null(batch.column(column).cast(pa.string()), "(none)").dictionary_encode()
                codes = coded.indices.to_numpy()
                for code, value in enumerate(coded.dictionary.to_pylist()):
                    key = (column, value)
                    seen = np.bincount(bins[codes == code], minlength=BINS)
                    counts[key] = counts.get(key, 0) + seen
    if not documents:
        return None
    found: dict[str, Any] = {"documents": documents, "bins": BINS, "by": {}}
    for column in COLUMNS:
        rows = sorted(((v, n) for (c, v), n in counts.items() if c == column), key=lambda r: (-int(r[1].sum()), r[0]))
        if rows:
            found["by"][column] = [{"value": shown(v), "counts": n.tolist()} for v, n in rows[:MOST_VALUES]]
    return found


def clusters(workspace: Path, before: str | None) -> dict[str, Any] | None:
    """How many clusters have how many members at the run's threshold, and the largest with some of their texts.

    A cluster is a connected component of the pairs at or above the threshold. `before` is the stage that fed dedup.
    """
    from pretrain_data.dataset import read_manifest

    path, manifest = workspace / "dedup" / "graph" / "forest.parquet", read_manifest(workspace / "dedup")
    if manifest is None or not path.is_file() or pq.ParquetFile(path).metadata.num_rows > MOST_EDGES:
        return None
    table = pq.read_table(path, filters=[("similarity", ">=", manifest["config"]["threshold"])])
    if not table.num_rows:
        return None
    ids, labels = _components(table)
    sizes = np.bincount(labels)
    histogram = Counter(int(n) for n in sizes)
    order = sorted(range(len(sizes)), key=lambda c: (-sizes[c], ids[int(np.flatnonzero(labels == c)[0])]))
    largest = [[ids[i] for i in np.flatnonzero(labels == c)] for c in order[:LARGEST]]
    found = _look_up(workspace, before, {i for group in largest for i in sorted(group)[:MEMBERS]})
    return {
        "sizes": sorted(histogram.items()),
        "largest": [
            {"size": len(group), "members": [found[i] for i in sorted(group)[:MEMBERS] if i in found]}
            for group in largest
        ],
    }


def _components(table: pa.Table) -> tuple[list[str], Any]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    both = pa.chunked_array([*table["first"].chunks, *table["second"].chunks]).combine_chunks().dictionary_encode()
    codes, n = both.indices.to_numpy(), table.num_rows
    graph = coo_array((np.ones(n, np.int8), (codes[:n], codes[n:])), shape=(len(both.dictionary),) * 2)
    return both.dictionary.to_pylist(), connected_components(graph, directed=False)[1]


def _look_up(workspace: Path, before: str | None, ids: set[str]) -> dict[str, dict[str, Any]]:
    """Texts of a few documents, looked for in a spread of the shards that dedup read."""
    found: dict[str, dict[str, Any]] = {}
    folder = workspace / (before or "dedup") / "documents"
    for path in spread(parquet_files(folder), MOST_SHARDS):
        shard = str(path.relative_to(folder).with_suffix(""))
        left = ids - found.keys()
        if not left:
            break
        hits = set()
        for batch in heads(path, ("doc_id",), MOST_ROWS):
            column = batch.column("doc_id")
            hits |= set(column.filter(pc.is_in(column, pa.array(sorted(left)))).to_pylist())
        if hits:
            found |= texts(folder, [Case("dedup", "kept", "", i, shard) for i in hits])
    out = {}
    for doc_id, row in found.items():
        text, title, url = masked([row.get("text"), row.get("title"), row.get("url")], 300)
        out[doc_id] = {"doc_id": doc_id, "text": text, "title": title, "url": url}
    return out
