"""Costs of a large run against sums worked out by hand from runs that are written down here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.costs import plan
from pretrain_data.costs.law import fit
from pretrain_data.costs.plan import Cluster
from pretrain_data.errors import InputError


def run(workspace: Path, stage: str, cpu: float, **over: Any) -> None:
    """A committed run: a million characters in 1,000 documents in, half of both kept."""
    manifest = {"documents_in": 1000, "chars_in": 1_000_000, "documents": 500, "chars": 500_000, "tokens": 0}
    manifest |= {"shards": [{"documents_file": {"bytes": 300}, "dropped_file": None}], "files": {"a": {"bytes": 100}}}
    usage = {"cpu_seconds": cpu, "driver_cpu_seconds": 1.0, "shuffle_bytes": 0.0}
    usage |= {"worker_peak_bytes": 2e9, "jvm_peak_bytes": 1e9}
    manifest |= {"usage": usage} | over
    (workspace / stage).mkdir(parents=True)
    (workspace / stage / "_manifest.json").write_text(json.dumps(manifest))


def scaled(workspace: Path, stage: str, cpu: float, factor: int, **over: Any) -> None:
    sizes = {"documents_in": 1000, "chars_in": 1_000_000, "documents": 500, "chars": 500_000}
    run(workspace, stage, cpu, **{k: v * factor for k, v in sizes.items()}, **over)


@given(
    fixed=st.floats(0, 1e4), rate=st.floats(1e-6, 1e3), sizes=st.lists(st.integers(1, 10**9), min_size=2, unique=True)
)
def test_a_straight_line_is_found_again(fixed: float, rate: float, sizes: list[int]) -> None:
    law = fit([float(s) for s in sizes], [fixed + rate * s for s in sizes])
    for size in sizes:
        assert law.at(size) == pytest.approx(fixed + rate * size, rel=1e-3)


def test_the_exponent_is_the_slope_in_logarithms() -> None:
    assert fit([1e3, 1e5], [2e3, 2e5]).exponent == pytest.approx(1)
    assert fit([1e3, 1e5], [1.0, 1e4]).exponent == pytest.approx(2)
    assert fit([1e3], [5.0]).at(3e3) == 15, "from one run everything grows"


def test_two_runs_tell_start_up_from_work(tmp_path: Path) -> None:
    # 10 s and 1 s a million characters: the first stage; mix counts a token for two characters.
    for factor in (1, 10):
        work = tmp_path / str(factor)
        scaled(work, "rules", 10.0 + factor, factor)
        scaled(work, "mix", 10.0 + factor, factor, tokens=250_000 * factor)
        scaled(work, "export", 10.0 + factor, factor, tokens=250_000 * factor)
    found = plan.plan(
        [tmp_path / "1", tmp_path / "10"],
        ["rules", "mix", "export"],
        1_000_000_000,
        Cluster(cores=100, utilisation=0.5),
    )
    # rules keeps half its text, at half a token a character: 4 G characters must come in. Supply: what rules keeps.
    rules, mix, export = found.stages
    assert rules.chars == pytest.approx(4e9)
    assert rules.core_hours == pytest.approx((10 + 4000) / 3600)
    assert rules.hours == pytest.approx((1 + (4010 - 1) / 50) / 3600, rel=1e-6), "the driver's second is not divided"
    assert rules.disk_bytes == pytest.approx(400, rel=1e-6), "the same output at both sizes: a constant"
    assert mix.chars == pytest.approx(4e9)
    assert export.chars == pytest.approx(2e9), "just the tokens that are wanted"
    assert found.worker_peak_bytes == 2e9


def test_gpus_take_the_scorers(tmp_path: Path) -> None:
    run(tmp_path, "quality", 500.0)
    run(tmp_path, "mix", 1.0, tokens=250_000)
    cluster = Cluster(10, 2, 1.0, gpu_tokens_per_second=1e6, host_tokens_per_second=1e5, max_tokens=100)
    quality = plan.plan([tmp_path], ["quality", "mix"], 10_000_000, cluster).stages[0]
    # 40 M characters in 40,000 documents of 500 tokens, of which 100 are read: 4 M tokens.
    assert quality.gpu_hours == pytest.approx(4 / 3600)
    assert quality.core_hours == pytest.approx(40 / 3600)
    assert quality.hours == pytest.approx(4 / 3600), "40 core-seconds on ten cores; the two GPUs need 2 s"


def test_runs_that_tell_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no stage has been run"):
        plan.plan([tmp_path], ["rules"], 1, Cluster(1))
    run(tmp_path, "rules", 1.0)
    with pytest.raises(InputError, match="as far as mix"):
        plan.plan([tmp_path], ["rules"], 1, Cluster(1))
    run(tmp_path, "mix", 1.0, usage={})
    with pytest.raises(InputError, match="mix tells no CPU time"):
        plan.plan([tmp_path], ["rules", "mix"], 1, Cluster(1))
