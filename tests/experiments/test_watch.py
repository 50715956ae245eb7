"""Validation curves with a known course."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pretrain_data.cli import app
from pretrain_data.errors import InputError
from pretrain_data.experiments.watch import Spike, blocks_before, read_series, report

STEPS = np.arange(1000, 31_000, 1000)


def curves(seed: int, spike: int | None = None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    noise = lambda: np.exp(0.001 * rng.standard_normal(len(STEPS)))  # noqa: E731
    loss = {
        "falling": (2.0 + 20 / STEPS**0.4) * noise(),
        "flat": (2.5 + 300 / STEPS**1.5) * noise(),
        "rising": (2.0 + 20 / STEPS**0.4 + np.where(STEPS > 15_000, (STEPS - 15_000) / 60_000, 0)) * noise(),
    }
    if spike is not None:
        loss["flat"][spike] *= 1.06
    return loss


def table(path: Path, loss: dict[str, np.ndarray]) -> Path:
    lines = ["step," + ",".join(f"loss:{name}" for name in loss)]
    lines += [f"{s}," + ",".join(f"{v[i]:.6f}" for v in loss.values()) for i, s in enumerate(STEPS)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("seed", range(5))
def test_states_and_spikes(tmp_path: Path, seed: int) -> None:
    found = report(table(tmp_path / "c.csv", curves(seed, spike=17)))
    assert {c["channel"]: c["state"] for c in found["channels"]} == {
        "falling": "falling",
        "flat": "stopped",
        "rising": "rising",
    }
    assert [(s["channel"], s["step"], s["after"]) for s in found["spikes"] if s["channel"] != "*"] == [
        ("flat", 18_000, 17_000)
    ]
    assert found["spikes"][-1]["expected"] == pytest.approx(2.5, rel=0.01)
    assert report(table(tmp_path / "d.csv", curves(seed)))["spikes"] == []


def test_a_fall_is_what_twice_the_steps_bring(tmp_path: Path) -> None:
    pure = {"a": 3.0 * STEPS**-0.1}
    [found] = report(table(tmp_path / "c.csv", pure))["channels"]
    assert found["fall"] == pytest.approx(1 - 2**-0.1, rel=1e-3)


def export(path: Path) -> Path:
    """Six blocks of 10,000 positions each; the fourth is made of something else."""
    blocks = []
    for number in range(6):
        code = 8_000 if number == 3 else 2_000
        channels = {"code": [20, code], "zh": [30, 9_900 - code]}
        blocks.append(
            {"block": number, "phase": "main", "offset": 10_000 * number, "documents": 100, "tokens": 9_900,
             "channels": channels, "summary": {}, "files": {}}
        )  # fmt: skip
    about = {"end_of_document": 0, "sequence_length": {"main": 100}, "blocks": blocks}
    path.mkdir()
    (path / "blocks.json").write_text(json.dumps(about))
    return path


def test_a_spike_leads_to_the_blocks_before_it(tmp_path: Path) -> None:
    folder = export(tmp_path / "export")
    # 10 sequences of 100 tokens a step: block n holds the steps 10 n to 10 n + 9.
    found = blocks_before(folder, Spike("code", 45, 15, 3.0, 2.0, 9.0), 10, 100)
    assert sorted(row["block"] for row in found) == [1, 2, 3, 4]
    assert found[0]["block"] == 3
    assert found[0]["channel_share"] == pytest.approx(8_000 / 9_900, abs=1e-6)
    assert [(r["first_step"], r["last_step"]) for r in sorted(found, key=lambda r: r["block"])] == [
        (15, 19), (20, 29), (30, 39), (40, 44),
    ]  # fmt: skip
    spiked = table(tmp_path / "c.csv", curves(0, spike=17))
    run = CliRunner().invoke(app, ["experiment", "watch", str(spiked), "--export", str(folder), "--global-batch", "1",
                                   "--seq-len", "2"])  # fmt: skip
    assert run.exit_code == 0, run.output
    assert "block 3 (steps 17000 to 17999)" in run.output
    assert "flat: stopped" in run.output


def test_tables_that_can_not_be_read(tmp_path: Path) -> None:
    for text, says in (
        ("step,loss\n1,2\n", "needs the columns"),
        ("", "needs the columns"),
        ("step,loss:a\n1,x\n", "line 2, column loss:a: 'x'"),
        ("step,loss:a\n,2\n", "line 2: no step"),
        ("step,loss:a\n1,2\n1,3\n", "a step stands twice"),
    ):
        (tmp_path / "c.csv").write_text(text)
        with pytest.raises(InputError, match=says):
            read_series(tmp_path / "c.csv")
    with pytest.raises(InputError):
        read_series(tmp_path / "none.csv")
    (tmp_path / "c.csv").write_text("step,loss:a\n1,2\n2,\n3,1.8\n")
    assert report(tmp_path / "c.csv")["channels"] == [], "too few checkpoints to tell"
