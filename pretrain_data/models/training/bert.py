"""Fine-tunes an encoder: token-budget batches, class balance, early stopping, and a clock that is kept."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretrain_data.kernels import scoring
from pretrain_data.models import loading
from pretrain_data.models.training.config import TrainConfig
from pretrain_data.models.training.labels import Example, Split

RESERVE = 0.03  # share of the time that loading and saving may take beside what is measured
PROBE = 64  # validation documents scored before the training, to know what the evaluation will take
WARM_UP = 0.1  # share of the steps


@dataclass
class Trained:
    """What came of a training."""

    scorer: loading.Classifier
    history: list[dict[str, float]]
    stopped: str  # why it ended: epochs, early, time


def train(config: TrainConfig, split: Split, task: str, say: Callable[[str, float], None], began: float) -> Trained:
    """Fine-tune on `split.train`; the weights that did best on `split.validation` are the result.

    `began` is time.monotonic() of the command's start, which `config.minutes` counts from. `say(text, share done)` is
    called with each step. The same config, files, versions and kind of machine give the same weights.
    """
    import torch

    labels = sorted({str(e.label) for e in split.train})
    torch.manual_seed(config.seed)
    rng = random.Random(config.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = start(config, task, labels)
    model.to(device)
    prefix, suffix = scoring.specials(tokenizer)
    room = scoring.limit_of(model, config.max_tokens) - len(prefix) - len(suffix)
    encoded = _encode(tokenizer, room, split.train)
    targets = [labels.index(str(e.label)) for e in split.train]
    weights = balance(split.train, config.balance)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.01)
    per_epoch = len(_batches(encoded, config.tokens_per_batch, random.Random(0), config.max_tokens))
    total = per_epoch * config.epochs
    look_every = max(1, per_epoch // config.looks_per_epoch)
    deadline = None
    look_seconds = 0.0
    if config.minutes:
        each = _seconds_a_document(model, tokenizer, config, split)
        look_seconds = each * len(split.validation)
        deadline = began + config.minutes * 60 * (1 - RESERVE) - each * (len(split.test) + len(split.validation))
    best: tuple[float, dict[str, Any]] | None = None
    history: list[dict[str, float]] = []
    step = since = 0
    stopped = "epochs"
    loss_sum = 0.0
    started = time.monotonic()
    while step < total and stopped == "epochs":
        for rows in _batches(encoded, config.tokens_per_batch, rng, config.max_tokens):
            share = step / total
            if deadline is not None:  # the schedule follows the clock where that is the tighter of the two
                spent = (time.monotonic() - started) / max(1e-9, deadline - started)
                share = max(share, spent)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * min(
                    1.0, share / WARM_UP + 0.01, max(0.0, (1 - share) / (1 - WARM_UP))
                )
            model.train()
            pieces = [prefix + _piece(encoded[r], room, config, rng) + suffix for r in rows]
            ids, mask = scoring.padded(pieces, int(tokenizer.pad_token_id or 0), device)
            logits = model(input_ids=ids, attention_mask=mask).logits
            loss = _loss(logits, [targets[r] for r in rows], weights[rows], config.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            loss_sum += float(loss.detach())
            step += 1
            say(f"loss {loss_sum / (step - since):.3f}", share)
            out_of_time = deadline is not None and time.monotonic() + look_seconds >= deadline
            if step % look_every == 0 or step == total or out_of_time:
                before = time.monotonic()
                figure = _validation_loss(model, tokenizer, config, split.validation, labels)
                look_seconds = time.monotonic() - before
                history.append({"step": step, "train_loss": loss_sum / (step - since), "validation_loss": figure})
                since, loss_sum = step, 0.0
                if best is None or figure < best[0] - 1e-4:
                    best = (figure, {k: v.detach().cpu().clone() for k, v in model.state_dict().items()})
                elif len(history) - 1 - _best_at(history) >= config.patience:
                    stopped = "early"
            if out_of_time:
                stopped = "time"
            if stopped != "epochs":
                break
    assert best is not None
    model.load_state_dict(best[1])
    model.eval()
    return Trained(loading.Classifier(model, tokenizer, tuple(labels), torch.device(device)), history, stopped)


def start(config: TrainConfig, task: str, labels: list[str]) -> tuple[Any, Any]:
    """The base encoder with a new head for `labels`, and its tokenizer."""
    import torch
    from transformers import AutoModelForSequenceClassification

    carried = loading.ENCODER if config.base == loading.DEFAULT else task
    where, tokenizer = loading.open_tokenizer(config.base, carried, config.revision)
    with loading.explained(config.base):
        model = AutoModelForSequenceClassification.from_pretrained(
            where,
            revision=config.revision,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: i for i, label in enumerate(labels)},
            ignore_mismatched_sizes=True,
        )
    return model, tokenizer


def save(trained: Trained, out: Path, half: bool) -> None:
    """Write weights (safetensors) and tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    model = trained.scorer.model.cpu()
    (model.half() if half else model).save_pretrained(out)
    trained.scorer.tokenizer.save_pretrained(out)


