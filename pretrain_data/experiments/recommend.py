"""The best mixture, size and tokens under fitted laws, and whether to believe them.

For a given size and number of tokens the weighted loss Σ v_i L_i(r) is convex in the mixture r (each L_i is a constant
plus exponentials of linear functions), so that one descent finds the best of all mixtures. The mixture is sought
within the shares that were tried, channel by channel: beyond them a law is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from pretrain_data.errors import InputError
from pretrain_data.experiments.fit import Fit
from pretrain_data.experiments.laws import Law, Runs, _evaluate

#: Training compute of a dense decoder, FLOPs a parameter and token: forward 2, backward 4 (Kaplan et al. 2020, 2.1).
FLOPS_PER_TOKEN = 6


@dataclass(frozen=True)
class Belief:
    """What makes a fit credible: beyond a `refuse` bound nothing is recommended, beyond a `warn` bound with doubts."""

    warn_width: float = 0.05  # of the 90 % interval of the weighted loss, relative to it
    refuse_width: float = 0.2
    warn_times: float = 10.0  # size or tokens over the largest that was tried
    refuse_times: float = 10_000.0


@dataclass(frozen=True)
class Recommendation:
    """What to train and what to expect. Intervals are 90 %; the loss's holds the noise of a single run."""

    mixture: dict[str, float]
    mixture_interval: dict[str, tuple[float, float]]
    params: float
    tokens: float
    params_interval: tuple[float, float] | None
    loss: float
    loss_interval: tuple[float, float]
    losses: dict[str, float]
    losses_interval: dict[str, tuple[float, float]]
    better_than_best: float  # chance that its expected loss is below that of the best mixture tried, at its size
    warnings: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        return asdict(self)


def shares_tried(runs: Runs) -> tuple[np.ndarray, np.ndarray]:
    """(least, most) share of each channel over the runs."""
    return runs.shares.min(axis=0), runs.shares.max(axis=0)


def weights_of(channels: list[str], weights: Mapping[str, float] | None = None) -> dict[str, float]:
    """The weight of each channel's loss, adding up to one: 1 before that for a channel that isn't named.

    Raises:
        InputError: an unknown channel, a weight below 0, or nothing but zeros.
    """
    unknown = set(weights or {}) - set(channels)
    if unknown:
        raise InputError(f"no loss of {', '.join(sorted(unknown))}; there are {', '.join(channels)}")
    chosen = dict.fromkeys(channels, 1.0) | dict(weights or {})
    total = sum(chosen.values())
    if min(chosen.values()) < 0 or total <= 0:
        raise InputError("the weights of the channels' losses must be 0 or more, and not all of them 0")
    return {name: weight / total for name, weight in chosen.items()}


def best_mixture(
    laws: Mapping[str, Law],
    weights: Mapping[str, float],
    size: float,
    tokens: float,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, float]:
    """(shares, weighted loss) of the least weighted loss with low ≤ shares ≤ high.

    Raises:
        InputError: no mixture has such shares.
    """
    if low.sum() > 1 + 1e-9 or high.sum() < 1 - 1e-9:
        raise InputError(f"no mixture has shares between {low.round(3).tolist()} and {high.round(3).tolist()}")

    def value(shares: np.ndarray) -> tuple[float, np.ndarray]:
        runs = Runs(shares[None], np.array([size]), np.array([tokens]))
        total, gradient = 0.0, np.zeros(len(shares))
        for name, law in laws.items():
            features = law.shape.features(runs)
            log_loss, _ = _evaluate(features, law.theta)
            loss = float(np.exp(log_loss[0]))
            total += weights.get(name, 0.0) * loss
            if law.shape.mixture:
                at = law.shape.names.index("t0")
                t = law.theta[at : at + len(shares)]
                kind = "mixed data" if "mixed data" in law.shape.kinds else "mixture"
                start = sum(x.shape[1] for x in features[: law.shape.kinds.index(kind)])
                x = features[law.shape.kinds.index(kind)]
                gradient += weights.get(name, 0.0) * float(np.exp(x[0] @ law.theta[start : start + x.shape[1]])) * t
        return total, gradient

    room = high - low
    start = low + room * ((1 - low.sum()) / room.sum() if room.sum() > 0 else 0.0)
    scale = max(value(start)[0], 1e-12)
    found = minimize(
        lambda r: tuple(v / scale for v in value(r)),
        start,
        method="SLSQP",
        jac=True,
        bounds=list(zip(low, high, strict=True)),
        constraints=[{"type": "eq", "fun": lambda r: r.sum() - 1, "jac": lambda r: np.ones_like(r)}],
        options={"maxiter": 500, "ftol": 1e-12},
    )
    shares = np.clip(found.x, low, high)
    shares = shares / shares.sum()
    return shares, value(shares)[0]


