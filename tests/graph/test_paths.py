"""Ways through a forest against networkx."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.graph.forest import Forest
from pretrain_data.graph.paths import paths

EDGES = st.lists(
    st.tuples(st.integers(0, 14), st.integers(0, 14), st.sampled_from([0.5, 0.6, 0.7, 0.8])), min_size=1, max_size=40
).map(lambda edges: [e for e in edges if e[0] != e[1]] or [(0, 1, 0.5)])


@given(EDGES, st.integers(1, 4))
def test_paths_are_those_of_networkx(edges: list[tuple[int, int, float]], most: int) -> None:
    first, second = (np.array([e[i] for e in edges], np.int64) for i in (0, 1))
    forest = Forest.of(first, second, np.array([e[2] for e in edges], np.float32))
    size = len(forest.nodes)
    graph = nx.Graph()
    graph.add_nodes_from(range(size))
    graph.add_weighted_edges_from(zip(forest.first.tolist(), forest.second.tolist(), forest.similarity, strict=True))
    pairs = [(a, b) for part in nx.connected_components(graph) for a in part for b in part]
    start, end = (np.array([p[i] for p in pairs], np.int64) for i in (0, 1))
    steps, weakest, listed = paths(size, forest.first, forest.second, forest.similarity, start, end, most)
    for i, (a, b) in enumerate(pairs):
        way = nx.shortest_path(graph, a, b)
        hops = [graph[x][y]["weight"] for x, y in itertools.pairwise(way)]
        assert steps[i] == len(hops)
        assert weakest[i] == min(hops, default=1)
        assert listed[i][~np.isnan(listed[i])].tolist() == hops[:most]
