"""Fits and recommendations against a known truth; doubts where there is reason for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from truth import ALPHA, BETA, CHANNELS, true_loss, true_results
from typer.testing import CliRunner

from pretrain_data.cli import app
from pretrain_data.errors import InputError
from pretrain_data.experiments.benchmark import Curve, fit_curve
from pretrain_data.experiments.fit import compare_orders, fit_results
from pretrain_data.experiments.laws import Law, Runs, Shape, fit_law
from pretrain_data.experiments.recommend import Belief, best_mixture, recommend, weights_of
from pretrain_data.experiments.results import Results, append_result, read_results


def one(shares: np.ndarray, size: float, tokens: float) -> Runs:
    return Runs(shares[None], np.array([size]), np.array([tokens]))


@pytest.mark.parametrize("scaled", [False, True])
def test_the_truth_is_found_within_noise(scaled: bool) -> None:
    """Half a percent of noise: exponents within 5 %, the recommendation's true loss within 1 % of the optimum."""
    results = true_results(4, 192, scaled=scaled)
    for i, name in enumerate(CHANNELS):
        found = fit_law(results.runs, results.loss[name], "scaled" if scaled else "additive").parameters()
        assert found["alpha"] == pytest.approx(ALPHA[i], rel=0.05)
        assert found["beta"] == pytest.approx(BETA[i], rel=0.05)
    fit = fit_results(results, draws=12)
    assert {f.law.shape.form for f in fit.fits.values()} == {"scaled" if scaled else "additive"}
    compute = 6e20
    best = recommend(fit, compute=compute, redraws=4)
    assert not best.refusals

    def truth(shares: np.ndarray, size: float) -> float:
        return float(np.mean([true_loss(i, one(shares, size, compute / 6 / size), scaled)[0] for i in range(4)]))

    def descend(logits: np.ndarray) -> float:
        shares = np.exp(logits[:4] - logits[:4].max())
        return truth(shares / shares.sum(), float(np.exp(logits[4])))

    starts = [np.append(np.zeros(4), np.log(n)) for n in (3e8, 1e9, 3e9)]
    optimum = min(minimize(descend, s, method="Nelder-Mead", options={"maxiter": 4000}).fun for s in starts)
    achieved = truth(np.array([best.mixture[c] for c in CHANNELS]), best.params)
    assert (1 - 1e-4) * optimum <= achieved <= 1.01 * optimum
    assert best.loss == pytest.approx(achieved, rel=0.01)
    assert best.loss_interval[0] < achieved < best.loss_interval[1]


def test_the_best_mixture_is_that_of_a_fine_grid() -> None:
    rng = np.random.default_rng(0)
    runs = Runs(rng.dirichlet(np.ones(3), 9), np.full(9, 1e8), np.full(9, 1e9))
    shape = Shape.of(runs, "additive")
    thetas = ([0.7, -2.0, 0.4, 0.1], [0.5, 0.3, -1.5, 0.2], [0.2, 0.5, 0.1, -2.5])
    laws = {f"c{i}": Law(shape, np.array(theta), 1e-3, 0.0, 0.0) for i, theta in enumerate(thetas)}
    weights = {"c0": 0.5, "c1": 0.2, "c2": 0.3}
    low, high = np.array([0.1, 0.05, 0.0]), np.array([0.9, 0.6, 0.4])
    shares, loss = best_mixture(laws, weights, 1e8, 1e9, low, high)
    steps = np.linspace(0, 1, 201)
    grid = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-12])
    grid = grid[((grid >= low - 1e-9) & (grid <= high + 1e-9)).all(axis=1)]
    many = Runs(grid, np.full(len(grid), 1e8), np.full(len(grid), 1e9))
    losses = np.sum([w * laws[n].loss(many) for n, w in weights.items()], axis=0)
    assert loss <= losses.min() + 1e-9
    assert shares == pytest.approx(grid[np.argmin(losses)], abs=0.006)
    with pytest.raises(InputError, match="no mixture has shares"):
        best_mixture(laws, weights, 1e8, 1e9, np.full(3, 0.5), np.ones(3))


def test_intervals_hold_what_they_promise() -> None:
    """Nine mixtures, three parameters: 90 % intervals for new runs hold about 90 % of them."""
    share = np.linspace(0.1, 0.9, 9)
    runs = Runs(np.stack([share, 1 - share], axis=1), np.full(9, 1e8), np.full(9, 1e9))
    new = one(np.array([0.55, 0.45]), 1e8, 1e9)
    truth = 1.5 + np.exp(runs.shares @ np.array([-1.0, 0.5]))
    expected = float(1.5 + np.exp(new.shares @ np.array([-1.0, 0.5]))[0])
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        noisy = truth * np.exp(0.01 * rng.standard_normal(9))
        results = Results([""] * 9, ["shuffled"] * 9, ["a", "b"], runs, {"a": noisy}, {})
        low, high = fit_results(results, draws=50, seed=seed).interval(new, {"a": 1.0})
        held += int(low[0] <= expected * np.exp(0.01 * rng.standard_normal()) <= high[0])
    assert held >= 29, "29 of 40 or fewer have a chance of one in a thousand"


def test_a_channel_that_is_not_named_weighs_one() -> None:
    assert weights_of(["a", "b", "c"], {"b": 2}) == {"a": 0.25, "b": 0.5, "c": 0.25}
    assert weights_of(["a", "b"], {"a": 0}) == {"a": 0.0, "b": 1.0}
    assert weights_of(["a", "b"]) == {"a": 0.5, "b": 0.5}
    for amiss in ({"d": 1.0}, {"a": -1.0, "b": 3.0}, {"a": 0.0, "b": 0.0}):
        with pytest.raises(InputError):
            weights_of(["a", "b"], amiss)


