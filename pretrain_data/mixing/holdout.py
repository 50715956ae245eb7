"""Validation documents: whole groups of similar documents, so that no near-duplicate of one is trained on.

Of each part of the first phase's mixture, groups are taken in the order of a hash until the part's
validation tokens are there. A group belongs to the part of its member with the lowest hash; a group that
alone would hold more than a tenth of the tokens is left in the training data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from pretrain_data.kernels.mixture import KEY_BITS, Cut
from pretrain_data.mixing import plan
from pretrain_data.mixing.mixture import Tokens

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: A group with a larger share of its part's validation tokens would be most of them.
LARGEST_GROUP = 0.1
#: Where validation stands among the phases' positions: [-1, 0).
PHASE = -1


class Holdout(BaseModel):
    """How much of each part of the first phase's mixture is kept for validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: Tokens = Field(gt=0, description="Validation tokens of each part of the first phase's mixture.")
    max_share: float = Field(
        default=0.01, gt=0, le=0.5, description="Share of a part's tokens that validation may take at most."
    )


def held_groups(items: DataFrame, leaves: int, config: Holdout, seed: int) -> DataFrame:
    """`group` of every group held out; `leaves` is how many parts the first phase has."""
    from pyspark.sql import functions as F

    spark = items.sparkSession
    here = items.where("phase = 0")
    room = {
        row["leaf"]: min(float(config.tokens), config.max_share * row["tokens"])
        for row in here.groupBy("leaf").agg(F.sum("tokens").alias("tokens")).collect()  # one row a part
    }
    groups = (
        here.groupBy("group")
        .agg(F.min(F.struct("id", "leaf")).alias("first"), F.sum("tokens").alias("tokens"))
        .select(
            F.col("first.leaf").alias("leaf"),
            "group",
            "tokens",
            F.shiftrightunsigned(F.xxhash64(F.lit(seed), "group"), 64 - KEY_BITS).alias("key"),
        )
    )
    largest = spark.createDataFrame(
        [(i, room.get(i, 0.0) * LARGEST_GROUP) for i in range(leaves)], "leaf int, most double"
    )
    groups = groups.join(F.broadcast(largest), "leaf").where("tokens <= most").drop("most")
    cuts = {leaf: Cut(room.get(leaf, 0.0), max(room.get(leaf, 0.0) * 1e-3, 1.0)) for leaf in range(leaves)}
    plan.search_cuts(groups, plan.histogram(groups, {leaf: plan.whole_keys() for leaf in cuts}), cuts)
    found = F.array(*(F.lit(cuts[leaf].found or 0) for leaf in range(leaves)))
    return groups.where(F.col("key") < found[F.col("leaf")]).select("group")


def places(items: DataFrame, held: DataFrame) -> DataFrame:
    """`shard, row, position` of each validation document, once, in the order of a hash: position in [-1, 0)."""
    from pyspark.sql import functions as F

    spot = F.shiftrightunsigned(F.xxhash64("id"), 11) / F.lit(float(1 << 53))
    return (
        items.join(held, "group", "left_semi")
        .select("shard", "row", "id")
        .distinct()
        .select("shard", "row", (F.lit(float(PHASE)) + spot).alias("position"))
    )


def record(items: DataFrame, held: DataFrame, names: list[str]) -> list[dict[str, Any]]:
    """Documents and tokens held out of each part, for the manifest."""
    from pyspark.sql import functions as F

    rows = (
        items.where("phase = 0")
        .join(held, "group", "left_semi")
        .groupBy("leaf")
        .agg(F.count("*").alias("documents"), F.sum("tokens").alias("tokens"))
        .collect()  # one row a part
    )
    return [
        {"part": names[row["leaf"]], "documents": row["documents"], "tokens": row["tokens"]}
        for row in sorted(rows, key=lambda row: row["leaf"])
    ]
