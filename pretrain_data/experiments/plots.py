"""Pictures of a fit: what was predicted against what was measured, and the loss around the recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from pretrain_data.experiments.fit import Fit
from pretrain_data.experiments.laws import Runs
from pretrain_data.experiments.recommend import FLOPS_PER_TOKEN, Recommendation
from pretrain_data.experiments.results import Results

#: The same picture for the same fit: no date, no random ids.
matplotlib.rcParams["svg.hashsalt"] = "pretrain-data"


def draw(path: Path, results: Results, fit: Fit, found: Recommendation | None, weights: Mapping[str, float]) -> None:
    """Write `path` (.svg, .png or .pdf)."""
    sliced = found is not None and len(fit.channels) > 1
    sized = found is not None and all(f.law.shape.size and f.law.shape.data for f in fit.fits.values())
    panels = 1 + int(sliced) + int(sized)
    figure = Figure(figsize=(5.2 * panels, 4.4), layout="constrained")
    axes = iter(np.atleast_1d(figure.subplots(1, panels)))
    _measured(next(axes), results, fit)
    if found is not None and sliced:
        _around(next(axes), fit, found, weights)
    if found is not None and sized:
        _sizes(next(axes), fit, found, weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})


def _measured(axis, results: Results, fit: Fit) -> None:  # type: ignore[no-untyped-def]
    ends = [np.inf, -np.inf]
    for name, predicted in fit.losses(results.runs).items():
        axis.plot(predicted, results.loss[name], "o", ms=4, alpha=0.7, label=name)
        ends = [min(ends[0], predicted.min()), max(ends[1], predicted.max())]
    axis.plot(ends, ends, "-", lw=0.8, color="grey")
    axis.set(xlabel="fitted loss (nats a token)", ylabel="measured", title="Fit")
    axis.legend(fontsize=8)


def _around(axis, fit: Fit, found: Recommendation, weights: Mapping[str, float]) -> None:  # type: ignore[no-untyped-def]
    """One channel's share varied, the others in proportion."""
    best = np.array([found.mixture[c] for c in fit.channels])
    for i, channel in enumerate(fit.channels):
        share = np.linspace(fit.runs.shares[:, i].min(), fit.runs.shares[:, i].max(), 60)
        rest = np.delete(best, i)
        rest = rest / rest.sum() if rest.sum() > 0 else np.full(len(rest), 1 / len(rest))
        shares = np.insert((1 - share)[:, None] * rest, i, share, axis=1)
        runs = Runs(shares, np.full(60, found.params), np.full(60, found.tokens))
        [line] = axis.plot(share, fit.total(runs, weights), label=channel)
        axis.plot(best[i], found.loss, "o", color=line.get_color())
    axis.set(xlabel="share of a channel, the others in proportion", ylabel="weighted loss", title="Mixture")
    axis.legend(fontsize=8)


def _sizes(axis, fit: Fit, found: Recommendation, weights: Mapping[str, float]) -> None:  # type: ignore[no-untyped-def]
    """Loss over size for the recommendation's compute, with its interval."""
    budget = found.params * found.tokens
    size = found.params * np.logspace(-1.5, 1.5, 80)
    runs = Runs(np.tile([found.mixture[c] for c in fit.channels], (80, 1)), size, budget / size)
    low, high = fit.interval(runs, weights, new_run=False)
    axis.fill_between(size, low, high, alpha=0.25)
    axis.plot(size, fit.total(runs, weights))
    axis.plot(found.params, found.loss, "o")
    axis.set(xscale="log", xlabel="parameters", ylabel="weighted loss",
             title=f"{FLOPS_PER_TOKEN * budget:.2g} FLOPs")  # fmt: skip