def test_doubts() -> None:
    results = true_results(2, 24)
    rows = list(range(24))
    fit = fit_results(results.take(rows), draws=10)
    far = recommend(fit, size=1e13, tokens=1e12, redraws=2)
    assert any("times the largest run's" in w for w in far.warnings)
    absurd = recommend(fit, size=1e16, tokens=1e12, redraws=2)
    assert any("no fit carries so far" in r for r in absurd.refusals)
    loud = recommend(fit_results(true_results(2, 24, noise=0.15), draws=40), redraws=2)
    assert any("is known to" in r for r in loud.refusals)
    strict = recommend(fit, redraws=2, belief=Belief(refuse_width=1e-6))
    assert strict.refusals
    with pytest.raises(InputError, match="no loss of law"):
        recommend(fit, {"law": 1.0})
    still = Runs(results.runs.shares, np.full(24, 1e8), results.runs.tokens)
    one_size = fit_results(Results(results.names, results.orders, CHANNELS, still, results.loss, {}), draws=2)
    with pytest.raises(InputError, match="needs runs of several sizes"):
        recommend(one_size, compute=1e20, redraws=1)
    with pytest.raises(InputError, match="no law to fit"):
        fit_results(results.take([0, 0, 0]))


def test_orders_are_compared_in_pairs() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(2), 6)
    runs = Runs(np.tile(shares, (2, 1)), np.full(12, 1e6), np.full(12, 1e8))
    base = 3 + shares[:, 0]
    loss = {"a": np.concatenate([base, base * np.exp(-0.02 + 0.001 * rng.standard_normal(6))])}
    results = Results([str(i) for i in range(12)], ["shuffled"] * 6 + ["spaced"] * 6, ["a", "b"], runs, loss, {})
    found = compare_orders(results, {"a": 1.0})["spaced"]
    assert found["pairs"] == 6
    assert found["change"] == pytest.approx(-0.02, abs=0.001)
    assert found["low"] < found["change"] < found["high"]
    assert found["high"] - found["low"] < 0.004
    assert "low" not in compare_orders(results.take([0, 1, 6, 7]), {"a": 1.0})["spaced"]


def test_scores_follow_a_logistic_curve() -> None:
    loss = np.linspace(1.8, 3.4, 15)
    truth = Curve(0.25, 1.0, 4.0, 2.4, 0.0)
    found = fit_curve(loss, truth.score(loss), chance=0.25)
    assert (found.slope, found.middle) == pytest.approx((4.0, 2.4), rel=1e-3)
    assert truth.score(np.array([2.4]))[0] == pytest.approx(0.625), "half-way between chance and ceiling"
    with pytest.raises(InputError, match="of the way from chance"):
        fit_curve(loss, np.full(15, 0.26), chance=0.25)
    with pytest.raises(InputError, match="6 are the least"):
        fit_curve(loss[:5], truth.score(loss[:5]))


GOOD = "run,params,tokens,share:code,share:math,loss:code,score:arc\nr0,1e6,1e8,3,1,2.5,\nr1,1e6,1e8,1,3,2.6,0.3\n"


def test_the_table(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(GOOD, encoding="utf-8-sig")
    results = read_results(path)
    assert results.channels == ["code", "math"]
    assert results.runs.shares.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert results.orders == ["shuffled", "shuffled"]
    assert np.isnan(results.scores["arc"][0])
    for change, says in (
        (("2.6", "oops"), "line 3, column loss:code: 'oops'"),
        (("2.6", "-1"), "line 3, column loss:code"),
        (("1,3,2.6", "0,0,2.6"), "line 3: a mixture without shares"),
        (("loss:code", "perplexity"), "needs the columns"),
        (("share:math", "share:code"), "a column stands twice"),
    ):
        path.write_text(GOOD.replace(*change), encoding="utf-8")
        with pytest.raises(InputError, match=says):
            read_results(path)
    lines = tmp_path / "new.csv"
    append_result(lines, {"run": "r0", "params": 1, "tokens": 2, "loss:a": 3.0})
    append_result(lines, {"tokens": 2, "params": 1, "loss:a": 4.0, "run": "r,1"})
    assert lines.read_text() == 'run,params,tokens,loss:a\nr0,1,2,3.0\n"r,1",1,2,4.0\n'
    with pytest.raises(InputError, match="its columns are"):
        append_result(lines, {"run": "r2"})


def test_the_command(tmp_path: Path) -> None:
    results = true_results(3, 40)
    path = tmp_path / "results.csv"
    for i, name in enumerate(results.names):
        row = {"run": name, "params": results.runs.size[i], "tokens": results.runs.tokens[i]}
        row |= {f"share:{c}": results.runs.shares[i, j] for j, c in enumerate(CHANNELS)}
        row |= {f"loss:{c}": results.loss[c][i] for c in CHANNELS}
        append_result(path, row)
    plot = tmp_path / "fit.svg"
    command = [
        "experiment",
        "fit",
        str(path),
        "--compute",
        "1e20",
        "--draws",
        "8",
        "--weight",
        "code=2",
        "--weight",
        "math=1",
    ]
    run = CliRunner().invoke(app, [*command, "--bound", "math=0.1..0.3", "--plot", str(plot)])
    assert run.exit_code == 0, run.output
    assert "expected loss" in run.output
    assert plot.read_text(encoding="utf-8").count("<svg") == 1
    refused = CliRunner().invoke(app, [*command[:3], "--params", "1e18", "--draws", "4", "--json"])
    assert refused.exit_code == 1
    assert '"recommendation": null' in refused.output
    assert CliRunner().invoke(app, [*command, "--bound", "math"]).exit_code == 2
