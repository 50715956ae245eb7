"""How a cost grows with the amount of text: a constant and a rate, fitted to measured runs."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from scipy.optimize import nnls


@dataclass(frozen=True)
class Law:
    """cost = fixed + rate · amount. `exponent` is the slope of log cost over log amount between the smallest and
    the largest run, nan where there is but one; over 1 the law promises too little."""

    fixed: float
    rate: float
    exponent: float
    runs: int

    def at(self, amount: float) -> float:
        """The cost of an amount."""
        return self.fixed + self.rate * amount


def fit(amounts: list[float], costs: list[float]) -> Law:
    """The law with the least squared relative errors, neither part of it negative.

    From a single run all of its cost is taken to grow with the amount, start-up included, which is an upper bound.

    Costs of 7 and 25 for 10 and 100 give a constant of 5 and a rate of 0.2.
    """
    x, y = np.asarray(amounts, float), np.asarray(costs, float)
    known = (x > 0) & (y > 0)
    x, y = x[known], y[known]
    if not len(x):
        return Law(0.0, 0.0, float("nan"), 0)
    low, high = int(np.argmin(x)), int(np.argmax(x))
    if x[low] == x[high]:
        return Law(0.0, float((y / x).mean()), float("nan"), len(x))
    scale = x[high]  # keeps the two columns alike in size
    design = np.stack([1 / y, x / scale / y], axis=1)
    (fixed, rate), _ = nnls(design, np.ones(len(x)))
    exponent = log(y[high] / y[low]) / log(x[high] / x[low])
    return Law(float(fixed), float(rate / scale), exponent, len(x))
