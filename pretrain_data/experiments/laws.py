"""Loss laws as sums of exponentials, fitted on log-loss.

A law says  log L = log Σ_j exp(X_j θ_j): a sum of positive terms, each log-linear in what an experiment varies.

    constant                      the loss that remains, E
    size        a − α ln N        Chinchilla's A / N^α            (Hoffmann et al. 2022, eq. 2)
    data        b − β ln D        Chinchilla's B / D^β
    mixture     t · r             the data mixing law c + k exp(t · r)   (Ye et al. 2024, eq. 8)
    mixed data  t · r − β ln D    the same, where more data makes the mixture matter less

With shares r that sum to one, k is part of t. Fitted as Hoffmann et al. fit their approach 3: Huber's loss of the
residuals of log L, summed, by L-BFGS from the best of a grid of starts. Summed and not averaged: Besiroglu et al. 2024
(arXiv:2404.10102) trace the original's bias to an optimiser that stopped early for the scale of the mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.optimize import least_squares, minimize

from pretrain_data.errors import InputError

Form = Literal["additive", "scaled"]

#: Huber's loss keeps 95 % of the efficiency under normal noise with this many standard deviations (Huber 1964).
HUBER_SIGMAS = 1.345
#: Sizes, or numbers of tokens, whose logarithms lie within this are the same.
SAME = 0.25
#: Starts that are followed, the best ones of the grid, and how many of them to their end.
FOLLOWED, FINISHED = 8, 2


@dataclass(frozen=True)
class Runs:
    """What was varied: `shares` is runs × channels, rows that sum to one; `size` in parameters, `tokens` in tokens."""

    shares: np.ndarray
    size: np.ndarray
    tokens: np.ndarray

    def __len__(self) -> int:
        return len(self.size)

    def take(self, rows: Any) -> Runs:
        return Runs(self.shares[rows], self.size[rows], self.tokens[rows])


@dataclass(frozen=True)
class Shape:
    """Which terms a law has, and around what its features are centred (so that θ is well conditioned)."""

    mixture: bool
    size: bool
    data: bool
    form: Form
    log_size: float  # mean of ln N over the runs
    log_tokens: float
    channels: int

    @classmethod
    def of(cls, runs: Runs, form: Form) -> Shape:
        """The terms that these runs vary: what doesn't vary is part of the constant.

        Subsets miss their budget by a document or so: sizes and tokens within SAME of each other count as one.
        """
        vary = [bool(np.ptp(np.log(v)) > SAME) for v in (runs.size, runs.tokens)]
        mixed = runs.shares.shape[1] > 1 and bool(np.ptp(runs.shares, axis=0).max() > 1e-9)
        size, tokens = (float(np.mean(np.log(v))) for v in (runs.size, runs.tokens))
        shown = form if mixed and vary[1] else "additive"
        return cls(mixed, vary[0], vary[1], shown, size, tokens, runs.shares.shape[1])

    @property
    def kinds(self) -> list[str]:
        """The terms, in the order of θ."""
        scaled = self.mixture and self.form == "scaled"
        found = ["constant", *(["size"] if self.size else [])]
        if scaled:
            return [*found, "mixed data"]
        return [*found, *(["data"] if self.data else []), *(["mixture"] if self.mixture else [])]

    def features(self, runs: Runs) -> list[np.ndarray]:
        """X_j for each term: runs × parameters of the term."""
        one = np.ones((len(runs), 1))
        size = self.log_size - np.log(runs.size)[:, None]
        data = self.log_tokens - np.log(runs.tokens)[:, None]
        terms = {
            "constant": [one],
            "size": [one, size],
            "data": [one, data],
            "mixture": [runs.shares],
            "mixed data": [runs.shares, data],
        }
        return [np.hstack(terms[kind]) for kind in self.kinds]

    @property
    def names(self) -> list[str]:
        """Names of the parameters, in the order of θ."""
        t = [f"t{i}" for i in range(self.channels)]
        terms = {
            "constant": ["e"],
            "size": ["a", "alpha"],
            "data": ["b", "beta"],
            "mixture": t,
            "mixed data": [*t, "beta"],
        }
        return [name for kind in self.kinds for name in terms[kind]]


@dataclass(frozen=True)
class Law:
    """A fitted law of one channel's loss, in nats a token."""

    shape: Shape
    theta: np.ndarray
    delta: float  # of Huber's loss, in log-loss
    objective: float
    sigma: float  # spread of the residuals of log-loss, corrected for the parameters fitted

    def log_loss(self, runs: Runs) -> np.ndarray:
        return _evaluate(self.shape.features(runs), self.theta)[0]

    def loss(self, runs: Runs) -> np.ndarray:
        """Predicted loss of each run."""
        found: np.ndarray = np.exp(self.log_loss(runs))
        return found

    def parameters(self) -> dict[str, float]:
        """The law's parameters in their usual form: E, A, alpha, B, beta and t (one a channel)."""
        named = dict(zip(self.shape.names, self.theta.tolist(), strict=True))
        found = {"E": float(np.exp(named["e"]))}
        if self.shape.size:
            found |= {"A": float(np.exp(named["a"] + named["alpha"] * self.shape.log_size)), "alpha": named["alpha"]}
        if "b" in named:
            found["B"] = float(np.exp(named["b"] + named["beta"] * self.shape.log_tokens))
        if "beta" in named:
            found["beta"] = named["beta"]
        shift = named["beta"] * self.shape.log_tokens if self.shape.form == "scaled" and self.shape.mixture else 0.0
        return found | {name: value + shift for name, value in named.items() if name.startswith("t")}


