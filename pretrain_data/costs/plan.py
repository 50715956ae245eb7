"""`plan cost`: hours, core-hours, GPU-hours, shuffle and disk of each stage for the tokens that are wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from pretrain_data.costs.law import Law, fit
from pretrain_data.costs.points import Point, read
from pretrain_data.errors import InputError

#: The stages that choose from the supply and put it into order; those before them make the supply.
CHOOSING = ("decontaminate", "mix", "export")
#: The stages that a GPU would work for.
MODELS = ("quality", "classify")


@dataclass(frozen=True)
class Cluster:
    """What the run would have. Rates are real (unpadded) tokens a second."""

    cores: int
    gpus: int = 0
    utilisation: float = 0.8  # share of the cores' time that does work; the rest is waiting and stragglers
    gpu_tokens_per_second: float = 0.69e6  # FineWeb-Edu: 15 T tokens in 6,000 H100-hours (arXiv:2406.17557)
    host_tokens_per_second: float = 0.85e6  # tokenisation on one core, as measured by scripts/bench/scoring.py
    max_tokens: int = 512  # that a scorer reads of a document


@dataclass(frozen=True)
class StageCost:
    """The cost of one stage; hours are of the wall clock."""

    stage: str
    chars: float
    core_hours: float
    gpu_hours: float
    hours: float
    shuffle_bytes: float
    disk_bytes: float
    exponent: float  # of CPU seconds over text, nan where one run alone was measured


@dataclass(frozen=True)
class Plan:
    """All stages and what was taken for granted."""

    tokens: int
    tokens_per_char: float
    stages: list[StageCost]
    worker_peak_bytes: float
    jvm_peak_bytes: float
    assumptions: list[str] = field(default_factory=list)


def plan(workspaces: list[Path], stages: list[str], tokens: int, cluster: Cluster) -> Plan:
    """Scale the runs of `workspaces` (one config over samples of several sizes) to `tokens` after dedup.

    The supply, what the last stage before mix keeps, is scaled to the wanted tokens, and with it all that comes
    before; the shares that the stages keep are those of the largest run. Raises InputError where nothing was measured.
    """
    runs = [read(workspace, stages) for workspace in workspaces]
    largest = max(runs, key=lambda points: points[0].chars)
    per_char = _tokens_per_char(largest)
    supply = [p for p in largest if p.stage not in CHOOSING]
    if not supply or not supply[-1].kept_chars:
        raise InputError("the largest run keeps no text before mix; nothing can be scaled from it")
    factor = tokens / (supply[-1].kept_chars * per_char)
    costs = []
    for point in largest:
        same = [p for points in runs for p in points if p.stage == point.stage]
        chars = tokens / per_char if point.stage == "export" else point.chars * factor
        costs.append(_stage(point, same, chars, chars / point.chars, per_char, cluster))
    return Plan(
        tokens,
        per_char,
        costs,
        max(p.worker_peak_bytes for p in largest),
        max(p.jvm_peak_bytes for p in largest),
        _assumptions(largest, len(runs), factor, cluster),
    )


def _stage(
    point: Point, same: list[Point], chars: float, factor: float, per_char: float, cluster: Cluster
) -> StageCost:
    amounts = [float(p.chars) for p in same]

    def law(costs: list[float]) -> Law:
        return fit(amounts, costs)

    whole, driver = law([p.cpu_seconds for p in same]), law([p.driver_seconds for p in same])
    cpu, serial, gpu = whole.at(chars), driver.at(chars), 0.0
    if cluster.gpus and point.stage in MODELS:
        documents = point.documents * factor
        scored = documents * min(cluster.max_tokens, chars * per_char / documents)
        gpu = scored / cluster.gpu_tokens_per_second
        cpu, serial = scored / cluster.host_tokens_per_second, 0.0
    serial = min(serial, cpu)
    seconds = serial + (cpu - serial) / (cluster.cores * cluster.utilisation)
    if gpu:
        seconds = max(seconds, gpu / (cluster.gpus * cluster.utilisation))
    return StageCost(
        point.stage,
        chars,
        cpu / 3600,
        gpu / 3600,
        seconds / 3600,
        law([p.shuffle_bytes for p in same]).at(chars),
        law([float(p.disk_bytes) for p in same]).at(chars),
        whole.exponent,
    )


def _tokens_per_char(points: list[Point]) -> float:
    for point in reversed(points):
        if point.tokens and point.kept_chars:
            return point.tokens / point.kept_chars
    raise InputError("no stage of the largest run has counted tokens; run it as far as mix")


def _assumptions(largest: list[Point], runs: int, factor: float, cluster: Cluster) -> list[str]:
    said = [
        f"the largest run read {largest[0].chars:,} characters in {largest[0].documents:,} documents; "
        f"all is scaled by {factor:,.3g}",
        "shares kept by each stage stay as in that run; a larger crawl holds more duplicates, so this reads too much",
        f"{cluster.utilisation:.0%} of the cores' time does work; cores are as fast as those that were measured",
        "the driver's own seconds are not divided by the cores",
    ]
    if runs == 1:
        said.append("from one run alone start-up is scaled too: an upper bound; give --from a smaller run as well")
    if cluster.gpus:
        said.append(
            f"scorers read {cluster.max_tokens} tokens a document, a GPU {cluster.gpu_tokens_per_second:,.0f}/s, "
            f"fed by cores of {cluster.host_tokens_per_second:,.0f} a second"
        )
    return said


def table(found: Plan) -> Table:
    """The plan as a table for a terminal."""
    shown = Table(title=f"{found.tokens:,} tokens")
    for name in (
        "stage",
        "text in, G chars",
        "hours",
        "core-hours",
        "GPU-hours",
        "shuffle, GB",
        "disk, GB",
        "exponent",
    ):
        shown.add_column(name, justify="left" if name == "stage" else "right")
    for cost in found.stages:
        exponent = "" if cost.exponent != cost.exponent else f"{cost.exponent:.2f}"
        shown.add_row(
            cost.stage,
            f"{cost.chars / 1e9:,.1f}",
            f"{cost.hours:,.2f}",
            f"{cost.core_hours:,.1f}",
            f"{cost.gpu_hours:,.1f}" if cost.gpu_hours else "",
            f"{cost.shuffle_bytes / 1e9:,.1f}",
            f"{cost.disk_bytes / 1e9:,.1f}",
            exponent,
        )
    total = found.stages
    shown.add_row(
        "all",
        "",
        f"{sum(c.hours for c in total):,.2f}",
        f"{sum(c.core_hours for c in total):,.1f}",
        f"{sum(c.gpu_hours for c in total):,.1f}",
        f"{sum(c.shuffle_bytes for c in total) / 1e9:,.1f}",
        f"{sum(c.disk_bytes for c in total) / 1e9:,.1f}",
        "",
    )
    return shown
