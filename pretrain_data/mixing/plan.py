"""How often the documents of each leaf are used, so that the budget is met.

The corpus is never collected: a pass over the shards counts tokens and writes a few numbers a
document; a histogram of sampling keys per leaf (at most 2**BIN_BITS bins each) finds the cut, and
is taken again inside the bin of the cut until that is exact enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data.errors import InputError
from pretrain_data.kernels.mixture import (
    KEY_BITS,
    Cut,
    Node,
    allocate,
    hash_strings,
    mix,
    sampling_key,
    trim,
    wanted,
)
from pretrain_data.kernels.tokens import count_column
from pretrain_data.mixing.counts import count_file, save
from pretrain_data.mixing.mixture import Leaf, Part, assign
from pretrain_data.stage import Shard
from pretrain_data.tokenizers import load_saved

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: A leaf's target is met to this share, where its documents allow.
EXACT = 5e-4

#: One row for each document and phase that has a leaf for it.
ITEM = pa.schema(
    [
        ("shard", pa.string()),
        ("row", pa.int64()),
        ("phase", pa.int32()),
        ("leaf", pa.int32()),  # number over all phases
        ("id", pa.int64()),  # hash of doc_id
        ("group", pa.int64()),  # hash of similar_group
        ("spin", pa.float64()),  # [0, 1): where in its group a document's uses begin
        ("key", pa.int64()),  # sampling key
        ("tokens", pa.int64()),
    ]
)


@dataclass(frozen=True)
class PhaseLeaves:
    """The leaves of one phase and how it samples; `first` is the number of its first leaf."""

    name: str
    leaves: tuple[Leaf, ...]
    first: int
    quality_exponent: float


@dataclass(frozen=True)
class Measure:
    """Reads one shard: counts tokens, finds leaves and keys. A picklable `ShardFunction`.

    Counts go to `counts`, since they are needed again for the output and by the next run; those of the shards
    named in `known` lie in `before` and are taken from there, so that no text is needed.
    """

    phases: tuple[PhaseLeaves, ...]
    tokenizer: str
    counts: Path
    before: Path
    known: frozenset[str]
    seed: int
    quality_floor: float
    quality_default: float

    def __call__(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
        known = np.load(count_file(self.before, shard)) if shard.name in self.known else None
        encoder = load_saved(self.tokenizer) if known is None else None
        counts, row = [], 0
        for batch in batches:
            if encoder is not None:
                tokens = count_column(batch.column("text"), encoder)
            else:
                tokens = np.asarray(known)[row : row + batch.num_rows]
            counts.append(tokens)
            yield from self.items(batch, tokens, shard.name, row)
            row += batch.num_rows
        save(count_file(self.counts, shard), np.concatenate(counts) if counts else np.empty(0, np.int32))

    def items(self, batch: pa.RecordBatch, tokens: np.ndarray, shard: str, row: int) -> Iterator[pa.RecordBatch]:
        """The items of one batch; documents without tokens are never used."""
        ids = hash_strings(batch.column("doc_id"))
        groups = hash_strings(group_column(batch))
        spin = (mix(ids, self.seed + 1) >> np.uint64(11)).astype(np.float64) / 2.0**53
        for number, phase in enumerate(self.phases):
            leaf = self.leaf(batch, tokens, phase)
            used = np.flatnonzero((leaf >= 0) & (tokens > 0))
            key = self.key(batch, ids, phase, number)
            columns = [
                pa.array([shard] * len(used), pa.string()),
                pa.array(row + used, pa.int64()),
                pa.array(np.full(len(used), number), pa.int32()),
                pa.array(phase.first + leaf[used].astype(np.int32), pa.int32()),
                pa.array(ids[used].view(np.int64)),
                pa.array(mix(groups[used], self.seed).view(np.int64)),
                pa.array(spin[used]),
                pa.array(key[used]),
                pa.array(tokens[used], pa.int64()),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=ITEM)

    def leaf(self, batch: pa.RecordBatch, tokens: np.ndarray, phase: PhaseLeaves) -> np.ndarray:
        """Leaf of each row within the phase, −1 where there is none."""
        names = [name for name in batch.schema.names if name != "tokens"]
        known = pa.RecordBatch.from_arrays(
            [*(batch.column(name) for name in names), pa.array(tokens)], names=[*names, "tokens"]
        )
        return assign(phase.leaves, known)

    def key(self, batch: pa.RecordBatch, ids: np.ndarray, phase: PhaseLeaves, number: int) -> np.ndarray:
        """Sampling key of each row; the same in every phase, but for the weight of quality."""
        weights = None
        if phase.quality_exponent > 0:
            quality = np.full(batch.num_rows, self.quality_default)
            if "quality_score" in batch.schema.names:
                scores = batch.column("quality_score").cast(pa.float64()).fill_null(self.quality_default)
                quality = scores.to_numpy(zero_copy_only=False)
            weights = np.maximum(quality, self.quality_floor) ** phase.quality_exponent
        return sampling_key(mix(ids, self.seed + 2), weights)


def group_column(batch: pa.RecordBatch) -> pa.Array:
    """Similar documents share a value: `similar_group`, else `cluster_id`, else the document itself."""
    result = batch.column("doc_id").cast(pa.large_string())
    for name in ("cluster_id", "similar_group"):
        if name in batch.schema.names:
            values = batch.column(name).cast(pa.large_string())
            result = pc.coalesce(values, result)
    return result


@dataclass(frozen=True)
class LeafPlan:
    """What one leaf gives: every document `whole` times, and once more those with key < `cut`.

    Uses in blocks that were handed out before count: a document with `used` of them is used
    whole − used times more, and is looked at for the cut where used ≤ whole.
    """

    phase: str
    path: str
    documents: int
    available: int  # tokens
    wanted: float  # tokens, by the weights
    target: float  # tokens, after shortages were shared out
    given: int  # tokens, as sampled
    whole: int
    cut: int
    handed_out: int = 0  # tokens of its documents in blocks that were handed out before
    left_out: tuple[int, ...] = ()  # ids below the cut that are not used once more after all
    taken_in: tuple[int, ...] = ()  # ids above the cut that are

    @property
    def epochs(self) -> float:
        return (self.given + self.handed_out) / self.available if self.available else 0.0

    def record(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "phase": self.phase,
            "part": self.path,
            "documents": self.documents,
            "available_tokens": self.available,
            "wanted_tokens": round(self.wanted),
            "target_tokens": round(self.target),
            "given_tokens": self.given,
            "handed_out_tokens": self.handed_out,
            "epochs": round(self.epochs, 4),
        }


#: Documents on either side of a cut among which `trimmed` looks.
NEAR = 32


@dataclass(frozen=True)
class Stock:
    """What one leaf has: tokens and documents by how often they were used before."""

    tokens: dict[int, int]
    documents: int

    @property
    def available(self) -> int:
        return sum(self.tokens.values())

    @property
    def handed_out(self) -> int:
        return sum(used * tokens for used, tokens in self.tokens.items())

    def given(self, whole: int) -> int:
        """Tokens that are given when every document is used `whole` times in all."""
        return sum((whole - used) * tokens for used, tokens in self.tokens.items() if used < whole)

    def whole(self, goal: float, most: int) -> int:
        """The most whole uses of all documents that give no more than `goal` tokens; `most` bounds it."""
        whole = 0
        while whole < most and self.available and self.given(whole + 1) <= goal:
            whole += 1
        return whole


def stocks(items: DataFrame, leaves: int) -> list[Stock]:
    """The stock of each leaf. `items` has leaf, used, tokens."""
    from pyspark.sql import functions as F

    rows = items.groupBy("leaf", "used").agg(F.sum("tokens").alias("tokens"), F.count("*").alias("documents"))
    tokens: list[dict[int, int]] = [{} for _ in range(leaves)]
    documents = [0] * leaves
    for row in rows.collect():  # leaves × uses
        tokens[row["leaf"]][row["used"]] = row["tokens"]
        documents[row["leaf"]] += row["documents"]
    return [Stock(dict(sorted(t.items())), d) for t, d in zip(tokens, documents, strict=True)]


def open_to_cut(items: DataFrame, wholes: Sequence[int]) -> DataFrame:
    """The items that a cut decides about: those not used more often than the leaf's whole uses."""
    from pyspark.sql import functions as F

    return items.where(F.col("used") <= F.array(*(F.lit(w) for w in wholes))[F.col("leaf")])