def best_split(
    laws: Mapping[str, Law],
    weights: Mapping[str, float],
    compute: float,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, float, float, float]:
    """(shares, parameters, tokens, weighted loss) of the least loss for `compute` FLOPs = 6 · parameters · tokens."""
    if not all(law.shape.size and law.shape.data for law in laws.values()):
        raise InputError("a compute budget needs runs of several sizes and of several numbers of tokens")
    budget = compute / FLOPS_PER_TOKEN

    def value(log_size: float) -> float:
        size = float(np.exp(log_size))
        return best_mixture(laws, weights, size, budget / size, low, high)[1]

    half = np.log(budget) / 2
    found = minimize_scalar(value, bounds=(half - 12, half + 12), method="bounded", options={"xatol": 1e-4})
    size = float(np.exp(found.x))
    shares, loss = best_mixture(laws, weights, size, budget / size, low, high)
    return shares, size, budget / size, loss


def recommend(
    fit: Fit,
    weights: Mapping[str, float] | None = None,
    compute: float | None = None,
    size: float | None = None,
    tokens: float | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    belief: Belief | None = None,
    redraws: int = 60,
) -> Recommendation:
    """Recommend a mixture, and with `compute` (FLOPs) the size and the tokens too.

    Args:
        fit: the laws.
        weights: of the channels' losses in what is to be small; 1 for a channel that isn't named.
        compute: FLOPs to spend; else `size` (parameters) and `tokens`, by default those of the largest run.
        bounds: further bounds on shares, by channel; the shares that were tried bound them anyway.
        belief: when to warn and when to refuse.
        redraws: draws of the bootstrap for which the best mixture is sought again, for its interval.
    """
    belief = belief or Belief()
    chosen = weights_of(list(fit.fits), weights)
    low, high = shares_tried(fit.runs)
    for i, name in enumerate(fit.channels):
        if name in (bounds or {}):
            least, most = (bounds or {})[name]
            low[i], high[i] = max(low[i], least), min(high[i], most)

    def best(laws: Mapping[str, Law]) -> tuple[np.ndarray, float, float, float]:
        if compute is not None:
            return best_split(laws, chosen, compute, low, high)
        n, d = size or float(fit.runs.size.max()), tokens or float(fit.runs.tokens.max())
        shares, loss = best_mixture(laws, chosen, n, d, low, high)
        return shares, n, d, loss

    shares, params, wanted, loss = best({name: one.law for name, one in fit.fits.items()})
    here = Runs(shares[None], np.array([params]), np.array([wanted]))
    redrawn = [
        best({name: one.draws[d] for name, one in fit.fits.items()})
        for d in np.linspace(0, fit.draws - 1, min(redraws, fit.draws)).astype(int)
    ]
    mixtures = np.quantile(np.stack([r[0] for r in redrawn]), [0.05, 0.95], axis=0)
    sizes = np.quantile([r[1] for r in redrawn], [0.05, 0.95])
    single = {name: fit.interval(here, {name: 1.0}) for name in fit.fits}
    interval = fit.interval(here, chosen)
    found = Recommendation(
        mixture={n: float(s) for n, s in zip(fit.channels, shares, strict=True)},
        mixture_interval={n: (float(mixtures[0, i]), float(mixtures[1, i])) for i, n in enumerate(fit.channels)},
        params=params,
        tokens=wanted,
        params_interval=(float(sizes[0]), float(sizes[1])) if compute is not None else None,
        loss=loss,
        loss_interval=(float(interval[0][0]), float(interval[1][0])),
        losses={n: float(v[0]) for n, v in fit.losses(here).items()},
        losses_interval={n: (float(v[0][0]), float(v[1][0])) for n, v in single.items()},
        better_than_best=_chance(fit, chosen, here),
    )
    _doubt(found, fit, belief, low, high)
    return found