def balance(examples: list[Example], wanted: bool) -> np.ndarray:
    """A weight for each example, mean 1: within a language all labels weigh the same, at most 10 times the mean."""
    if not wanted:
        return np.ones(len(examples), np.float32)
    pairs = Counter((e.lang, e.label) for e in examples)
    langs = Counter(e.lang for e in examples)
    kinds = Counter(lang for lang, _ in pairs)
    found = np.array([langs[e.lang] / (kinds[e.lang] * pairs[e.lang, e.label]) for e in examples], np.float32)
    found = np.minimum(found, 10)
    return found / found.mean()


def _encode(tokenizer: Any, room: int, examples: list[Example]) -> list[list[int]]:
    """Token ids without special ones, thrice as long as what is read, so that crops have a choice."""
    cut = room * 3
    texts = [e.text[: cut * scoring.CHARS_PER_TOKEN] for e in examples]
    found: list[list[int]] = tokenizer(texts, add_special_tokens=False, truncation=True, max_length=cut)["input_ids"]
    return found


def _piece(ids: list[int], room: int, config: TrainConfig, rng: random.Random) -> list[int]:
    first = rng.randrange(len(ids) - room) if len(ids) > room and rng.random() < config.crops else 0
    if config.short and rng.random() < config.short:
        room = rng.randrange(min(24, room), room + 1)
    return ids[first : first + room]


def _batches(encoded: list[list[int]], budget: int, rng: random.Random, most: int) -> list[list[int]]:
    """Rows of like length, in random order, within the budget of tokens."""
    order = sorted(range(len(encoded)), key=lambda i: min(len(encoded[i]), most) * (0.9 + 0.2 * rng.random()))
    out: list[list[int]] = []
    batch: list[int] = []
    width = 0
    for row in order:
        wide = max(width, min(len(encoded[row]) + 2, most))
        if batch and wide * (len(batch) + 1) > budget:
            out.append(batch)
            batch, wide = [], min(len(encoded[row]) + 2, most)
        batch.append(row)
        width = wide
    if batch:
        out.append(batch)
    rng.shuffle(out)
    return out


def _loss(logits: Any, targets: list[int], weights: np.ndarray, smoothing: float) -> Any:
    import torch

    wanted = torch.tensor(targets, device=logits.device)
    each = torch.nn.functional.cross_entropy(logits.float(), wanted, label_smoothing=smoothing, reduction="none")
    return (each * torch.from_numpy(weights).to(logits.device)).mean()


def _validation_loss(
    model: Any, tokenizer: Any, config: TrainConfig, examples: list[Example], labels: list[str]
) -> float:
    """Mean negative log likelihood, each label weighing the same."""
    if not examples:
        return 0.0
    model.eval()
    found = scoring.probabilities(
        model, tokenizer, [e.text for e in examples], config.max_tokens, config.tokens_per_batch * 4
    )
    chosen = found[np.arange(len(examples)), [labels.index(str(e.label)) for e in examples]]
    return float(np.average(-np.log(np.maximum(chosen, 1e-6)), weights=balance(examples, True)))


def _seconds_a_document(model: Any, tokenizer: Any, config: TrainConfig, split: Split) -> float:
    some = [e.text for e in [*split.test[:: max(1, len(split.test) // PROBE)], *split.validation][:PROBE]]
    model.eval()
    before = time.monotonic()
    scoring.probabilities(model, tokenizer, some, config.max_tokens, config.tokens_per_batch * 4)
    return (time.monotonic() - before) / max(1, len(some))


def _best_at(history: list[dict[str, float]]) -> int:
    return int(np.argmin([h["validation_loss"] for h in history]))
