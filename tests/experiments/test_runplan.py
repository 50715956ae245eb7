"""A run's plan against hand calculation and the shapes of published models."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pretrain_data.cli import app
from pretrain_data.errors import InputError
from pretrain_data.experiments.runplan import Request, hardware, plan, rope_base
from pretrain_data.experiments.shape import ModelShape, shape_for

H100 = hardware("H100-SXM")
BASE = Request(gpus=512, days=60, tokens=2e12, card=H100)


def test_budget_by_hand() -> None:
    found = plan(BASE)
    # 512 · 60 · 86,400 s · 989e12 · 0.4 · 0.9
    assert found.value("compute") == pytest.approx(9.4498e23, rel=1e-4)
    assert found.value("parameters") == pytest.approx(9.4498e23 / 12e12, rel=1e-4)
    # N = (αA / βB)^(1/(α+β)) · (C/6)^(β/(α+β)) with Besiroglu et al.'s law, by logarithms:
    # ln(167.643 / 762.850) / 0.7136 + 0.51261 · ln(1.57497e23) = −2.12335 + 27.38036; e^25.25701 = 9.311e10
    assert found.value("compute-optimal parameters") == pytest.approx(9.31e10, rel=2e-3)
    main, long, anneal = (found.value(f"{n} phase") for n in ("main", "long", "annealing"))
    assert main + long + anneal == pytest.approx(2e12)
    assert long / 2e12 == pytest.approx(0.1)
    assert found.value("warm-up") + found.value("constant") + anneal == pytest.approx(2e12)
    assert found.value("training state") == pytest.approx(found.shape.params * 16 / 1e9, abs=0.1)
    assert all(f.why for f in found.figures)


@pytest.mark.parametrize(
    ("shape", "params"),
    [
        # Dubey et al. 2024, table 3, and the models' cards: 8.03B, 70.6B; Qwen2.5-7B: 7.62B (biases aside).
        (ModelShape(32, 4096, 32, 8, 128, 14336, 128_256, False), 8_030_261_248),
        (ModelShape(80, 8192, 64, 8, 128, 28672, 128_256, False), 70_553_706_496),
        (ModelShape(28, 3584, 28, 4, 128, 18944, 152_064, False), 7_615_487_488),
    ],
)
def test_parameters_of_published_models(shape: ModelShape, params: int) -> None:
    assert shape.params == params


@given(st.floats(4e8, 1e12), st.integers(32_000, 260_000))
def test_shapes_are_well_proportioned(params: float, vocab: int) -> None:
    shape = shape_for(params, vocab)
    assert 0.75 < shape.params / params < 1.3
    assert shape.hidden % 128 == shape.vocab % 128 == shape.heads % 8 == 0
    assert shape.heads * shape.head_dim == shape.hidden
    assert shape.heads % shape.kv_heads == 0
    assert 64 <= shape.hidden / shape.layers <= 161
    assert 0 <= shape.vocab - vocab < 128


def test_larger_budgets_make_deeper_and_wider_models() -> None:
    shapes = [plan(replace(BASE, gpus=gpus)).shape for gpus in (16, 128, 1024, 8192)]
    for small, large in pairwise(shapes):
        assert small.layers < large.layers
        assert small.hidden < large.hidden


def test_rope_bases() -> None:
    # 0.0424 · 4096^1.628 = 32,208; 32768^1.628 · 0.0424 = 951,000; 65536: 2.94 M
    assert [rope_base(n) for n in (512, 4096, 8192, 32_768, 65_536)] == [10_000, 50_000, 100_000, 1_000_000, 5_000_000]


def test_serving_that_does_not_fit_says_what_would() -> None:
    found = plan(replace(BASE, serve_card=hardware("h100"), serve_requests=8, serve_context=32_768))
    assert [f.value for f in found.figures if f.name == "fits"] == ["no"]
    [warning] = [w for w in found.warnings if "doesn't fit" in w]
    assert "take 4 of them" in warning  # 158 GB + 76 GB of 72 GB a card: four
    small = plan(replace(BASE, params=8e9, serve_card=hardware("H100-SXM")))
    # 8B in bf16 are 16 GB; keys and values: 2 · layers · 8 · 128 · 2 bytes · 262,144 tokens
    assert small.value("key-value cache") == pytest.approx(4 * small.shape.layers * 1024 * 262_144 / 1e9, abs=0.1)
    assert [f.value for f in small.figures if f.name == "fits"] == ["yes"]
    assert small.value("tokens for this size") == pytest.approx(9.4498e23 / 6 / small.shape.params, rel=1e-4)


def test_what_is_amiss_is_said() -> None:
    said = plan(replace(BASE, tokens=2e11, unique_tokens=2e10)).warnings
    assert any("times the compute-optimal" in w for w in said)
    assert any("10.0 epochs" in w for w in said)
    assert any("training state needs" in w for w in plan(replace(BASE, gpus=8, days=20_000)).warnings)
    for wrong in ({"gpus": 0}, {"utilisation": 1.5}, {"long_share": 1.0}, {"anneal_share": 0.95}):
        with pytest.raises(InputError):
            plan(replace(BASE, **wrong))
    with pytest.raises(InputError, match="there are A100-40GB"):
        hardware("Z80")


def test_the_command() -> None:
    run = CliRunner().invoke(app, ["plan", "run", "--gpus", "512", "--days", "60", "--tokens", "2T", "--json"])
    assert run.exit_code == 0, run.output
    assert '"hidden": 10240' in run.output
    shown = CliRunner().invoke(
        app, ["plan", "run", "--gpus", "8", "--days", "30", "--tokens", "100B", "--card", "a100"]
    )
    assert shown.exit_code == 0, shown.output
    assert "6ND" in shown.output
    assert CliRunner().invoke(app, ["plan", "run", "--gpus", "8", "--days", "3", "--tokens", "many"]).exit_code == 2
