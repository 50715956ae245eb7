"""How far apart an order puts similar documents, beside a plain shuffle of the same uses.

For each group of k ≥ 2 uses of similar documents (a document's own repeats among them): its smallest gap
between neighbours, over the ideal gap T/k for an order of T tokens. Groups whose ideal gap spans fewer than
200 documents are counted apart: there the length of single documents decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Ideal gap, in documents of mean length, from which on a group counts as wide.
WIDE = 200


def report(placed: DataFrame, names: dict[int, str]) -> dict[str, Any]:
    """By phase: groups, and the median, first percentile and minimum of smallest gap over ideal gap.

    `placed` has phase, group, start (first token in the phase's stream), shuffled (the same in a plain
    shuffle) and size, one row a use. Figures are rounded to four digits.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    totals = placed.groupBy("phase").agg(F.sum("size").alias("total"), F.count("*").alias("uses"))

    def gap(column: str) -> Column:
        group = Window.partitionBy("phase", "group").orderBy(column)
        return F.lead(column).over(group) - F.col(column)

    rows = (
        placed.withColumn("gap", gap("start"))
        .withColumn("plain", gap("shuffled"))
        .groupBy("phase", "group")
        .agg(F.count("*").alias("k"), F.min("gap").alias("gap"), F.min("plain").alias("plain"))
        .where("k >= 2")
        .join(F.broadcast(totals), "phase")
        .withColumn("wide", F.col("uses") / F.col("k") >= WIDE)
        .select("phase", "wide", *((F.col(c) * F.col("k") / F.col("total")).alias(c) for c in ("gap", "plain")))
        .groupBy("phase", "wide")
        .agg(
            F.count("*").alias("groups"),
            *(F.expr(f"percentile({c}, array(0.5, 0.01, 0.0))").alias(c) for c in ("gap", "plain")),
        )
        .collect()  # two rows a phase
    )
    found: dict[str, Any] = {}
    for row in sorted(rows, key=lambda row: (row["phase"], not row["wide"])):
        found.setdefault(names[row["phase"]], {})["wide" if row["wide"] else "narrow"] = {
            "groups": row["groups"],
            "spaced": _figures(row["gap"]),
            "plain_shuffle": _figures(row["plain"]),
        }
    return found


def _figures(values: list[float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in zip(("median", "p1", "min"), values, strict=True)}


def lines(found: dict[str, Any]) -> list[str]:
    """The report as lines of text."""
    out = []
    for phase, kinds in found.items():
        for kind, figures in kinds.items():
            spaced, plain = ([f"{v:.3f}" for v in figures[k].values()] for k in ("spaced", "plain_shuffle"))
            out.append(
                f"{phase}: {figures['groups']:,} {kind} groups, smallest by ideal gap: median, 1st percentile, least "
                f"{', '.join(spaced)} (plain shuffle {', '.join(plain)})"
            )
    return out