def fit_law(
    runs: Runs,
    loss: np.ndarray,
    form: Form = "additive",
    delta: float | None = None,
) -> Law:
    """Fit one channel's loss.

    Args:
        runs: what was varied.
        loss: nats a token, positive, one a run.
        form: whether the mixture's term stands alone or is scaled by the tokens; see the module.
        delta: where Huber's loss becomes linear, in log-loss; Hoffmann et al. take 1e-3. Default: found from
            the spread of the residuals of a fit with 1e-3.

    Raises:
        InputError: fewer runs than parameters and one.
    """
    shape = Shape.of(runs, form)
    target = np.log(loss)
    count = len(shape.names)
    if len(runs) < count + 1:
        raise InputError(
            f"{len(runs)} runs can't tell {count} parameters apart; {count + 1} are the least, twice as many are sound"
        )
    features = shape.features(runs)
    theta, value = _best(features, target, _starts(shape, features, target), shape, 1e-3 if delta is None else delta)
    used = 1e-3 if delta is None else delta
    if delta is None:
        residuals = target - _evaluate(features, theta)[0]
        spread = 1.4826 * float(np.median(np.abs(residuals - np.median(residuals)))) * _correction(len(runs), count)
        used = max(HUBER_SIGMAS * spread, 1e-6)
        theta, value = _lbfgs(features, target, theta, shape, used)
    residuals = target - _evaluate(features, theta)[0]
    sigma = float(np.sqrt(np.mean(_clipped(residuals, 3 * used) ** 2))) * _correction(len(runs), count)
    return Law(shape, theta, used, value, sigma)


def _correction(runs: int, parameters: int) -> float:
    """Residuals are smaller than the noise by what the parameters took up."""
    return float(np.sqrt(runs / max(1, runs - parameters)))


def _clipped(values: np.ndarray, most: float) -> np.ndarray:
    return np.clip(values, -most, most)