def trimmed(items: DataFrame, plans: Sequence[LeafPlan]) -> list[LeafPlan]:
    """Close what single documents leave open: few large ones can make a leaf miss its target."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    off = {i: p for i, p in enumerate(plans) if abs(p.target - p.given) > p.target * EXACT and p.available}
    if not off:
        return list(plans)
    spark = items.sparkSession
    items = open_to_cut(items, [p.whole for p in plans])
    cuts = spark.createDataFrame([(i, p.cut) for i, p in off.items()], "leaf int, cut long")
    nearest = Window.partitionBy("leaf", "above").orderBy("away", "id")
    rows = (
        items.join(F.broadcast(cuts), "leaf")
        .withColumn("above", F.expr("key >= cut"))
        .withColumn("away", F.expr("abs(key - cut)"))
        .withColumn("nth", F.row_number().over(nearest))
        .where(F.col("nth") <= NEAR)
        .select("leaf", "above", "nth", "id", "tokens")
        .orderBy("leaf", "above", "nth")
        .collect()  # at most 2 * NEAR rows a leaf
    )
    result = list(plans)
    for leaf, old in off.items():
        below = [row for row in rows if row["leaf"] == leaf and not row["above"]]
        above = [row for row in rows if row["leaf"] == leaf and row["above"]]
        out, in_ = trim(
            old.target - old.given,
            np.array([row["tokens"] for row in below]),
            np.array([row["tokens"] for row in above]),
            old.target * EXACT,
        )
        change = sum(above[i]["tokens"] for i in in_) - sum(below[i]["tokens"] for i in out)
        result[leaf] = replace(
            old,
            given=old.given + change,
            left_out=tuple(below[i]["id"] for i in out),
            taken_in=tuple(above[i]["id"] for i in in_),
        )
    return result


def tree(parts: Sequence[Part], available: dict[str, int], max_epochs: float) -> Node:
    """The mixture with what each leaf can give."""

    def build(part: Part, path: str, cap: float) -> Node:
        cap = part.max_epochs or cap
        children = tuple(build(child, f"{path}/{child.name}", cap) for child in part.mix)
        capacity = 0 if part.mix else int(cap * available.get(path, 0))
        return Node(part.name, part.weight, capacity, children, path)

    return Node("", 1.0, 0, tuple(build(part, part.name, max_epochs) for part in parts))


def targets(
    parts: Sequence[Part], available: dict[str, int], max_epochs: float, budget: int | None, on_shortage: str
) -> tuple[dict[str, float], dict[str, float]]:
    """(wanted, target) tokens of each leaf. Without a budget, that is all there is once.

    Raises InputError if a leaf is short and `on_shortage` is "fail".
    """
    root = tree(parts, available, max_epochs)
    total = float(sum(available.values()) if budget is None else budget)
    want = wanted(root, total)
    limits = {path: node.capacity for path, node in _leaf_nodes(root).items()}
    short = {path: want[path] for path in want if want[path] > limits[path] * (1 + 1e-9) + 1}
    if short and on_shortage == "fail":
        lines = [f"{path}: {want[path]:.0f} wanted, {limits[path]} to give" for path in sorted(short)]
        raise InputError("the mixture cannot be met: " + "; ".join(lines))
    if on_shortage == "accept":
        return want, {path: min(want[path], limits[path]) for path in want}
    return want, allocate(root, total)


def _leaf_nodes(node: Node) -> dict[str, Node]:
    if not node.children:
        return {node.path: node}
    return {path: leaf for child in node.children for path, leaf in _leaf_nodes(child).items()}


def histogram(items: DataFrame, cuts: dict[int, Cut]) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each leaf: (bins, tokens, documents) between its cut's ends. Bounded by leaves × bins."""
    from pyspark.sql import functions as F

    spark = items.sparkSession
    ends = spark.createDataFrame(
        [(leaf, cut.low, cut.low + (1 << cut.bits), cut.shift) for leaf, cut in cuts.items()],
        "leaf int, low long, high long, shift int",
    )
    rows = (
        items.join(F.broadcast(ends), "leaf")
        .where("key >= low and key < high")
        .groupBy("leaf", F.expr("shiftright(key - low, shift)").alias("bin"))
        .agg(F.sum("tokens").alias("tokens"), F.count("*").alias("documents"))
        .toArrow()  # at most leaves * 2**BIN_BITS rows
        .sort_by([("leaf", "ascending"), ("bin", "ascending")])
    )
    leaf = rows["leaf"].to_numpy()
    result = {}
    for number in cuts:
        part = slice(np.searchsorted(leaf, number), np.searchsorted(leaf, number, side="right"))
        columns = [rows[name].to_numpy()[part] for name in ("bin", "tokens", "documents")]
        result[number] = (columns[0], columns[1], columns[2])
    return result


def whole_keys() -> Cut:
    """The range of all keys, as the first histogram wants it."""
    return Cut(0.0, 0.0, 0, KEY_BITS)


def search_cuts(
    items: DataFrame,
    first: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]],
    cuts: dict[int, Cut],
) -> None:
    """Narrow all cuts together, from the first histogram on, until each is found."""
    histograms = first
    while True:
        for leaf, cut in cuts.items():
            if cut.found is None:
                cut.narrow(*histograms[leaf])
        open_ = {leaf: cut for leaf, cut in cuts.items() if cut.found is None}
        if not open_:
            return
        histograms = histogram(items, open_)
