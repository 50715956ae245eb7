"""The whole loop in seconds, on a small export."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_export import CHANNELS, write_export

from pretrain_data.experiments.results import read_results
from pretrain_data.experiments.subset import open_run
from pretrain_data.experiments.watch import read_series

ROOT = Path(__file__).resolve().parents[2]


def script():  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("experiment_loop", ROOT / "scripts" / "experiment_loop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_export(tmp_path / "export", documents=900)
    loop = script()
    small = (
        "--mixtures 8 --paired 2 --tokens 4000 --vocabulary 64 --width 16 --layers 1 --heads 2 --length 32 --batch 4"
    )
    small += " --validation-tokens 400 --draws 20"
    words = [str(tmp_path / "export"), str(tmp_path / "out"), "--threads", "1", *small.split()]
    threads = torch.get_num_threads()
    try:
        found = loop.loop(loop.arguments(words))
    finally:
        torch.set_num_threads(threads)
    results = read_results(tmp_path / "out" / "results.csv")
    assert len(results.names) == 10
    assert sorted(results.orders).count("spaced") == 2
    assert set(results.loss) == set(CHANNELS)
    assert all(0.5 < v < 4.2 for values in results.loss.values() for v in values), "ln 64 is 4.16"
    # A model that has seen half of it code knows code better than one that has seen next to none.
    code = results.channels.index("code")
    shares = results.runs.shares[:, code]
    assert np.corrcoef(shares, results.loss["code"])[0, 1] < 0
    log = [json.loads(line) for line in (tmp_path / "out" / "logs" / "m000-shuffled.jsonl").read_text().splitlines()]
    assert len(log) == results.runs.tokens[0] // 128
    assert set(log[0]["loss"]) <= set(CHANNELS)
    assert found["recommendation"] is not None
    assert found["trained"]["loss"] > 0
    assert len(read_series(tmp_path / "out" / "recommended" / "checkpoints.csv").step) >= 8
    assert "predicted" in capsys.readouterr().out


def test_losses_go_to_the_channel_of_their_token(tmp_path: Path) -> None:
    write_export(tmp_path / "export")
    loop = script()
    loop.propose(
        loop.ExperimentConfig.model_validate(
            {"export": tmp_path / "export", "out": tmp_path / "out", "runs": 1, "tokens": [4000]}
        )
    )
    names = list(CHANNELS)
    sequence = next(iter(open_run(tmp_path / "out", "m000-shuffled", 64)))
    places = loop.channel_of_tokens(sequence, names)
    by_hand = []
    for i, start in enumerate(sequence.starts):
        end = sequence.starts[i + 1] if i + 1 < len(sequence.starts) else 64
        by_hand += [names.index(sequence.channels[i])] * (end - start)
    assert places.tolist() == by_hand
