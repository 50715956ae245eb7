"""Components and the forest against networkx on random graphs."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.graph.forest import Forest
from pretrain_data.graph.unionfind import components

EDGES = st.lists(
    st.tuples(st.integers(0, 25), st.integers(0, 25), st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])), max_size=60
).map(lambda edges: [(a, b, s) for a, b, s in edges if a != b])


def arrays(edges: list[tuple[int, int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([10 * e[0] for e in edges], np.int64),
        np.array([10 * e[1] for e in edges], np.int64),
        np.array([e[2] for e in edges], np.float32),
    )


@settings(max_examples=100, deadline=None)
@given(EDGES)
def test_components_are_those_of_networkx(edges: list[tuple[int, int, float]]) -> None:
    found = components(26, *(np.array([e[i] for e in edges], np.int64) for i in (0, 1)))
    graph = nx.Graph([e[:2] for e in edges])
    graph.add_nodes_from(range(26))
    for part in nx.connected_components(graph):
        assert {int(found[node]) for node in part} == {min(part)}


@settings(max_examples=100, deadline=None)
@given(EDGES, st.randoms())
def test_one_forest_holds_the_clusters_of_every_threshold(edges: list[tuple[int, int, float]], rng: object) -> None:
    forest = Forest.of(*arrays(edges))
    assert len(forest.first) == nx.number_of_edges(nx.minimum_spanning_tree(nx.Graph([e[:2] for e in edges])))
    for threshold in (0.5, 0.65, 0.7, 0.9, 1.0):
        graph = nx.Graph([e[:2] for e in edges if e[2] >= threshold])
        found = forest.clusters(threshold)
        place = {int(node) // 10: i for i, node in enumerate(forest.nodes)}
        for part in nx.connected_components(graph):
            roots = {int(found[place[node]]) for node in part}
            assert roots == {place[min(part)]}
    shuffled = list(edges)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    again = Forest.of(*arrays(shuffled))
    for name in ("nodes", "first", "second", "similarity"):
        assert getattr(forest, name).tolist() == getattr(again, name).tolist(), "the order of edges leaves no trace"
