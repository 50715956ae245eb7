"""Survivors by hand: the ranking, its ties, and chains that are split or kept."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from pretrain_data.dedup.survivors import RankBy, choose, ranks


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


def chain(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Documents on a line: similarity falls by 0.15 a step."""
    return (1 - 0.15 * np.abs(first - second)).astype(np.float32)


@pytest.mark.parametrize(
    ("split", "expected"),
    [(True, [0, 0, 2, 2, 4]), (False, [0, 0, 0, 0, 0])],
)
def test_a_chain_is_split_where_asked(split: bool, expected: list[int]) -> None:
    cluster, rank = np.zeros(5, np.int64), np.arange(5)
    survivor, value = choose(cluster, rank, chain, 0.8, split)
    assert survivor.tolist() == expected
    assert value.tolist() == pytest.approx([1 - 0.15 * abs(i - s) for i, s in enumerate(expected)])


def test_clusters_are_apart_and_the_rank_decides() -> None:
    cluster, rank = np.array([0, 1, 0, 1]), np.array([3, 0, 1, 2])
    survivor, _ = choose(cluster, rank, lambda a, b: np.ones(len(b), np.float32), 0.8, True)
    assert survivor.tolist() == [2, 1, 2, 1]
