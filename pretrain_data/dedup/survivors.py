"""Who stays: one survivor for each cluster by a ranking of columns, and what each other member is to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pretrain_data.kernels import survivors as kernel

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
F32 = npt.NDArray[np.float32]

#: Bytes of the table of clusters by node and level; more thresholds than fit are worked out one part after the other.
LEVELS_BYTES = 1 << 30


class RankBy(BaseModel):
    """One criterion of the ranking: a column, and which of its values come first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str = Field(description="A column, or `chars` for the length of the text.")
    order: str | tuple[str, ...] = Field(
        default="desc", description="asc, desc, or a list of values, best first; nulls come last."
    )


def ranks(table: pa.Table, criteria: tuple[RankBy, ...]) -> I64:
    """The place of each row among all, 0 first. Criteria whose column is absent are passed over.

    Ties end at `doc_id`, so that the order of arrival never decides.
    """
    keys: dict[str, Any] = {}
    sort: list[tuple[str, str]] = []
    for i, criterion in enumerate(criteria):
        if criterion.column not in table.column_names:
            continue
        values = table[criterion.column]
        if isinstance(criterion.order, tuple):
            places = pc.index_in(values, pa.array(criterion.order, values.type))
            keys[f"k{i}"] = pc.fill_null(places, len(criterion.order))
            sort.append((f"k{i}", "ascending"))
        else:
            keys[f"k{i}"] = values
            sort.append((f"k{i}", "descending" if criterion.order == "desc" else "ascending"))
    keys["doc_id"] = table["doc_id"]
    sort.append(("doc_id", "ascending"))
    order = pc.sort_indices(pa.table(keys), sort_keys=[(*key, "at_end") for key in sort]).to_numpy()
    out = np.empty(len(order), np.int64)
    out[order] = np.arange(len(order))
    return out


@dataclass(frozen=True)
class Alike:
    """What the similarity of any two nodes of one cluster is worked out from.

    Node i is document nodes[i], of content (low[i], high[i]); `tied[i]` is the similarity of its closest neighbour in
    the forest. The nodes' shingle sets are values[start[i]:end[i]], sorted; where `start` is empty, rows of
    `signatures` (documents × permutations) are compared.
    """

    nodes: I64
    low: U64
    high: U64
    tied: F32
    values: U64
    start: I64
    end: I64
    signatures: npt.NDArray[np.uint32]


def choose(cluster: I64, rank: I64, alike: Alike, keep_within: float, split: bool, fixed: int = 0) -> tuple[I64, F32]:
    """For each node its survivor (itself, for one that stays) and its similarity to it.

    `cluster[i]` is the component of node i. Members are taken by rank. With `split`, one that is less similar
    than `keep_within` to every survivor of its cluster so far becomes a survivor too: a chain of near-misses
    then doesn't lose documents that nothing kept stands for. Else the best ranked is the only survivor. The first
    `fixed` nodes survive whatever they are like: an earlier day has kept them.
    """
    _, survivor, value = _stand([cluster], rank, alike, [keep_within], split, fixed)
    return survivor, value


def gone(
    clusters: Callable[[float], I64],
    rank: I64,
    alike: Alike,
    thresholds: Sequence[float],
    margin: float,
    split: bool,
    fixed: int = 0,
) -> Iterator[npt.NDArray[np.bool_]]:
    """For each of the rising `thresholds` which nodes `choose` drops there, where a member may be `margin` under it.

    clusters(t) are the components at t. Pairs are compared once for many thresholds.
    """
    at_once = max(1, min(kernel.LEVELS, LEVELS_BYTES // (4 * max(1, len(rank)))))
    for low in range(0, len(thresholds), at_once):
        some = thresholds[low : low + at_once]
        levels, least = [clusters(t) for t in some], [t - margin for t in some]
        dropped, _, _ = _stand(levels, rank, alike, least, split, fixed)
        for level in range(len(some)):
            yield (dropped >> np.uint64(level) & np.uint64(1)).astype(np.bool_)


def _stand(
    clusters: list[I64], rank: I64, alike: Alike, least: list[float], split: bool, fixed: int
) -> tuple[U64, I64, F32]:
    order = np.lexsort((rank, clusters[0]))
    of = clusters[0][order]
    begin = np.r_[np.flatnonzero(np.r_[True, of[1:] != of[:-1]]), len(of)] if len(of) else np.zeros(1, np.int64)
    levels = np.stack(clusters, axis=1).astype(np.int32)
    bounds = np.array(least if split else [-2.0] * len(least), np.float32)  # -2: below every similarity
    a = alike
    return kernel.stand(  # type: ignore[no-any-return]
        *(order, begin, levels, bounds, a.nodes, a.low, a.high, a.tied, a.values, a.start, a.end, a.signatures),
        *(fixed, kernel.PACKED),
    )
