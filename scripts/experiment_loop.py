#!/usr/bin/env python
"""The whole loop of experiments on one machine: propose, train, fit, recommend, train the recommendation, compare.

    python scripts/experiment_loop.py EXPORT OUT

Trains decoders of some hundred thousand parameters on a CPU, a few minutes each at most. That shows that the hand-over
works: subsets of a real export, losses by channel, laws, a prediction that can fail. The mixture that such models
prefer says nothing about large ones. A run that is in OUT/results.csv is not trained again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from pretrain_data.experiments.propose import ExperimentConfig, propose
from pretrain_data.experiments.report import fit_report
from pretrain_data.experiments.results import append_result, read_results
from pretrain_data.experiments.subset import open_run, read_proposals
from pretrain_data.reader import Sequence


class Decoder(nn.Module):
    """A plain pre-norm decoder; input and output embeddings are tied."""

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int, length: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for weights in self.parameters():
            if weights.dim() > 1:
                nn.init.normal_(weights, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of the next token: batch × length × vocabulary."""
        x = self.token(tokens) + self.place(torch.arange(tokens.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.norm(x) @ self.token.weight.T


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.before(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.between(x))))


class Words:
    """The commonest tokens of the training data under numbers of their own; the rest is number 0.

    The export's tokenizer has a vocabulary far larger than such a model.
    """

    def __init__(self, folder: Path, run: str, length: int, size: int, vocabulary: int) -> None:
        counts = np.zeros(vocabulary, np.int64)
        for sequence in open_run(folder, run, length):
            counts += np.bincount(sequence.tokens, minlength=vocabulary)
        common = np.argsort(-counts, kind="stable")[: size - 1]
        self.number = np.zeros(vocabulary, np.int64)
        self.number[common] = np.arange(1, len(common) + 1)
        self.size = size

    def __call__(self, sequence: Sequence) -> torch.Tensor:
        return torch.from_numpy(self.number[sequence.tokens])


def channel_of_tokens(sequence: Sequence, channels: list[str]) -> np.ndarray:
    """Number of the channel that each token counts for."""
    numbers = [channels.index(c) if c in channels else -1 for c in sequence.channels]
    return np.repeat(numbers, np.diff(np.append(sequence.starts, sequence.used)))


def batches(sequences: Iterator[Sequence], words: Words, channels: list[str], size: int) -> Iterator[tuple[Any, Any]]:
    """(tokens, channel of each token), batch × length each."""
    held: list[Sequence] = []
    for sequence in sequences:
        held.append(sequence)
        if len(held) == size:
            places = np.stack([channel_of_tokens(s, channels) for s in held])
            yield torch.stack([words(s) for s in held]), torch.from_numpy(places)
            held = []


