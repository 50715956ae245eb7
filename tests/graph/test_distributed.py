"""The forest of many partitions is that of one machine: random graphs, long chains, stars, cliques of equal edges."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.errors import AccountingError
from pretrain_data.graph import distributed
from pretrain_data.graph.forest import Forest

pytestmark = pytest.mark.spark

NAMES = ("nodes", "first", "second", "similarity")


def graph(rng: random.Random) -> list[tuple[int, int, float]]:
    """Several components with few different similarities, so that ties decide, and unconnected numbers between."""
    edges: dict[tuple[int, int], float] = {}
    at = 0
    kinds = ["chain", "star", "clique", "random"]
    for kind in kinds + [rng.choice(kinds) for _ in range(4)]:
        size = rng.randrange(2, 300 if kind in ("chain", "star") else 30)
        nodes = [at + 3 * i for i in range(size)]
        rng.shuffle(nodes)
        if kind == "chain":
            pairs = list(itertools.pairwise(nodes))
        elif kind == "star":
            pairs = [(nodes[0], other) for other in nodes[1:]]
        else:
            pairs = [(a, b) for i, a in enumerate(nodes) for b in nodes[:i] if kind == "clique" or rng.random() < 0.2]
        for a, b in pairs:
            edges[min(a, b), max(a, b)] = rng.choice([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
        at += 3 * size + rng.randrange(50)
    out = [(a, b, s) for (a, b), s in edges.items()]
    rng.shuffle(out)
    return out


def columns(edges: list[tuple[int, int, float]]) -> tuple[Any, Any, Any]:
    kinds = (np.int64, np.int64, np.float32)
    return tuple(np.array([e[i] for e in edges], kind) for i, kind in enumerate(kinds))  # type: ignore[return-value]


def write(path: Path, edges: list[tuple[int, int, float]], files: int) -> None:
    path.mkdir()
    for i in range(files):
        pq.write_table(pa.table(list(columns(edges[i::files])), schema=distributed.EDGES), path / f"part-{i}.parquet")


@given(st.randoms(use_true_random=False), st.integers(1, 50), st.integers(1, 9))
def test_forests_of_parts_merge_to_the_forest_of_the_whole(rng: random.Random, taken_in: int, parts: int) -> None:
    """The task's own function on one stream of batches after the other, with no Spark."""
    edges = graph(rng)
    keep = distributed._keeping_forests(taken_in)

    def batches(some: list[tuple[int, int, float]]) -> Any:
        for i in range(0, len(some), 7):
            yield pa.RecordBatch.from_arrays(list(map(pa.array, columns(some[i : i + 7]))), schema=distributed.EDGES)

    left = [batch for i in range(parts) for batch in keep(batches(edges[i::parts]))]
    (last,) = keep(iter(left))
    merged = Forest.of(*(last.column(i).to_numpy() for i in range(3)))
    whole = Forest.of(*columns(edges))
    assert last.num_rows == len(whole.first)
    for name in NAMES:
        assert getattr(merged, name).tolist() == getattr(whole, name).tolist()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_spark_finds_the_forest_that_the_driver_finds(tmp_path: Path, spark: Any, seed: int) -> None:
    edges = graph(random.Random(seed))
    write(tmp_path / "edges", edges, 9)
    whole = Forest.of(*columns(edges))
    left = distributed.reduce(spark, tmp_path / "edges", tmp_path, most=len(whole.first), taken_in=20)
    assert distributed.count(left) == len(whole.first)
    found = Forest.of(*distributed.read(left))
    for name in NAMES:
        assert getattr(found, name).tolist() == getattr(whole, name).tolist()
    distributed.check(spark, tmp_path / "edges", found, tmp_path)
    torn = Forest(found.nodes, found.first[1:], found.second[1:], found.similarity[1:])
    with pytest.raises(AccountingError, match=r"tears \d+ edges apart"):
        distributed.check(spark, tmp_path / "edges", torn, tmp_path)


def test_edges_that_fit_are_left_where_they_are(tmp_path: Path, spark: Any) -> None:
    write(tmp_path / "edges", [(1, 2, 0.5), (2, 3, 0.5), (1, 3, 0.6)], 2)
    assert distributed.reduce(spark, tmp_path / "edges", tmp_path, most=3) == tmp_path / "edges"
    left = distributed.reduce(spark, tmp_path / "edges", tmp_path, most=1)
    assert distributed.count(left) == 2, "a forest that is larger than asked for stays whole"
