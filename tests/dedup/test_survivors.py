"""Survivors by hand: the ranking, its ties, and chains that are split or kept."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.dedup.survivors import Alike, RankBy, choose, gone, ranks


def test_the_ranking_goes_through_its_criteria() -> None:
    table = pa.table(
        {
            "doc_id": ["e", "d", "c", "b", "a", "f"],
            "source": ["web", "wiki", "web", "web", "web", "other"],
            "quality_score": [0.9, 0.1, 0.9, None, 0.9, 1.0],
            "crawl_date": [date(2026, 1, 2), None, date(2026, 1, 1), date(2020, 1, 1), date(2026, 1, 1), None],
        }
    )
    criteria = (
        RankBy(column="source", order=("wiki", "web")),
        RankBy(column="quality_score", order="desc"),
        RankBy(column="missing"),
        RankBy(column="crawl_date", order="asc"),
    )
    order = np.argsort(ranks(table, criteria))
    # wiki first; then web by score: a and c (earlier date; a before c by id), e; b without a score; then other.
    assert [table["doc_id"][int(i)].as_py() for i in order] == ["d", "a", "c", "e", "b", "f"]


def alike(sets: list[set[int]], tied: list[float] | None = None) -> Alike:
    """Nodes of these shingle sets, all of different content."""
    sizes = np.array([len(s) for s in sets], np.int64)
    ends = np.cumsum(sizes)
    values = np.array([v for s in sets for v in sorted(s)], np.uint64)
    values.flags.writeable = False
    number = np.arange(len(sets))
    zeros = np.zeros(len(sets))
    content = number.astype(np.uint64), zeros.astype(np.uint64)
    ties = np.array(tied or zeros, np.float32)
    return Alike(number, *content, ties, values, ends - sizes, ends, np.zeros((0, 128), np.uint32))


#: Five documents on a line: each shares 90 of its 100 shingles with the next, 80 with the one after, and so on.
LINE = [set(range(10 * i, 10 * i + 100)) for i in range(5)]


@pytest.mark.parametrize(
    ("split", "expected"),
    # 90 of 110 are 0.818, 80 of 120 are 0.667: at 0.8 each stands for the next alone.
    [(True, [0, 0, 2, 2, 4]), (False, [0, 0, 0, 0, 0])],
)
def test_a_chain_is_split_where_asked(split: bool, expected: list[int]) -> None:
    cluster, rank = np.zeros(5, np.int64), np.arange(5)
    survivor, value = choose(cluster, rank, alike(LINE), 0.8, split)
    assert survivor.tolist() == expected
    shared = [100 - 10 * abs(i - s) for i, s in enumerate(expected)]
    assert value.tolist() == pytest.approx([s / (200 - s) for s in shared])


def test_clusters_are_apart_and_the_rank_decides() -> None:
    cluster, rank = np.array([0, 1, 0, 1, 0]), np.array([3, 0, 1, 2, 4])
    survivor, value = choose(cluster, rank, alike([{1, 2, 3, 4}] * 5, [0.5] * 5), 0.4, True)
    assert survivor.tolist() == [2, 1, 2, 1, 2]
    # Two alone are as alike as their edge in the forest says: they aren't compared again.
    assert value.tolist() == [1, 1, 1, 0.5, 1]


def test_what_an_earlier_day_kept_stays() -> None:
    survivor, _ = choose(np.zeros(5, np.int64), np.arange(5), alike(LINE), 0.8, True, fixed=2)
    assert survivor.tolist() == [0, 1, 1, 3, 3]


def step_by_step(cluster: Any, rank: Any, similar: Any, least: np.float32, fixed: int) -> tuple[list[int], list[float]]:
    """The rule as it is told, for one node after the other."""
    survivor, value = list(range(len(cluster))), [1.0] * len(cluster)
    for node in sorted(range(len(cluster)), key=lambda i: rank[i]):
        if node < fixed:
            continue
        standing = [o for o in range(len(cluster)) if cluster[o] == cluster[node] and rank[o] < rank[node]]
        for other in sorted((o for o in standing if survivor[o] == o), key=lambda o: rank[o]):
            if similar(node, other) >= least:
                survivor[node], value[node] = other, similar(node, other)
                break
    return survivor, value


def jaccard(a: set[int], b: set[int]) -> np.float32:
    return np.float32(len(a & b) / len(a | b) if a | b else 0)


@st.composite
def corpora(draw: st.DrawFn) -> list[set[int]]:
    """Sets of shingles that are edits of a few, in any order."""
    sets = []
    for base in range(draw(st.integers(1, 3))):
        size = draw(st.integers(5, 300))
        for _ in range(draw(st.integers(3, 9))):
            low = draw(st.integers(0, size // 3))
            dropped = draw(st.sets(st.integers(0, size), max_size=size // 4))
            sets.append({1000 * base + v for v in set(range(low, low + size)) - dropped})
    return list(draw(st.permutations(sets)))


def components(sets: list[set[int]], threshold: float) -> np.ndarray:
    """The clusters at a threshold, each by its first node: whoever a chain of pairs as similar leads to."""
    cluster = list(range(len(sets)))
    for _ in sets:
        for i, a in enumerate(sets):
            near = [cluster[j] for j, b in enumerate(sets) if i == j or jaccard(a, b) >= np.float32(threshold)]
            cluster[i] = min(near)
    return np.array(cluster)


@settings(deadline=None)
@given(corpora(), st.integers(0, 3), st.sampled_from([0.0, 0.05]), st.booleans(), st.data())
@pytest.mark.parametrize("packed", [3, 1000])
def test_survivors_are_those_of_the_rule_told_step_by_step(
    packed: int, sets: list[set[int]], fixed: int, margin: float, split: bool, data: st.DataObject
) -> None:
    thresholds = [0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0]
    rank = np.array([*range(fixed), *(fixed + r for r in data.draw(st.permutations(range(len(sets) - fixed))))])
    nodes = alike(sets, [max(jaccard(s, o) for o in sets if o is not s) for s in sets])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretrain_data.kernels.survivors.PACKED", packed)
        dropped = list(gone(partial(components, sets), rank, nodes, thresholds, margin, split, fixed))
        chosen = [choose(components(sets, t), rank, nodes, t - margin, split, fixed) for t in thresholds]
    for threshold, mask, (survivor, value) in zip(thresholds, dropped, chosen, strict=True):
        least = np.float32(threshold - margin) if split else np.float32(-1)
        cluster = components(sets, threshold)
        expected = step_by_step(cluster, rank, lambda i, j: jaccard(sets[i], sets[j]), least, fixed)
        assert (survivor.tolist(), value.tolist()) == expected
        assert mask.tolist() == [s != i for i, s in enumerate(expected[0])]


def test_more_thresholds_than_bits_are_told_in_parts() -> None:
    thresholds = [0.5 + i / 200 for i in range(101)]
    nodes = alike(LINE)
    masks = list(gone(lambda _: np.zeros(5, np.int64), np.arange(5), nodes, thresholds, 0.0, True))
    assert len(masks) == 101
    # The next document is 0.818 alike, the one after 0.667: two or three stand for others, or none does.
    assert [int(mask.sum()) for mask in masks] == [
        3 if t <= 80 / 120 else 2 if t <= 90 / 110 else 0 for t in thresholds
    ]


def test_signatures_are_compared_where_there_are_no_sets() -> None:
    base = np.arange(128, dtype=np.uint32)
    near, far = base.copy(), base.copy()
    near[:16] += 1000  # 112 of 128 agree: 0.875
    far[:64] += 1000
    number, zeros, none = np.arange(3), np.zeros(3), np.zeros(0, np.int64)
    values = np.zeros(0, np.uint64)
    values.flags.writeable = False
    content = number.astype(np.uint64), zeros.astype(np.uint64)
    documents = number[::-1].copy()  # node 0 is document 2
    nodes = Alike(documents, *content, zeros.astype(np.float32), values, none, none, np.stack([far, base, near]))
    survivor, value = choose(np.zeros(3, np.int64), number, nodes, 0.8, True)
    assert survivor.tolist() == [0, 0, 2]
    assert value.tolist() == [1, 0.875, 1]