def losses(model: Decoder, tokens: torch.Tensor) -> torch.Tensor:
    """Loss of each token but the first, in nats."""
    logits = model(tokens)[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(len(tokens), -1)


@torch.no_grad()
def validate(
    model: Decoder, folder: Path, words: Words, channels: list[str], args: argparse.Namespace
) -> dict[str, float]:
    """Mean loss by channel over at most `validation_tokens` of each."""
    total, count = np.zeros(len(channels)), np.zeros(len(channels))
    for tokens, places in batches(iter(open_run(folder, "validation", args.length)), words, channels, 16):
        wanted = np.flatnonzero(count < args.validation_tokens)
        rows = torch.from_numpy(np.isin(places.numpy(), wanted).any(axis=1))
        if not rows.any():
            continue
        value, place = losses(model, tokens[rows]).numpy(), places[rows][:, 1:].numpy()
        for i in range(len(channels)):
            total[i] += value[place == i].sum()
            count[i] += (place == i).sum()
    return {c: float(total[i] / count[i]) for i, c in enumerate(channels) if count[i]}


def train(
    folder: Path, run: dict[str, Any], words: Words, channels: list[str], args: argparse.Namespace, checkpoints: int = 0
) -> tuple[dict[str, float], int]:
    """(validation loss by channel, parameters). Training loss by channel goes to OUT/logs/RUN.jsonl."""
    torch.manual_seed(args.seed)
    model = Decoder(words.size, args.width, args.layers, args.heads, args.length)
    params = sum(p.numel() for p in model.parameters())
    steps = max(1, run["tokens"] // (args.length * args.batch))
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((s + 1) / max(1, 0.1 * steps), max(0.02, (steps - s) / max(1, 0.5 * steps)), 1.0)
    )
    log = folder / "logs" / f"{run['run']}.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        sequences = iter(open_run(folder, run["run"], args.length))
        for step, (tokens, places) in enumerate(batches(sequences, words, channels, args.batch)):
            value = losses(model, tokens)
            optimiser.zero_grad()
            value.mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            seen, place = value.detach().numpy(), places[:, 1:].numpy()
            by = {c: float(seen[place == i].mean()) for i, c in enumerate(channels) if (place == i).any()}
            file.write(json.dumps({"step": step, "loss": by}) + "\n")
            if checkpoints and (step + 1) % max(1, steps // checkpoints) == 0:
                row: dict[str, object] = {"step": step + 1, "tokens": (step + 1) * args.length * args.batch}
                row |= {f"loss:{c}": v for c, v in validate(model, folder, words, channels, args).items()}
                append_result(folder / "checkpoints.csv", row)
    return validate(model, folder, words, channels, args), params


def row_of(run: dict[str, Any], params: int, found: dict[str, float]) -> dict[str, object]:
    shares = {f"share:{c}": s for c, s in run["mixture"].items()}
    about = {"run": run["run"], "order": run["order"], "params": params, "tokens": run["tokens"]}
    return {**about, **shares, **{f"loss:{c}": round(v, 6) for c, v in found.items()}}


def done(results: Path) -> set[str]:
    return set(read_results(results).names) if results.exists() else set()


def loop(args: argparse.Namespace) -> dict[str, Any]:
    """The loop; returns its report."""
    torch.set_num_threads(args.threads)
    out = args.out
    settings: dict[str, Any] = {
        "export": args.export.absolute(),
        "out": out.absolute(),
        "runs": args.mixtures,
        "channels": json.loads(args.channels) if args.channels else {},
        "concentration": args.concentration,
        "tokens": [args.tokens],
        "orders": ["shuffled", "spaced"],
        "paired": args.paired,
        "max_epochs": args.max_epochs,
        "seed": args.seed,
    }
    manifest = propose(ExperimentConfig.model_validate(settings))
    channels = manifest["channels"]
    vocabulary = json.loads((args.export / "blocks.json").read_text(encoding="utf-8"))["vocabulary_size"]
    words = Words(out, manifest["runs"][0]["run"], args.length, args.vocabulary, vocabulary)
    results, clock = out / "results.csv", time.monotonic()
    for run in manifest["runs"]:
        if run["run"] not in done(results):
            found, params = train(out, run, words, channels, args)
            append_result(results, row_of(run, params, found))
            said = "  ".join(f"{c} {v:.3f}" for c, v in found.items())
            print(f"{time.monotonic() - clock:6.0f} s  {run['run']}: {said}", flush=True)
    report = fit_report(read_results(results), seed=args.seed, draws=args.draws, plot=out / "fit.svg")
    best = report["recommendation"]
    if best is None:
        print("refused: " + "; ".join(report["refusals"]))
        return report
    # The recommended mixture as a run of its own, drawn with the same keys.
    final = out / "recommended"
    shares = {c: {"prior": max(1e-6, share)} for c, share in best["mixture"].items()}
    settings |= {"out": final.absolute(), "runs": 1, "orders": ["shuffled"], "channels": shares}
    [run] = propose(ExperimentConfig.model_validate(settings))["runs"]
    (final / "checkpoints.csv").unlink(missing_ok=True)
    found, params = train(final, run, words, channels, args, checkpoints=8)
    measured = sum(report["weights"][c] * v for c, v in found.items())
    low, high = best["loss_interval"]
    report["trained"] = {"run": row_of(run, params, found), "loss": measured, "within": low <= measured <= high}
    report["seconds"] = round(time.monotonic() - clock)
    (out / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
    print(f"recommended {read_proposals(final)['runs'][0]['mixture']}")
    print(f"predicted {best['loss']:.4f} [{low:.4f}, {high:.4f}], measured {measured:.4f}: ", end="")
    print("within" if report["trained"]["within"] else "outside", "its 90 % interval")
    for channel, value in found.items():
        ends = best["losses_interval"][channel]
        print(
            f"  {channel}: predicted {best['losses'][channel]:.4f} [{ends[0]:.4f}, {ends[1]:.4f}], measured {value:.4f}"
        )
    for order, one in report["orders"].items():
        print(f"order {order}: loss {one['change']:+.3%} against shuffled over {one['pairs']:.0f} pairs "
              + (f"[{one['low']:+.3%}, {one['high']:+.3%}]" if "low" in one else ""))  # fmt: skip
    return report


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("export", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--channels", default="", help="JSON, as in the config of experiment propose")
    for name, default in (("mixtures", 12), ("paired", 4), ("tokens", 400_000), ("vocabulary", 2048), ("width", 64),
                          ("layers", 2), ("heads", 4), ("length", 128), ("batch", 4), ("validation-tokens", 40_000),
                          ("draws", 200), ("seed", 1), ("threads", 2)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, value in (("rate", 3e-3), ("concentration", 6.0), ("max-epochs", 4.0)):
        parser.add_argument(f"--{name}", type=float, default=value)
    return parser.parse_args(words)


if __name__ == "__main__":
    loop(arguments())
