"""Loads scorers: the ones that the package carries, a folder, or a hub id; an encoder or fastText, used alike.

Weights are read from safetensors only and no code from a checkpoint is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from pretrain_data.errors import ConfigError, InputError
from pretrain_data.kernels import scoring

DEFAULT = "default"
CARRIED = Path(__file__).parent / "default"
ENCODER = "quality"  # the task whose carried model is an encoder, which trainings of any task may start from
FASTTEXT = "fasttext.bin"  # a folder with this file holds a fastText model
Precision = Literal["auto", "fp32", "bf16"]
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


class Scorer(Protocol):
    """What stages ask: class probabilities of texts. `read` may run in a thread ahead of `score`."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    def read(self, texts: Sequence[str], max_tokens: int, reading: scoring.Reading = "head") -> Any: ...

    def score(self, read: Any, tokens_per_batch: int | None = None) -> np.ndarray: ...


@dataclass(frozen=True)
class Classifier:
    """An encoder in evaluation mode, its fast tokenizer and its labels in the order of the logits."""

    model: Any
    tokenizer: Any
    labels: tuple[str, ...]
    device: Any
    span: tuple[float, float] | None = None  # of one logit: what stands for 0 and for 1; None: its sigmoid

    def read(self, texts: Sequence[str], max_tokens: int, reading: scoring.Reading = "head") -> scoring.Tokens:
        """Tokens of what is read of each text."""
        return scoring.read(self.tokenizer, texts, scoring.limit_of(self.model, max_tokens), reading)

    def score(self, read: scoring.Tokens, tokens_per_batch: int | None = None) -> np.ndarray:
        """Probabilities, texts × labels. A batch holds `tokens_per_batch`, by default what suits the device."""
        return scoring.forward(
            self.model,
            read,
            tokens_per_batch or scoring.batch_tokens(self.model),
            int(self.tokenizer.pad_token_id or 0),
            self.span,
        )


def is_hub_id(name: str) -> bool:
    """Whether a name can only be a hub's: not `default`, no folder, and not written as a path."""
    path = name.startswith((".", "/", "~")) or name.count("/") > 1
    return name != DEFAULT and not path and local_path(name, "") is None


def index_of(label: str, labels: tuple[str, ...], model: str) -> int:
    """The place of a label; of a single one, that. Raises ConfigError with the labels there are."""
    if len(labels) == 1:
        return 0
    if label not in labels:
        raise ConfigError(f"label: model {model} has no label {label}; it has {', '.join(labels)}")
    return labels.index(label)


def local_path(name: str, task: str) -> Path | None:
    """The folder that `name` stands for, None where it is a hub id. `default` is the carried model of `task`."""
    if name == DEFAULT:
        return CARRIED / task
    path = Path(name).expanduser()
    return path if path.is_dir() else None


def first_of(task: str) -> Path:
    """The folder of the cheap model carried in front of the carried encoder of `task`, where there is one."""
    return CARRIED / f"{task}-first"


@cache
def load(
    name: str,
    task: str,
    revision: str | None = None,
    device: str = "cpu",
    precision: Precision = "auto",
    span: tuple[float, float] | None = None,
) -> Scorer:
    """Load a scorer once a process. Raises InputError that says what is missing and what to do.

    `auto` is bf16 on a GPU and fp32 on a CPU, so that a run on CPUs gives the same bytes whatever the kind of CPU.
    """
    folder = local_path(name, task)
    if folder is not None and (folder / FASTTEXT).is_file():
        from pretrain_data.models.fast import FastText

        return FastText.load(folder)
    import torch
    from transformers import AutoModelForSequenceClassification

    where, tokenizer = open_tokenizer(name, task, revision)
    bf16 = precision == "bf16" or (precision == "auto" and device != "cpu")
    with explained(name):
        model = AutoModelForSequenceClassification.from_pretrained(
            where,
            revision=revision,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.bfloat16 if bf16 else torch.float32,
        )
    if device == "cpu":
        torch.set_num_threads(1)
    model = model.to(device).eval()
    labels = tuple(str(model.config.id2label[i]) for i in range(model.config.num_labels))
    return Classifier(model, tokenizer, labels, torch.device(device), span)


def open_tokenizer(name: str, task: str, revision: str | None) -> tuple[str, Any]:
    """Where a checkpoint is (folder or hub id), found safe to read, and its tokenizer."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = local_path(name, task)
    if folder is None and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise InputError(f"model {name}: no such folder")
    if folder is not None:
        _refuse_pickles(folder)
    where = str(folder) if folder is not None else name
    with explained(name):
        return where, AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=False)


def _refuse_pickles(folder: Path) -> None:
    """Raise InputError unless the folder has weights as safetensors and asks for no code of its own."""
    if not list(folder.glob("*.safetensors")):
        found = [p.name for p in sorted(folder.iterdir()) if p.suffix in PICKLES]
        raise InputError(
            f"{folder}: no *.safetensors there{' but ' + ', '.join(found) if found else ''}; weights in pickle files "
            "(*.bin, *.pt) are refused, since loading them can run code: convert the checkpoint with "
            "save_pretrained() of a transformers that you trust it with"
        )
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file():
            try:
                asks = "auto_map" in json.loads(path.read_text())
            except ValueError as error:
                raise InputError(f"{path}: not JSON ({error})") from None
            if asks:
                raise InputError(f"{path}: asks for code from the checkpoint (auto_map), which is never run")


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Raise what loading a checkpoint meets as InputError with the way out."""
    try:
        yield
    except Exception as error:  # transformers, safetensors and the hub's client each have families of their own
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"model {name}: can't be loaded ({first}); name a folder that holds it, or fetch it where there is a "
            "network and leave it in HF_HOME for the executors"
        ) from error
