"""Mixtures to try: points on the simplex around a prior.

A Dirichlet draw is a vector of gamma variates scaled to one. Random gamma variates give random draws; gamma quantiles
of a scrambled Sobol sequence give draws of the same law that leave no holes (space-filling).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import gamma, qmc

from pretrain_data.errors import InputError

Design = Literal["dirichlet", "space-filling"]
#: Draws for each mixture wanted before bounds are called too narrow.
TRIES = 200


def mixtures(
    prior: np.ndarray,
    count: int,
    design: Design,
    concentration: float,
    seed: int,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
) -> np.ndarray:
    """`count` mixtures (count × channels, rows sum to one); the first is the prior itself.

    Args:
        prior: shares that sum to one, all positive; the mean of the draws.
        concentration: of the Dirichlet; the variance of a share p is p (1 − p) / (concentration + 1).
        low, high: bounds on the shares; draws beyond are not taken, so that the design is not piled up on an edge.

    Raises:
        InputError: the bounds leave hardly any draw.
    """
    low = np.zeros(len(prior)) if low is None else low
    high = np.ones(len(prior)) if high is None else high
    sobol = qmc.Sobol(len(prior), seed=np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    found = [prior]
    tried = 0
    while len(found) < count:
        batch = 1 << max(5, int(np.ceil(np.log2(count))))
        if tried > TRIES * count + 4 * batch:
            raise InputError(
                f"of {tried:,} draws only {len(found) - 1} lie within the bounds; widen them, or move the prior into "
                "their middle, or raise the concentration"
            )
        uniform = sobol.random(batch) if design == "space-filling" else rng.random((batch, len(prior)))
        drawn = gamma.ppf(np.clip(uniform, 1e-12, 1 - 1e-12), prior * concentration)
        drawn /= np.maximum(drawn.sum(axis=1, keepdims=True), 1e-300)
        inside = ((drawn >= low - 1e-12) & (drawn <= high + 1e-12)).all(axis=1)
        found += list(drawn[inside][: count - len(found)])
        tried += batch
    return np.stack(found[:count])
