"""One law for each channel, with intervals: what small runs say, and how far that carries.

Intervals come from a parametric bootstrap: each draw takes a noise level from its posterior (σ² · ν / χ²_ν, with
ν = runs − parameters, so that few runs give wide intervals as Student's t does), makes losses from the fitted laws with
that noise, correlated over channels as the residuals are, and fits again. An interval for a new run holds the noise of
that run too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2
from scipy.stats import t as student

from pretrain_data.errors import InputError
from pretrain_data.experiments.laws import Form, Law, Runs, Shape, fit_law, refit
from pretrain_data.experiments.results import Results

#: Residuals of few runs say little about how channels move together: the estimate is drawn half-way to none.
CORRELATION_SHRINKAGE = 0.5
#: Mixtures are left out one by one, or in so many parts where there are more.
FOLDS = 16


@dataclass(frozen=True)
class ChannelFit:
    """A channel's law, the laws of the bootstrap, and its error on mixtures left out (relative, root mean square)."""

    channel: str
    law: Law
    draws: list[Law]
    left_out_error: float
    other_form_error: float | None  # of the form not chosen, where there were two to choose from


@dataclass(frozen=True)
class Fit:
    """Laws of all channels over the same runs."""

    channels: list[str]  # of the mixture
    runs: Runs
    fits: dict[str, ChannelFit]
    noise: np.ndarray  # draws × channels: noise in log-loss that a new run would have, one row a draw

    @property
    def draws(self) -> int:
        return len(self.noise)

    def losses(self, runs: Runs) -> dict[str, np.ndarray]:
        """Predicted loss by channel."""
        return {name: fit.law.loss(runs) for name, fit in self.fits.items()}

    def drawn(self, runs: Runs, weights: Mapping[str, float], new_run: bool = True) -> np.ndarray:
        """Weighted loss of each draw (draws × runs), with the noise of a new run where asked for."""
        total = np.zeros((self.draws, len(runs)))
        for column, (name, fit) in enumerate(self.fits.items()):
            log_loss = np.stack([law.log_loss(runs) for law in fit.draws])
            if new_run:
                log_loss = log_loss + self.noise[:, [column]]
            total += weights.get(name, 0.0) * np.exp(log_loss)
        return total

    def interval(
        self, runs: Runs, weights: Mapping[str, float], level: float = 0.9, new_run: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of the weighted loss of each run."""
        drawn = self.drawn(runs, weights, new_run)
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high

    def total(self, runs: Runs, weights: Mapping[str, float]) -> np.ndarray:
        """Predicted weighted loss of each run."""
        losses = self.losses(runs)
        return np.sum([weights.get(name, 0.0) * losses[name] for name in losses], axis=0)


def fit_results(results: Results, draws: int = 200, seed: int = 1, delta: float | None = None) -> Fit:
    """Fit every channel that has a loss in the results.

    Raises:
        InputError: too few runs for the parameters, or nothing was varied.
    """
    shape = Shape.of(results.runs, "additive")
    if len(shape.names) == 1:
        raise InputError("all runs have the same mixture, size and tokens: there is no law to fit")
    whole = [i for i in range(len(results.names)) if all(np.isfinite(v[i]) for v in results.loss.values())]
    lost = len(results.names) - len(whole)
    if lost:
        missing = [name for i, name in enumerate(results.names) if i not in whole]
        raise InputError(f"{lost} runs lack the loss of a channel: {', '.join(missing[:5])}; complete or remove them")
    forms: list[Form] = ["additive", "scaled"] if shape.mixture and shape.data else ["additive"]
    fits: dict[str, tuple[Law, float, float | None]] = {}
    for name, loss in results.loss.items():
        laws = [fit_law(results.runs, loss, form, delta) for form in forms]
        tried = sorted(((law, _left_out(results.runs, loss, law)) for law in laws), key=lambda pair: pair[1])
        fits[name] = (*tried[0], tried[1][1] if len(tried) > 1 else None)
    drawn, noise = _bootstrap(results, {name: law for name, (law, _, _) in fits.items()}, draws, seed)
    return Fit(
        results.channels,
        results.runs,
        {name: ChannelFit(name, law, drawn[name], error, other) for name, (law, error, other) in fits.items()},
        noise,
    )


def groups(runs: Runs) -> np.ndarray:
    """Number of the mixture of each run; where there is one mixture only, each run is its own."""
    _, found = np.unique(runs.shares.round(9), axis=0, return_inverse=True)
    found = np.asarray(found).ravel()
    return found if found.max() > 0 else np.arange(len(runs))


def _left_out(runs: Runs, loss: np.ndarray, law: Law) -> float:
    """Error on each mixture by a law that was fitted without it; not finite where too few runs are left."""
    errors = []
    which = groups(runs) % FOLDS
    for group in np.unique(which):
        rest = which != group
        if rest.sum() <= len(law.theta) or Shape.of(runs.take(rest), law.shape.form).kinds != law.shape.kinds:
            return float("inf")
        left = refit(runs.take(rest), loss[rest], law)
        errors.append(left.log_loss(runs.take(~rest)) - np.log(loss[~rest]))
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def _bootstrap(
    results: Results, laws: Mapping[str, Law], draws: int, seed: int
) -> tuple[dict[str, list[Law]], np.ndarray]:
    """(laws of each draw by channel, noise of a new run: draws × channels)."""
    rng = np.random.default_rng(seed)
    runs, names = results.runs, list(laws)
    residuals = np.stack([np.log(results.loss[n]) - laws[n].log_loss(runs) for n in names], axis=1)
    together = np.linalg.cholesky(_correlation(residuals))
    freedom = np.array([max(1, len(runs) - len(laws[n].theta)) for n in names])
    sigma = np.array([laws[n].sigma for n in names])
    drawn: dict[str, list[Law]] = {n: [] for n in names}
    noise = np.empty((draws, len(names)))
    for d in range(draws):
        # One draw of χ² for all channels: they share their runs.
        quantile = rng.uniform()
        level = sigma * np.sqrt(freedom / _chi2(quantile, freedom))
        errors = rng.standard_normal((len(runs) + 1, len(names))) @ together.T * level
        noise[d] = errors[-1]
        for column, n in enumerate(names):
            made = np.exp(laws[n].log_loss(runs) + errors[:-1, column])
            drawn[n].append(refit(runs, made, laws[n]))
    return drawn, noise


def _chi2(quantile: float, freedom: np.ndarray) -> np.ndarray:
    found: np.ndarray = chi2.ppf(quantile, freedom)
    return found


def _correlation(residuals: np.ndarray) -> np.ndarray:
    """Correlation of the residuals over channels, shrunk; positive definite."""
    count = residuals.shape[1]
    spread = residuals.std(axis=0)
    if count == 1 or len(residuals) < 3 or (spread < 1e-12).any():
        return np.eye(count)
    found: np.ndarray = (1 - CORRELATION_SHRINKAGE) * np.corrcoef(residuals.T) + CORRELATION_SHRINKAGE * np.eye(count)
    return found


def compare_orders(
    results: Results, weights: Mapping[str, float], base: str = "shuffled"
) -> dict[str, dict[str, float]]:
    """Each other order against `base`, over runs of the same mixture, size and tokens.

    Gives the mean relative change of the weighted loss (negative: better), its 90 % interval by Student's t, and the
    number of pairs; without an interval where there are fewer than three pairs.
    """

    def key(i: int) -> tuple[object, ...]:
        return (*results.runs.shares[i].round(9).tolist(), results.runs.size[i], results.runs.tokens[i])

    total = np.sum([weights.get(n, 0.0) * v for n, v in results.loss.items()], axis=0)
    there = {key(i): total[i] for i, order in enumerate(results.orders) if order == base}
    found: dict[str, dict[str, float]] = {}
    for order in sorted(set(results.orders) - {base}):
        rows = [i for i, o in enumerate(results.orders) if o == order and key(i) in there]
        change = np.array([np.log(total[i] / there[key(i)]) for i in rows])
        if not len(change):
            continue
        entry = {"pairs": float(len(change)), "change": float(change.mean())}
        if len(change) >= 3:
            half = float(student.ppf(0.95, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change)))
            entry |= {"low": entry["change"] - half, "high": entry["change"] + half}
        found[order] = entry
    return found
