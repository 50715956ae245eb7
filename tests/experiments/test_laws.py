"""Laws against published figures, hand calculation and finite differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.errors import InputError
from pretrain_data.experiments.laws import Runs, Shape, _objective, fit_law, huber, refit
from pretrain_data.experiments.recommend import best_split

#: Ye et al. 2024, 70M models on GitHub and Pile-CC after 30,000 steps: share of GitHub → loss on GitHub and on Pile-CC
#: (https://github.com/yegcjs/mixinglaws, data/2Mix/70M.txt).
TWO_DOMAINS = {
    0.25: (1.44434, 3.49873),
    0.375: (1.38597, 3.53159),
    0.5: (1.32782, 3.56695),
    0.625: (1.29360, 3.62689),
    0.75: (1.25677, 3.70329),
}


def chinchilla() -> tuple[Runs, np.ndarray]:
    """The 240 points that Besiroglu et al. fit: all but the five of highest loss."""
    data = np.loadtxt(Path(__file__).parent / "chinchilla.tsv", skiprows=3)
    data = data[np.argsort(-data[:, 2])[5:]]
    size, flop = data[:, 0] * 1e6, data[:, 1] * 1e18
    return Runs(np.ones((len(data), 1)), size, flop / 6 / size), data[:, 2]


def test_the_replication_of_chinchilla() -> None:
    """Besiroglu et al. 2024, table 1, with standard errors: E 1.8172 (0.03), A 482.01 (124.58), B 2085.43 (1293.23),
    α 0.3478 (0.02), β 0.3658 (0.02)."""
    runs, loss = chinchilla()
    assert len(runs) == 240
    law = fit_law(runs, loss, delta=1e-3)
    found = law.parameters()
    assert found["E"] == pytest.approx(1.8172, abs=0.003)
    assert found["alpha"] == pytest.approx(0.3478, abs=0.002)
    assert found["beta"] == pytest.approx(0.3658, abs=0.004)
    assert found["A"] == pytest.approx(482.01, rel=0.03)
    assert found["B"] == pytest.approx(2085.43, rel=0.06)
    # The same fit in closed form: N = G (C/6)^(β/(α+β)), G = (αA/βB)^(1/(α+β)).
    _, size, tokens, _ = best_split({"all": law}, {"all": 1.0}, 5.76e23, np.ones(1), np.ones(1))
    a, b = found["alpha"], found["beta"]
    wanted = (a * found["A"] / (b * found["B"])) ** (1 / (a + b)) * (5.76e23 / 6) ** (b / (a + b))
    assert size == pytest.approx(wanted, rel=2e-3)
    assert size * tokens * 6 == pytest.approx(5.76e23)
    assert 15 < tokens / size < 30, "near 20 tokens a parameter, as Besiroglu et al. find"


@pytest.mark.parametrize("domain", [0, 1])
def test_the_mixing_law_foretells_mixtures_left_out(domain: int) -> None:
    share = np.array(list(TWO_DOMAINS))
    loss = np.array([v[domain] for v in TWO_DOMAINS.values()])
    ones = np.ones(len(share))
    runs = Runs(np.stack([share, 1 - share], axis=1), 7e7 * ones, 3e10 * ones)
    for out in (1, 2, 3):
        rest = np.arange(5) != out
        predicted = fit_law(runs.take(rest), loss[rest]).loss(runs.take([out]))[0]
        assert predicted == pytest.approx(loss[out], rel=0.007)
    law = fit_law(runs, loss)
    assert law.parameters()[f"t{domain}"] < law.parameters()[f"t{1 - domain}"], "its own data helps a domain most"
    assert np.abs(law.loss(runs) / loss - 1).max() < 0.005


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.floats(1e-4, 1))
def test_huber_is_scipy_s(residuals: list[float], delta: float) -> None:
    values = np.array(residuals)
    assert huber(values, delta) == pytest.approx(scipy.special.huber(delta, values), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("form", ["additive", "scaled"])
@pytest.mark.parametrize("delta", [1e-3, 0.1])
def test_gradients(form: str, delta: float) -> None:
    rng = np.random.default_rng(3)
    runs = Runs(rng.dirichlet(np.ones(3), 12), 10 ** rng.uniform(6, 9, 12), 10 ** rng.uniform(8, 11, 12))
    shape = Shape.of(runs, form)  # type: ignore[arg-type]
    features, target = shape.features(runs), rng.normal(1, 0.3, 12)
    theta = rng.normal(0, 0.5, len(shape.names))
    value, gradient = _objective(theta, features, target, delta)
    step = 1e-6
    for i in range(len(theta)):
        moved = theta.copy()
        moved[i] += step
        assert (_objective(moved, features, target, delta)[0] - value) / step == pytest.approx(gradient[i], rel=2e-3)


def test_only_what_varies_is_fitted() -> None:
    rng = np.random.default_rng(1)
    size = 10 ** rng.uniform(7, 9, 20)
    runs = Runs(np.ones((20, 1)), size, 1e10 + rng.uniform(-1e7, 1e7, 20))  # a budget missed by a document or so
    law = fit_law(runs, 2.0 + 300 / size**0.3)
    assert law.shape.names == ["e", "a", "alpha"]
    assert law.parameters() == pytest.approx({"E": 2.0, "A": 300.0, "alpha": 0.3}, rel=1e-2)
    with pytest.raises(InputError, match="4 are the least"):
        fit_law(runs.take(slice(3)), np.ones(3))


def test_one_wild_run_moves_a_law_little() -> None:
    runs, loss = chinchilla()
    rows = np.arange(0, 240, 4)
    runs, loss = runs.take(rows), loss[rows].copy()
    law = fit_law(runs, loss)
    loss[10] *= 1.5
    wild = fit_law(runs, loss)
    others = np.arange(len(loss)) != 10
    assert np.abs(np.log(wild.loss(runs) / law.loss(runs)))[others].max() < 0.005


def test_refitting_finds_the_same_least() -> None:
    runs, loss = chinchilla()
    law = fit_law(runs, loss)
    again = refit(runs, loss, law)
    assert again.objective == pytest.approx(law.objective, rel=1e-6)
    assert again.loss(runs) == pytest.approx(law.loss(runs), rel=1e-5)