def _chance(fit: Fit, weights: Mapping[str, float], here: Runs) -> float:
    """Share of the draws in which the recommended mixture beats the best one tried, both at the recommended size."""
    mixtures = np.unique(fit.runs.shares, axis=0)
    count = len(mixtures)
    tried = Runs(mixtures, np.repeat(here.size, count), np.repeat(here.tokens, count))
    best = int(np.argmin(fit.total(tried, weights)))
    ours, theirs = (fit.drawn(r, weights, new_run=False)[:, 0] for r in (here, tried.take([best])))
    return float(np.mean(ours < theirs) + np.mean(ours == theirs) / 2)


def _doubt(found: Recommendation, fit: Fit, belief: Belief, low: np.ndarray, high: np.ndarray) -> None:
    """Add what speaks against believing it."""
    warn, refuse = found.warnings.append, found.refusals.append
    width = (found.loss_interval[1] - found.loss_interval[0]) / found.loss
    if width > belief.refuse_width:
        refuse(
            f"the loss is known to {width:.0%} only (90 % interval over its value), {belief.refuse_width:.0%} is the "
            "bound: train more runs, or quieter ones"
        )
    elif width > belief.warn_width:
        warn(f"the loss is known to {width:.1%} only (90 % interval over its value)")
    for what, value, most in (
        ("parameters", found.params, float(fit.runs.size.max())),
        ("tokens", found.tokens, float(fit.runs.tokens.max())),
    ):
        if value > belief.refuse_times * most:
            refuse(f"{value:.3g} {what} are {value / most:,.0f} times the largest run's: no fit carries so far")
        elif value > belief.warn_times * most:
            warn(f"{value:.3g} {what} are {value / most:,.0f} times the largest run's")
    law = next(iter(fit.fits.values())).law
    if len(fit.runs) < 2 * len(law.theta):
        warn(f"{len(fit.runs)} runs for {len(law.theta)} parameters a channel: twice as many runs are sound")
    for name, one in fit.fits.items():
        for exponent in ("alpha", "beta"):
            came = one.law.parameters().get(exponent)
            if came is not None and (came < 1e-3 or came > 2.999):
                warn(f"{name}: {exponent} came out at {came:.3g}, the end of its range: its runs don't determine it")
        if np.isfinite(one.left_out_error) and one.left_out_error > 3 * max(one.law.sigma, 1e-4):
            warn(
                f"{name}: mixtures left out are missed by {one.left_out_error:.1%}, the noise is {one.law.sigma:.1%}: "
                "the law doesn't hold over all mixtures, or there are too few"
            )
    if law.shape.mixture:
        if found.better_than_best < 0.9:
            warn(f"that it beats the best mixture tried is {found.better_than_best:.0%} likely: as good, not better")
        tried = shares_tried(fit.runs)
        for i, (name, share) in enumerate(found.mixture.items()):
            for end, edge in (("least", tried[0][i]), ("most", tried[1][i])):
                if abs(share - edge) < 1e-3 and tried[1][i] - tried[0][i] > 1e-6 and 1e-3 < edge < 1 - 1e-3:
                    warn(
                        f"{name}: {share:.3f} is the {end} that was tried; the best may lie beyond: propose wider ones"
                    )
