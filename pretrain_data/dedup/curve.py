"""What each threshold would keep: the curve over the forest, made while signatures are at hand.

One run looks for pairs down to its lowest threshold; the forest then holds the clusters of every threshold above,
and the same choice of survivors that the run makes is made for each of them. So the curve says exactly what a run
at that threshold (with the same spacing_threshold) would keep, with no second pass over documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: Columns of a group of documents, told apart in the curve.
GROUP = ("lang", "channel")
SCHEMA = pa.schema(
    [
        ("threshold", pa.float64()),
        ("lang", pa.string()),
        ("channel", pa.string()),
        ("documents", pa.int64()),
        ("chars", pa.int64()),
        ("tokens", pa.float64()),  # counted where documents have `tokens`, else from a sample's tokens a character
        ("tokens_sd", pa.float64()),  # standard error of that count, and of which clusters a sample happens to hold
    ]
)
#: No deduplication at all: above every similarity.
NONE = 2.0

Gone = Iterable[npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Totals:
    """All documents by group. Rows: lang, channel, documents, chars, tokens, ratio, ratio_sd.

    `tokens` and `ratio` (tokens a character) are counted on all documents or on a sample; `ratio_sd` is the
    standard error of the ratio, 0 where all were counted.
    """

    table: pa.Table

    @classmethod
    def of(cls, groups: list[dict[str, Any]]) -> Totals:
        """From sums by group: documents, chars, and over the counted ones n, x (chars), y (tokens), xx, xy, yy.

        The ratio estimator y/x and its standard error are those of Cochran, Sampling Techniques (1977), 6.3. A
        group of which nothing was counted takes the ratio of all.
        """
        whole = {key: sum(g[key] for g in groups) for key in ("n", "x", "y", "xx", "xy", "yy")}
        rows = []
        for group in sorted(groups, key=lambda g: (g["lang"], g["channel"])):
            basis = group if group["x"] else whole
            ratio, error = _ratio(basis)
            counted = group["n"] == group["documents"]
            rows.append(
                {key: group[key] for key in (*GROUP, "documents", "chars")}
                | {"tokens": float(group["y"]) if counted else ratio * group["chars"]}
                | {"ratio": ratio, "ratio_sd": 0.0 if counted else error}
            )
        kinds = [*list(SCHEMA)[1:6], pa.field("ratio", pa.float64()), pa.field("ratio_sd", pa.float64())]
        return cls(pa.Table.from_pylist(rows, pa.schema(kinds)))


def _ratio(s: dict[str, float]) -> tuple[float, float]:
    """Tokens a character and its standard error, from a sample's sums."""
    if not s["x"]:
        return 0.0, 0.0
    ratio = s["y"] / s["x"]
    if s["n"] < 2:
        return ratio, ratio
    spread = max(0.0, s["yy"] - 2 * ratio * s["xy"] + ratio * ratio * s["xx"]) / (s["n"] - 1)
    return ratio, float(np.sqrt(spread * s["n"])) / s["x"]


def curve(
    totals: Totals, members: pa.Table, thresholds: list[float], gone: Gone, cluster: Callable[..., Any]
) -> pa.Table:
    """What is kept at each threshold, by group; the first rows (threshold NONE) are all documents.

    `members` are the documents that have a similar one, with lang, channel, chars and tokens (null where not counted).
    `gone` says for each threshold which of them a run drops, `cluster(t)` to which cluster each belongs.
    """
    t = totals.table
    names = [tuple(row) for row in zip(t["lang"].to_pylist(), t["channel"].to_pylist(), strict=True)]
    place = {name: i for i, name in enumerate(names)}
    pairs = zip(members["lang"].to_pylist(), members["channel"].to_pylist(), strict=True)
    group = np.array([place[pair] for pair in pairs], np.int64)
    chars = members["chars"].to_numpy().astype(np.int64)
    ratio = t["ratio"].to_numpy()
    tokens = ratio[group] * chars if len(group) else np.zeros(0)
    if members["tokens"].null_count == 0:
        tokens = members["tokens"].to_numpy().astype(np.float64)
    parts = [_rows(t, NONE, t["documents"].to_numpy(), t["chars"].to_numpy(), t["tokens"].to_numpy(), 0.0)]
    for threshold, mask in zip(thresholds, gone, strict=True):
        lost = group[mask]

        def removed(weights: Any = None, lost: Any = lost) -> Any:
            return np.bincount(lost, weights, minlength=len(names))

        by_cluster: Any = np.zeros(len(names))
        if mask.any():
            # Clusters come or stay away as a whole when documents are sampled: they are the units of the error.
            both = cluster(threshold)[mask] * len(names) + lost
            units, at = np.unique(both, return_inverse=True)
            by_cluster = np.bincount(units % len(names), np.bincount(at, tokens[mask]) ** 2, minlength=len(names))
        parts.append(
            _rows(
                t,
                threshold,
                t["documents"].to_numpy() - removed(),
                t["chars"].to_numpy() - removed(chars[mask].astype(np.float64)).astype(np.int64),
                t["tokens"].to_numpy() - removed(tokens[mask]),
                by_cluster,
            )
        )
    return pa.concat_tables(parts)


def _rows(t: pa.Table, threshold: float, documents: Any, chars: Any, tokens: Any, variance: Any) -> pa.Table:
    error = np.sqrt((t["ratio_sd"].to_numpy() * chars) ** 2 + variance)
    columns = [pa.array([threshold] * t.num_rows), t["lang"], t["channel"], documents, chars, tokens, error]
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True))).cast(SCHEMA)


@dataclass(frozen=True)
class Point:
    """The whole corpus at one threshold; `low` and `high` bound its tokens at 95 %."""

    threshold: float
    documents: int
    chars: int
    tokens: float
    low: float
    high: float


def points(table: pa.Table, scale: float = 1.0) -> list[Point]:
    """The curve over all groups, from the lowest threshold up; the last has no deduplication at all.

    `scale` extrapolates from a sample to a corpus `scale` times its size, by which counts and, with it, the error
    of which clusters the sample holds grow.
    """
    squared = table.append_column("variance", pc.multiply(table["tokens_sd"], table["tokens_sd"]))
    sums = squared.group_by("threshold").aggregate([(c, "sum") for c in ("documents", "chars", "tokens", "variance")])
    out = []
    for row in sums.sort_by("threshold").to_pylist():
        half = 1.96 * scale * float(np.sqrt(row["variance_sum"]))
        tokens = scale * row["tokens_sum"]
        counts = (round(scale * row["documents_sum"]), round(scale * row["chars_sum"]))
        out.append(Point(row["threshold"], *counts, tokens, tokens - half, tokens + half))
    return out


def strictest(found: list[Point], target: float) -> Point | None:
    """The lowest threshold that leaves `target` tokens; None where even the highest leaves fewer."""
    return next((point for point in found if point.threshold <= 1 and point.tokens >= target), None)
