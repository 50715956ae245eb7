"""Experiments to run: mixtures, sizes, budgets and orders, each with its subset of the export.

FOLDER/experiments.json      the manifest that a trainer loops over
FOLDER/runs/NAME.npz         the uses of a run in training order: block, row, channel
FOLDER/validation.npz        the same for validation
FOLDER/results.csv           to be filled in, a line a run (see `results`)
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pretrain_data.errors import ConfigError, InputError
from pretrain_data.experiments.designs import Design, mixtures
from pretrain_data.experiments.pool import Order, Pool, arrange, draw, read_pool
from pretrain_data.mixing.mixture import Tokens
from pretrain_data.writer import write_atomically

MANIFEST = "experiments.json"


class Channel(BaseModel):
    """One channel of the mixture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prior: float = Field(gt=0, description="Share around which mixtures are proposed, relative to the others.")
    least: float = Field(default=0.0, ge=0, le=1, description="Smallest share to try.")
    most: float | None = Field(
        default=None, ge=0, le=1, description="Largest share to try; default: what max_epochs of the channel give."
    )


class ExperimentConfig(BaseModel):
    """Config of `experiment propose`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    export: Path = Field(description="The folder that the stage export wrote.")
    out: Path = Field(description="Folder for the manifest and the subsets.")
    phase: str | None = Field(default=None, description="Phase of the export to draw from; default: all.")
    channels: dict[str, Channel] = Field(
        default_factory=dict, description="Channels of the mixture; default: all, with their shares in the export."
    )
    runs: int = Field(default=32, ge=1, le=10_000, description="Mixtures; the first is the prior.")
    design: Design = Field(default="space-filling", description="space-filling (Sobol) or dirichlet (random).")
    concentration: float = Field(
        default=6.0, gt=0, description="How near to the prior: the variance of a share p is p (1 − p) / (this + 1)."
    )
    sizes: list[Tokens] = Field(
        default_factory=lambda: [1_000_000],
        min_length=1,
        description="Parameters of the models, e.g. [20M, 50M, 100M].",
    )
    tokens: list[Tokens] = Field(min_length=1, description="Training tokens, e.g. [500M, 1B, 2B].")
    orders: list[Order] = Field(
        default=["shuffled"], min_length=1, description="Orders of training; the first is the base."
    )
    paired: int | None = Field(
        default=None, ge=0, description="How many mixtures are run in the other orders too; default: all."
    )
    max_epochs: float = Field(default=4.0, gt=0, description="Uses of a document at most.")
    holdout: float = Field(
        default=0.02, gt=0, lt=1, description="Share of similar groups to validate on, where the export held none out."
    )
    seed: int = Field(default=1, ge=0, description="Root of every random choice.")

    @model_validator(mode="after")
    def _sound(self) -> ExperimentConfig:
        for name, channel in self.channels.items():
            if channel.most is not None and channel.least > channel.most:
                raise ValueError(f"channels.{name}: least {channel.least} is over most {channel.most}")
        if len(set(self.orders)) < len(self.orders):
            raise ValueError("orders: each order once")
        return self


def load(path: Path, changes: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """Read the YAML; relative paths start from its folder. Raises ConfigError that lists every fault."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; see configs/experiments for examples") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read ({error})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a mapping is wanted, with export, out and tokens")
    try:
        found = ExperimentConfig.model_validate({**content, **(changes or {})})
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError("\n".join(lines)) from None
    root = path.resolve().parent
    resolved = {name: Path(os.path.normpath(root / getattr(found, name))) for name in ("export", "out")}
    return found.model_copy(update=resolved)