def _evaluate(features: Sequence[np.ndarray], theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(log L of each run, its gradient by θ: runs × parameters)."""
    terms, at = [], 0
    for x in features:
        terms.append(x @ theta[at : at + x.shape[1]])
        at += x.shape[1]
    stacked = np.stack(terms, axis=1)
    most = stacked.max(axis=1, keepdims=True)
    weights = np.exp(stacked - most)  # scipy's logsumexp spends four fifths of its time on checks
    total = weights.sum(axis=1, keepdims=True)
    weights /= total
    log_loss = (most + np.log(total))[:, 0]
    return log_loss, np.hstack([x * weights[:, [j]] for j, x in enumerate(features)])


def huber(residuals: np.ndarray, delta: float) -> np.ndarray:
    """Huber's loss: r²/2 up to delta, then linear."""
    small = np.abs(residuals)
    return np.where(small <= delta, residuals**2 / 2, delta * (small - delta / 2))


def _objective(
    theta: np.ndarray, features: Sequence[np.ndarray], target: np.ndarray, delta: float
) -> tuple[float, np.ndarray]:
    """Sum of Huber's loss over delta², and its gradient: of order one whatever delta is."""
    log_loss, gradient = _evaluate(features, theta)
    residuals = log_loss - target
    value = float(huber(residuals, delta).sum()) / delta**2
    return value, gradient.T @ _clipped(residuals, delta) / delta**2


def _bounds(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Exponents are held in [0, 3]; the rest is as good as free."""
    bounds = [(0.0, 3.0) if n in ("alpha", "beta") else (-40.0, 40.0) for n in shape.names]
    return np.array([b[0] for b in bounds]), np.array([b[1] for b in bounds])


def _best(
    features: Sequence[np.ndarray], target: np.ndarray, starts: np.ndarray, shape: Shape, delta: float
) -> tuple[np.ndarray, float]:
    """θ of the least objective: the best starts are led near it, and from the best of those L-BFGS goes on.

    They are led there with a wide delta: from afar, the linear part of a narrow one has no curvature to go by.
    """
    values = np.array([_objective(s, features, target, 0.1)[0] for s in starts])
    near = [_gauss_newton(features, target, starts[i], shape, 0.1, 60) for i in np.argsort(values)[:FOLLOWED]]
    near.sort(key=lambda found: found[1])
    ends = [_lbfgs(features, target, theta, shape, delta) for theta, _ in near[:FINISHED]]
    return min(ends, key=lambda found: found[1])


def _lbfgs(
    features: Sequence[np.ndarray], target: np.ndarray, start: np.ndarray, shape: Shape, delta: float
) -> tuple[np.ndarray, float]:
    found = minimize(
        _objective,
        start,
        (features, target, delta),
        "L-BFGS-B",
        jac=True,
        bounds=list(zip(*_bounds(shape), strict=True)),
        options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-13, "gtol": 1e-8, "maxcor": 20},
    )
    return found.x, float(found.fun)


def _gauss_newton(
    features: Sequence[np.ndarray], target: np.ndarray, start: np.ndarray, shape: Shape, delta: float, most: int
) -> tuple[np.ndarray, float]:
    """The same objective; near its least several times quicker than L-BFGS."""
    lows, highs = _bounds(shape)
    found = least_squares(
        lambda theta: _evaluate(features, theta)[0] - target,
        np.clip(start, lows + 1e-9, highs - 1e-9),
        jac=lambda theta: _evaluate(features, theta)[1],
        bounds=(lows, highs),
        loss="huber",
        f_scale=delta,
        xtol=1e-9,
        ftol=1e-9,
        max_nfev=most,
    )
    return found.x, float(found.cost) / delta**2


def refit(runs: Runs, loss: np.ndarray, law: Law) -> Law:
    """The same law on other losses or fewer runs, from where it stands: for resampling."""
    features, target = law.shape.features(runs), np.log(loss)
    theta, value = _gauss_newton(features, target, law.theta, law.shape, law.delta, 50)
    return Law(law.shape, theta, law.delta, value, law.sigma)


def _starts(shape: Shape, features: Sequence[np.ndarray], target: np.ndarray) -> np.ndarray:
    """A grid: how much of the loss is the constant, how the rest is split, and exponents.

    The mixture's slopes come from a linear fit of log(L − c) on the shares, for each constant c of the grid.
    """
    exponents = (0.1, 0.3, 0.5, 1.0)
    starts = []
    for fraction in (0.05, 0.3, 0.5, 0.7, 0.85, 0.95):
        constant = fraction * float(np.exp(target.min()))
        rest = np.log(np.exp(target) - 0.999 * constant)
        for split in _splits(len(features) - 1):
            for alpha, beta in itertools.product(exponents, repeat=2):
                theta = [float(np.log(constant))]
                for kind, part, x in zip(shape.kinds[1:], split, features[1:], strict=True):
                    level = float(rest.mean()) + float(np.log(part))
                    if kind in ("size", "data"):
                        theta += [level, alpha if kind == "size" else beta]
                    else:
                        theta += _slopes(x[:, : shape.channels], rest, level)
                        theta += [beta] if kind == "mixed data" else []
                starts.append(theta)
    return np.unique(np.array(starts), axis=0)


def _slopes(shares: np.ndarray, rest: np.ndarray, level: float) -> list[float]:
    """A linear fit of `rest` on the shares, moved to the level."""
    slopes = np.clip(np.linalg.lstsq(shares, rest, rcond=None)[0], -12, 12)
    moved: list[float] = (slopes - float((shares @ slopes).mean()) + level).tolist()
    return moved


def _splits(terms: int) -> list[tuple[float, ...]]:
    """Ways to split one into `terms` parts."""
    steps = [p for p in itertools.product((0.1, 0.3, 0.6, 0.9), repeat=terms) if abs(sum(p) - 1) < 0.11]
    return steps if terms > 1 else [(1.0,) * terms]
