"""Laws with known parameters, and results drawn from them."""

from __future__ import annotations

import numpy as np

from pretrain_data.experiments.designs import mixtures
from pretrain_data.experiments.laws import Runs
from pretrain_data.experiments.results import Results

CHANNELS = ["zh-knowledge", "en-knowledge", "code", "math"]
ALPHA = [0.34, 0.32, 0.36, 0.30]
BETA = [0.28, 0.30, 0.32, 0.34]


def true_loss(channel: int, runs: Runs, scaled: bool) -> np.ndarray:
    """E + A / N^α + mixture and data terms, additive or the one scaled by the other."""
    t = np.full(4, 0.3)
    t[channel], t[(channel + 1) % 4] = -2.2 + 0.2 * channel, -0.2
    mixed = np.exp(runs.shares @ t)
    data = (900 if scaled else 410) / runs.tokens ** BETA[channel]
    return 1.5 + 0.1 * channel + 400 / runs.size ** ALPHA[channel] + (data * mixed if scaled else data + mixed)


def true_results(seed: int, count: int, noise: float = 0.005, scaled: bool = False) -> Results:
    rng = np.random.default_rng(seed)
    shares = mixtures(np.full(4, 0.25), count, "space-filling", 6.0, seed)
    grid = rng.permutation(np.arange(count))
    size = 10 ** (6.5 + 3.0 * ((grid % 8) / 7))
    tokens = 10 ** (8.0 + 3.0 * rng.permutation(np.arange(count) % 8) / 7)
    runs = Runs(shares, size, tokens)
    loss = {
        name: true_loss(i, runs, scaled) * np.exp(noise * rng.standard_normal(count)) for i, name in enumerate(CHANNELS)
    }
    return Results([f"r{i}" for i in range(count)], ["shuffled"] * count, CHANNELS, runs, loss, {})
