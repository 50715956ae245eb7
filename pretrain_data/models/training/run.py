"""One training from config to checkpoint: labels, split, model, figures on unseen sources, card."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pretrain_data.kernels import scoring
from pretrain_data.models import fast, loading
from pretrain_data.models.training import bert, card, labels, llm, metrics, spoiling
from pretrain_data.models.training.config import TrainConfig
from pretrain_data.models.training.labels import Example

TEST_BATCH = 16_384  # tokens in a batch of the evaluation
FILE = "training.json"


def train(config: TrainConfig, task: str, say: Callable[[str, float], None]) -> dict[str, Any]:
    """Train for `task` (quality, domain), write `config.out`, and return what training.json there holds.

    `say(text, share done)` is called as it goes. Raises ConfigError or InputError.
    """
    began = time.monotonic()
    say("reading labels", 0.0)
    examples = labels.gather(config)
    spent: dict[str, Any] | None = None
    if config.llm is not None:
        examples, spent = llm.label(config.llm, examples, config.out / "llm-answers", say)
    split = labels.split(config, examples)
    if task == "quality" and config.corrupt:
        made = spoiling.spoiled(split.train, config.corrupt, config.seed)
        split = replace(split, train=split.train + made)
    split = replace(split, train=sorted(split.train, key=lambda e: e.key))
    history: list[dict[str, float]] = []
    scorer: loading.Scorer
    if config.engine == "fasttext":
        left = config.minutes * 54 - (time.monotonic() - began) if config.minutes else None
        say("training fastText", 0.1)
        scorer = fast.train(config, split.train, config.out, left)
        stopped = "epochs"
    else:
        trained = bert.train(config, split, task, say, began)
        scorer, history, stopped = trained.scorer, trained.history, trained.stopped
        bert.save(trained, config.out, config.half)
    figures = {
        name: metrics.report(part, probabilities(scorer, part, config.max_tokens, config.reading), scorer.labels)
        for name, part in (("unseen_sources", split.test), ("validation", split.validation))
    }
    found: dict[str, Any] = {
        "task": task,
        "engine": config.engine,
        "base": config.base,
        "labels": list(scorer.labels),
        "held_out_sources": split.test_sources,
        "documents": {
            "train": _count(split.train),
            "validation": _count(split.validation),
            "unseen_sources": _count(split.test),
        },
        "stopped": stopped,
        "minutes": round((time.monotonic() - began) / 60, 2),
        "figures": figures,
        "history": history,
        "config": _config(config),
    }
    if spent is not None:
        found["llm"] = spent
    (config.out / FILE).write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    (config.out / "README.md").write_text(card.card(found))
    return found


def probabilities(
    scorer: loading.Scorer, examples: list[Example], max_tokens: int, reading: scoring.Reading = "head"
) -> np.ndarray:
    """Probabilities of examples, in order."""
    if not examples:
        return np.empty((0, len(scorer.labels)), np.float32)
    return scorer.score(scorer.read([e.text for e in examples], max_tokens, reading), TEST_BATCH)


def evaluate(model: Path, task: str, examples: list[Example], max_tokens: int) -> dict[str, Any]:
    """The figures of a checkpoint on these examples; labels that it doesn't know are left out and counted."""
    scorer = loading.load(str(model), task)
    known = [e for e in examples if e.label in scorer.labels]
    found = metrics.report(known, probabilities(scorer, known, max_tokens), scorer.labels)
    return found | {"unknown_labels": len(examples) - len(known)}


def _config(config: TrainConfig) -> dict[str, Any]:
    """What was asked for; files by their names, since where they lie is no part of what was trained."""
    found: dict[str, Any] = json.loads(config.model_dump_json(exclude={"out"}))
    for file in found["files"]:
        file["path"] = Path(file["path"]).name
    return found


def _count(examples: list[Example]) -> dict[str, int]:
    return {" ".join(k): n for k, n in sorted(Counter((e.source, e.lang, str(e.label)) for e in examples).items())}