def propose(config: ExperimentConfig) -> dict[str, Any]:
    """Write the proposals; returns the manifest. The same config and export give the same bytes.

    Raises:
        InputError: no such export or channels, or a channel too small for a run.
    """
    train, validation = read_pool(config.export, config.seed, config.holdout, config.phase)
    channels, prior, low, high = _channels(config, train)
    shares = mixtures(prior, config.runs, config.design, config.concentration, config.seed, low, high)
    budgets = _budgets(config)
    order = np.array([train.channels.index(c) for c in channels])
    runs = []
    for number, (mixture, (size, tokens)) in enumerate(zip(shares, budgets, strict=True)):
        wanted = np.zeros(len(train.channels))
        wanted[order] = mixture * tokens
        rows, passes = draw(train, wanted, config.max_epochs)
        paired = number < (config.runs if config.paired is None else config.paired)
        for name in config.orders if paired else config.orders[:1]:
            run = f"m{number:03d}-{name}"
            placed = arrange(train, rows, passes, name, config.seed + 1000 * (number + 1))
            save_uses(config.out / "runs" / f"{run}.npz", train, rows[placed])
            given = np.bincount(train.channel[rows], train.tokens[rows], minlength=len(train.channels))[order]
            runs.append(
                {
                    "run": run,
                    "order": name,
                    "params": size,
                    "tokens": int(given.sum()),
                    "mixture": dict(zip(channels, (given / given.sum()).round(9).tolist(), strict=True)),
                    "epochs": dict(
                        zip(channels, (given / np.maximum(train.available()[order], 1)).round(4).tolist(), strict=True)
                    ),
                    "index": f"runs/{run}.npz",
                }
            )
    known = np.flatnonzero(np.isin(validation.channel, order))
    save_uses(config.out / "validation.npz", validation, known)
    manifest = {
        "export": str(config.export),
        "channels": channels,
        "prior": dict(zip(channels, prior.round(9).tolist(), strict=True)),
        "bounds": {name: [round(x, 9) for x in ends] for name, *ends in zip(channels, low, high, strict=True)},
        "validation": {"index": "validation.npz", "tokens": int(validation.tokens[known].sum())},
        "results": "results.csv",
        "seed": config.seed,
        "runs": runs,
    }
    write_atomically(config.out / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1))
    return manifest


def _channels(config: ExperimentConfig, train: Pool) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """(names, prior, least, most) of the mixture's channels."""
    have = dict(zip(train.channels, train.available().tolist(), strict=True))
    chosen = config.channels or {
        name: Channel(prior=max(1, tokens)) for name, tokens in have.items() if tokens and name
    }
    unknown = [name for name in chosen if not have.get(name)]
    if unknown:
        there = ", ".join(f"{n or 'none'} ({t:,} tokens)" for n, t in have.items())
        raise InputError(f"{config.export}: no documents of {', '.join(unknown)}; there are {there}")
    names = list(chosen)
    prior = np.array([chosen[n].prior for n in names], float)
    # Draws beyond what a channel can give would only be refused afterwards.
    given = {n: min(1.0, config.max_epochs * have[n] / max(config.tokens)) for n in names}
    low = np.array([chosen[n].least for n in names])
    high = np.array([given[n] if (most := chosen[n].most) is None else most for n in names])
    return names, prior / prior.sum(), low, high


def _budgets(config: ExperimentConfig) -> list[tuple[int, int]]:
    """A size and a budget for each mixture: every pair as often as any other, in an order drawn from the seed."""
    pairs = [(size, tokens) for size in config.sizes for tokens in config.tokens]
    rng = np.random.default_rng(config.seed + 3)
    found: list[tuple[int, int]] = []
    while len(found) < config.runs:
        found += [pairs[i] for i in rng.permutation(len(pairs))]
    return found[: config.runs]


def save_uses(path: Path, pool: Pool, rows: np.ndarray) -> None:
    """Write block, row and channel of some uses, whole or not at all, the same bytes for the same uses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    content = io.BytesIO()
    np.savez(content, block=pool.block[rows], row=pool.row[rows], channel=pool.channel[rows])
    scratch.write_bytes(content.getvalue())
    os.replace(scratch, path)
