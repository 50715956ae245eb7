"""From loss to benchmark score: a logistic curve between chance and a ceiling.

    score(L) = chance + (ceiling − chance) / (1 + exp(slope · (L − middle)))

The form that Dubey et al. 2024 (The Llama 3 Herd of Models, 3.2.1) use for loss to accuracy. Scores of small models lie
at chance and say nothing: unless they cover a fifth of the way from chance to ceiling there is no prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from pretrain_data.errors import InputError

LEAST_RUNS = 6
LEAST_COVERED = 0.2


@dataclass(frozen=True)
class Curve:
    """A fitted curve; `sigma` is the spread of the scores about it."""

    chance: float
    ceiling: float
    slope: float
    middle: float
    sigma: float

    def score(self, loss: np.ndarray) -> np.ndarray:
        """Expected score at a loss."""
        found: np.ndarray = self.chance + (self.ceiling - self.chance) / (1 + np.exp(self.slope * (loss - self.middle)))
        return found


def fit_curve(loss: np.ndarray, score: np.ndarray, chance: float = 0.0, ceiling: float = 1.0) -> Curve:
    """Fit slope and middle with chance and ceiling given; the slope is never negative: less loss, higher score.

    Raises:
        InputError: too few runs, or scores that hardly leave chance.
    """
    known = np.isfinite(loss) & np.isfinite(score)
    loss, score = loss[known], score[known]
    if len(loss) < LEAST_RUNS:
        raise InputError(f"{len(loss)} runs have this score; {LEAST_RUNS} are the least")
    covered = float(np.quantile(score, 0.95) - np.quantile(score, 0.05)) / (ceiling - chance)
    if covered < LEAST_COVERED:
        raise InputError(
            f"the scores cover {covered:.0%} of the way from chance to ceiling; {LEAST_COVERED:.0%} are the least"
        )

    def residuals(theta: np.ndarray) -> np.ndarray:
        return Curve(chance, ceiling, theta[0], theta[1], 0.0).score(loss) - score

    fits = [
        least_squares(residuals, [slope, middle], bounds=([0, -np.inf], [1e4, np.inf]), loss="soft_l1", f_scale=0.05)
        for slope in (0.5, 2.0, 8.0)
        for middle in np.quantile(loss, [0.1, 0.5, 0.9])
    ]
    best = min(fits, key=lambda f: float(f.cost))
    sigma = float(np.sqrt(np.sum(residuals(best.x) ** 2) / (len(loss) - 2)))
    return Curve(chance, ceiling, float(best.x[0]), float(best.x[1]), sigma)
