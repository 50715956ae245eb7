"""Proposals: mixtures as wanted, subsets nested, orders as named, and readable as training sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_export import CHANNELS, END, write_export
from typer.testing import CliRunner

from pretrain_data.cli import app
from pretrain_data.errors import ConfigError, InputError
from pretrain_data.experiments.designs import mixtures
from pretrain_data.experiments.pool import read_pool
from pretrain_data.experiments.propose import ExperimentConfig, load, propose
from pretrain_data.experiments.subset import open_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export")
    write_export(path)
    return path


def config(export: Path, out: Path, **more: Any) -> ExperimentConfig:
    settings: dict[str, Any] = {"export": export, "out": out, "runs": 6, "tokens": ["10k"], "sizes": ["1k"], **more}
    return ExperimentConfig.model_validate(settings)


@given(
    st.lists(st.floats(0.02, 1), min_size=2, max_size=6),
    st.integers(1, 40),
    st.sampled_from(["dirichlet", "space-filling"]),
    st.integers(0, 1000),
)
def test_mixtures_lie_on_the_simplex(weights: list[float], count: int, design: str, seed: int) -> None:
    prior = np.array(weights) / sum(weights)
    found = mixtures(prior, count, design, 8.0, seed)  # type: ignore[arg-type]
    assert found.shape == (count, len(prior))
    assert found.sum(axis=1) == pytest.approx(np.ones(count))
    assert (found >= 0).all()
    assert found[0] == pytest.approx(prior)
    assert np.array_equal(found, mixtures(prior, count, design, 8.0, seed))  # type: ignore[arg-type]


def test_designs_have_the_moments_of_a_dirichlet() -> None:
    prior, concentration = np.array([0.5, 0.3, 0.2]), 6.0
    variance = prior * (1 - prior) / (concentration + 1)
    for design, slack in (("dirichlet", 0.15), ("space-filling", 0.05)):
        found = mixtures(prior, 2048, design, concentration, 3)  # type: ignore[arg-type]
        assert found.mean(axis=0) == pytest.approx(prior, abs=0.02)
        assert found.var(axis=0) == pytest.approx(variance, rel=slack)
    low, high = np.array([0.3, 0.0, 0.1]), np.array([0.6, 1.0, 0.3])
    bound = mixtures(prior, 64, "space-filling", concentration, 3, low, high)
    assert ((bound >= low) & (bound <= high)).all()
    with pytest.raises(InputError, match="lie within the bounds"):
        mixtures(prior, 64, "dirichlet", 500.0, 3, np.array([0.9, 0.0, 0.0]))


def uses(folder: Path, run: str) -> dict[str, np.ndarray]:
    with np.load(folder / "runs" / f"{run}.npz") as found:
        return dict(found)


def test_subsets_hold_the_mixture_and_are_nested(export: Path, tmp_path: Path) -> None:
    small = propose(config(export, tmp_path / "a", tokens=["5k"]))
    large = propose(config(export, tmp_path / "b", tokens=["12k"]))
    assert [r["params"] for r in small["runs"]] == [1000] * 6
    for one, other in zip(small["runs"], large["runs"], strict=True):
        assert one["tokens"] == pytest.approx(5000, abs=250)  # half a document a channel, at most
        inside = {*zip(*(uses(tmp_path / "a", one["run"])[k].tolist() for k in ("block", "row")), strict=True)}
        around = {*zip(*(uses(tmp_path / "b", other["run"])[k].tolist() for k in ("block", "row")), strict=True)}
        assert inside <= around
    wanted = mixtures(np.array(list(small["prior"].values())), 6, "space-filling", 6.0, 1, np.zeros(4), np.ones(4))
    for run, mixture in zip(large["runs"], wanted, strict=True):
        assert list(run["mixture"].values()) == pytest.approx(mixture.tolist(), abs=0.01)


def test_the_same_config_gives_the_same_bytes(export: Path, tmp_path: Path) -> None:
    for out in ("a", "b"):
        propose(config(export, tmp_path / out, orders=["shuffled", "spaced"]))
    for path in sorted((tmp_path / "a").rglob("*.npz")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_orders(export: Path, tmp_path: Path) -> None:
    orders = ["shuffled", "spaced", "quality", "length"]
    manifest = propose(config(export, tmp_path, orders=orders, paired=2))
    assert [r["run"] for r in manifest["runs"][:9]] == [
        *(f"m000-{o}" for o in orders),
        *(f"m001-{o}" for o in orders),
        "m002-shuffled",
    ]
    train, _ = read_pool(export, 1, 0.1)
    place = {(b, r): i for i, (b, r) in enumerate(zip(train.block.tolist(), train.row.tolist(), strict=True))}
    found = {}
    for order in orders:
        used = uses(tmp_path, f"m000-{order}")
        found[order] = np.array([place[k] for k in zip(used["block"].tolist(), used["row"].tolist(), strict=True)])
        assert sorted(found[order]) == sorted(found["shuffled"]), "another order of the same documents"
    assert (np.diff(found["spaced"]) > 0).all()
    assert (np.diff(train.tokens[found["length"]]) >= 0).all()
    assert (np.diff(train.quality[found["quality"]]) >= 0).all()
    assert np.abs(np.corrcoef(found["shuffled"], np.arange(len(found["shuffled"])))[0, 1]) < 0.25


def test_what_is_too_small_is_repeated_or_refused(export: Path, tmp_path: Path) -> None:
    channels = {"math": {"prior": 0.5}, "code": {"prior": 0.5}}
    manifest = propose(config(export, tmp_path, runs=1, tokens=["18k"], channels=channels))
    [run] = manifest["runs"]
    assert 1 < run["epochs"]["math"] < 4
    used = uses(tmp_path, run["run"])
    counts = np.unique(np.stack([used["block"], used["row"]]), axis=1, return_counts=True)[1]
    assert set(counts.tolist()) <= {1, 2, 3, 4}
    with pytest.raises(InputError, match="more than 4 epochs"):
        propose(config(export, tmp_path, runs=1, tokens=["60k"], channels=channels))
    with pytest.raises(InputError, match="no documents of law"):
        propose(config(export, tmp_path, channels={"law": {"prior": 1}}))


def test_no_mixture_asks_for_more_than_a_channel_can_give(export: Path, tmp_path: Path) -> None:
    train, _ = read_pool(export, 1, 0.02)
    have = dict(zip(train.channels, train.available().tolist(), strict=True))
    tokens = 8 * have["math"]  # four passes over it are half of a run
    channels: dict[str, Any] = {"math": {"prior": 0.4}, "code": {"prior": 0.6}}
    settings = {"runs": 24, "tokens": [tokens], "concentration": 2, "max_epochs": 4, "channels": channels}
    manifest = propose(config(export, tmp_path, **settings))
    assert manifest["bounds"]["math"] == [0.0, 0.5]
    shares = [run["mixture"]["math"] for run in manifest["runs"]]
    assert 0.4 < max(shares) < 0.52  # a document is not cut
    channels["math"]["most"] = 1.0  # whoever asks for it is told
    with pytest.raises(InputError, match="more than 4 epochs"):
        propose(config(export, tmp_path, **settings))


@pytest.mark.parametrize("holdout", [True, False])
def test_validation_is_apart_from_training(tmp_path: Path, holdout: bool) -> None:
    write_export(tmp_path / "export", holdout=holdout)
    train, validation = read_pool(tmp_path / "export", 1, 0.1)
    there = [set(zip(p.block.tolist(), p.row.tolist(), strict=True)) for p in (train, validation)]
    assert not there[0] & there[1]
    assert len(train) + len(validation) == 600 + 60 * holdout, "repeated documents count once"
    assert (set(validation.block.tolist()) == {0}) == holdout
    if not holdout:  # groups of similar documents are whole: g7 is on one side
        sides = set()
        for side, pool in enumerate((train, validation)):
            for block in set(pool.block.tolist()):
                groups = pq.read_table(tmp_path / "export" / "documents" / f"part-{block:05d}.parquet")["similar_group"]
                rows = pool.row[pool.block == block]
                sides |= {side} if "g7" in groups.take(rows).to_pylist() else set()
        assert len(sides) == 1


def test_runs_read_as_training_sequences(export: Path, tmp_path: Path) -> None:
    manifest = propose(config(export, tmp_path))
    run = manifest["runs"][2]
    sequences = list(open_run(tmp_path, run["run"], 32))
    assert len(sequences) == run["tokens"] // 32
    counted: dict[str | None, int] = {}
    for sequence in sequences:
        assert len(sequence.tokens) == 32
        for channel, tokens in sequence.channel_tokens().items():
            counted[channel] = counted.get(channel, 0) + tokens
    for channel, share in run["mixture"].items():
        assert counted[channel] / sum(counted.values()) == pytest.approx(share, abs=0.01)
    stream = np.concatenate([s.tokens for s in sequences])
    assert np.count_nonzero(stream == END) == pytest.approx(len(uses(tmp_path, run["run"])["row"]), abs=1)
    assert {c for s in open_run(tmp_path, "validation", 32) for c in s.channels} == set(CHANNELS)
    with pytest.raises(InputError, match="no run 'x'"):
        open_run(tmp_path, "x", 32)
    with pytest.raises(InputError, match="experiment propose"):
        open_run(tmp_path / "nowhere", "x", 32)


def test_the_command_and_the_shipped_configs(export: Path, tmp_path: Path) -> None:
    for path in sorted((ROOT / "configs" / "experiments").glob("*.yaml")):
        assert load(path).channels
    file = tmp_path / "e.yaml"
    file.write_text(f"export: {export}\nout: here\ntokens: [5k]\nsizes: [1k]\n")
    run = CliRunner().invoke(app, ["experiment", "propose", str(file), "--runs", "3"])
    assert run.exit_code == 0, run.output
    assert "3 runs" in run.output
    assert (tmp_path / "here" / "experiments.json").exists()
    file.write_text(
        "export: x\nout: here\ntokens: [5k]\nmixtures: 3\nchannels: {a: {prior: 1, least: 0.5, most: 0.1}}\n"
    )
    with pytest.raises(ConfigError, match=r"(?s)mixtures: Extra inputs.*"):
        load(file)
