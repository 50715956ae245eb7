"""Validation loss by channel over a series of checkpoints: which stopped falling, which spiked, after which blocks.

    step,tokens,loss:zh-knowledge,loss:code
    1000,4194304000,3.41,2.02

A channel has stopped when the Theil-Sen slope of log-loss over log-step in the last part of the series is not below
nothing with 90 % confidence, or promises too little. A spike is a checkpoint whose loss lies above the median of those
around it by many times their spread; what was trained on since the checkpoint before is looked up in the export.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import theilslopes

from pretrain_data.errors import InputError

#: Checkpoints of the last part, as a share of the series and at least.
LAST_SHARE, LEAST_CHECKPOINTS = 0.34, 4
#: Checkpoints on either side that a checkpoint is held against.
AROUND = 4


@dataclass(frozen=True)
class Spike:
    """A checkpoint whose loss of one channel (`*`: the mean of all) is too high for its place."""

    channel: str
    step: int
    after: int  # step of the checkpoint before
    loss: float
    expected: float
    times: float  # of the spread around it


@dataclass(frozen=True)
class Trend:
    """Where a channel goes: `state` is falling, stopped or rising; `fall` is what twice the steps would bring."""

    channel: str
    state: str
    last: float
    fall: float  # relative, positive: lower loss
    fall_interval: tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Checkpoints in order; `loss` holds an array a channel, NaN where a checkpoint has none."""

    step: np.ndarray
    tokens: np.ndarray | None
    loss: dict[str, np.ndarray]


def read_series(path: Path) -> Series:
    """Read a table of checkpoints. Raises InputError with the line of what can't be."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of the table") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: can't be read as CSV ({error})") from None
    names = list(rows[0]) if rows else []
    channels = [n for n in names if n and n.startswith("loss:")]
    if "step" not in names or not channels:
        raise InputError(f"{path}: needs the columns step and loss:CHANNEL, and a checkpoint at least")
    found: dict[str, list[float]] = {}
    for line, row in enumerate(rows, 2):
        for name in ("step", *(["tokens"] if "tokens" in names else []), *channels):
            text = (row[name] or "").strip()
            try:
                value = float(text) if text else math.nan
            except ValueError:
                raise InputError(f"{path}, line {line}, column {name}: {text!r} is not a number") from None
            if not name.startswith("loss:") and not math.isfinite(value):
                raise InputError(f"{path}, line {line}: no {name}")
            found.setdefault(name, []).append(value)
    order = np.argsort(found["step"], kind="stable")
    step = np.array(found["step"])[order].astype(np.int64)
    if len(np.unique(step)) < len(step):
        raise InputError(f"{path}: a step stands twice; give one run's checkpoints")
    column = {name: np.array(values)[order] for name, values in found.items()}
    losses = {n.partition(":")[2]: column[n] for n in channels}
    return Series(step, column.get("tokens"), losses)


def trends(series: Series, least_fall: float = 0.002) -> list[Trend]:
    """The trend of each channel; one with too few checkpoints is left out. `least_fall`: see Trend.fall."""
    found = []
    for channel, loss in series.loss.items():
        known = np.isfinite(loss) & (series.step > 0)
        step, value = series.step[known], np.log(loss[known])
        count = max(LEAST_CHECKPOINTS, math.ceil(LAST_SHARE * len(step)))
        if len(step) < LEAST_CHECKPOINTS:
            continue
        slope, _, low, high = theilslopes(value[-count:], np.log(step[-count:]), 0.9)
        fall, worst, best = (float(1 - 2.0**s) for s in (slope, high, low))
        state = "rising" if low > 0 else "falling" if high < 0 and fall >= least_fall else "stopped"
        found.append(Trend(channel, state, float(np.exp(value[-1])), fall, (worst, best)))
    return found


def spikes(series: Series, times: float = 6.0, least: float = 0.01) -> list[Spike]:
    """Checkpoints above those around them by `times` their spread (1.4826 · MAD) and by `least` of the loss."""
    found = []
    channels = dict(series.loss)
    if len(channels) > 1:
        channels["*"] = np.mean(list(channels.values()), axis=0)
    for channel, loss in channels.items():
        at = np.flatnonzero(np.isfinite(loss) & (series.step > 0))
        value, log_step = np.log(loss[at]), np.log(series.step[at])
        for i in range(1, len(at)):
            near = np.array([j for j in range(max(0, i - AROUND), min(len(at), i + AROUND + 1)) if j != i])
            if len(near) < 3:
                continue
            # The falling of the curve is no spread: a line through the neighbours is taken off.
            slope, level, *_ = theilslopes(value[near], log_step[near])
            rest = value[near] - (level + slope * log_step[near])
            spread = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
            expected = float(level + slope * log_step[i] + np.median(rest))
            over = value[i] - expected
            # A spike's neighbours before it are not spikes: it must rise from the checkpoint before.
            if over > max(times * spread, least) and value[i] > value[i - 1]:
                found.append(
                    Spike(
                        channel,
                        int(series.step[at[i]]),
                        int(series.step[at[i - 1]]),
                        float(loss[at[i]]),
                        float(np.exp(expected)),
                        float(over / spread) if spread else math.inf,
                    )
                )
    return sorted(found, key=lambda s: (s.step, s.channel))


def blocks_before(
    export: Path, spike: Spike, global_batch: int, sequence_length: int, phase: str | None = None
) -> list[dict[str, Any]]:
    """Blocks that were trained on between the two checkpoints, the most unlike their neighbours first.

    Steps are those of concatenated packing, as `trace` counts them; the checkpoint of step s has seen steps 0 to s − 1.
    """
    from pretrain_data.trace import Trace

    places = Trace(export)
    size = global_batch * sequence_length
    first, last = spike.after * size, spike.step * size
    name = phase or str(next((b["phase"] for b in places.blocks if b["phase"] != "validation"), ""))
    unlike = {row["block"]: row for row in places.suspicious()}
    found = []
    for block in places.blocks:
        start, end = int(block["offset"]), int(block["offset"] + block["tokens"] + block["documents"])
        if block["phase"] == name and start < last and end > first:
            share = block["channels"].get(spike.channel, [0, 0])[1] / max(1, block["tokens"])
            row = unlike.get(block["block"], {})
            found.append(
                {
                    "block": block["block"],
                    "phase": name,
                    "first_step": max(spike.after, start // size),
                    "last_step": min(spike.step, -(-end // size)) - 1,
                    "channel_share": round(share, 6),
                    "unlike": row.get("unlike", 0.0),
                    "by": row.get("by"),
                }
            )
    return sorted(found, key=lambda row: (-float(row["unlike"]), row["block"]))


def report(
    path: Path,
    export: Path | None = None,
    global_batch: int = 1024,
    sequence_length: int = 4096,
    phase: str | None = None,
    settings: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Trends and spikes of a table of checkpoints, with the blocks before each spike where there is an export."""
    series = read_series(path)
    chosen = dict(settings or {})
    found = spikes(series, chosen.get("times", 6.0), chosen.get("least", 0.01))
    return {
        "checkpoints": len(series.step),
        "channels": [asdict(t) for t in trends(series, chosen.get("least_fall", 0.002))],
        "spikes": [
            asdict(s)
            | ({"blocks": blocks_before(export, s, global_batch, sequence_length, phase)} if export is not None else {})
            for s in found
        ],
    }
