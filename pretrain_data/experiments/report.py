"""A results table to figures and a recommendation, as one JSON value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pretrain_data.errors import InputError
from pretrain_data.experiments.benchmark import fit_curve
from pretrain_data.experiments.fit import ChannelFit, compare_orders, fit_results
from pretrain_data.experiments.recommend import Belief, recommend, weights_of
from pretrain_data.experiments.results import Results


def fit_report(
    results: Results,
    order: str = "shuffled",
    weights: Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    compute: float | None = None,
    size: float | None = None,
    tokens: float | None = None,
    chance: float = 0.0,
    draws: int = 200,
    seed: int = 1,
    plot: Path | None = None,
    belief: Belief | None = None,
) -> dict[str, Any]:
    """Fit the runs of one order, recommend, compare the other orders, extrapolate benchmark scores.

    `recommendation` is None where the fit is refused; `refusals` says why. Raises InputError for a table that can't
    be fitted.
    """
    base = results.of_order(order)
    if not base.names:
        raise InputError(f"no runs of order {order!r}; there are {', '.join(sorted(set(results.orders)))}")
    fit = fit_results(base, draws, seed)
    normalised = weights_of(list(fit.fits), weights)
    found = recommend(fit, weights, compute, size, tokens, bounds, belief)
    if plot is not None:
        from pretrain_data.experiments import plots

        plots.draw(plot, base, fit, None if found.refusals else found, normalised)
    return {
        "runs": len(base.names),
        "order": order,
        "weights": normalised,
        "laws": {name: _law(one, fit.channels) for name, one in fit.fits.items()},
        "orders": compare_orders(results, normalised, order),
        "recommendation": None if found.refusals else found.record(),
        "scores": {name: _score(base, score, normalised, found.loss, chance) for name, score in base.scores.items()},
        "warnings": found.warnings,
        "refusals": found.refusals,
    }


def _law(one: ChannelFit, channels: list[str]) -> dict[str, Any]:
    """The law's parameters with 90 % intervals, `t` named after its channel."""
    drawn: dict[str, list[float]] = {}
    for law in one.draws:
        for name, value in law.parameters().items():
            drawn.setdefault(name, []).append(value)
    parameters = {}
    for name, value in one.law.parameters().items():
        low, high = np.quantile(drawn[name], [0.05, 0.95]) if drawn else (np.nan, np.nan)
        shown = f"t:{channels[int(name[1:])]}" if name[0] == "t" else name
        parameters[shown] = (value, float(low), float(high))
    return {
        "form": " + ".join(one.law.shape.kinds),
        "law": parameters,
        "noise": one.law.sigma,
        "left_out_error": one.left_out_error,
        "left_out_error_of_other_form": one.other_form_error,
        "huber_delta": one.law.delta,
    }


def _score(
    results: Results, score: np.ndarray, weights: Mapping[str, float], loss: float, chance: float
) -> dict[str, Any]:
    """Score expected at the recommended loss, or why there is none."""
    total = np.sum([weights.get(n, 0.0) * v for n, v in results.loss.items()], axis=0)
    try:
        curve = fit_curve(total, score, chance)
    except InputError as error:
        return {"refused": str(error)}
    return {
        "score": float(curve.score(np.array([loss]))[0]),
        "sigma": curve.sigma,
        "slope": curve.slope,
        "middle": curve.middle,
    }
