"""Loads Hugging Face sequence classifiers: the ones that the package carries, a folder, or a hub id.

Weights are read from safetensors only and no code from a checkpoint is ever run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pretrain_data.errors import InputError

DEFAULT = "default"
CARRIED = Path(__file__).parent / "default"


@dataclass(frozen=True)
class Classifier:
    """A model in evaluation mode, its fast tokenizer and its labels in the order of the logits."""

    model: Any
    tokenizer: Any
    labels: tuple[str, ...]
    device: Any


def local_path(name: str, task: str) -> Path | None:
    """The folder that `name` stands for, None where it is a hub id. `default` is the carried model of `task`."""
    if name == DEFAULT:
        return CARRIED / task
    path = Path(name).expanduser()
    return path if path.is_dir() else None


@cache
def load(name: str, task: str, revision: str | None = None, device: str = "cpu") -> Classifier:
    """Load a classifier once a process. Raises InputError that says what is missing and what to do."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = local_path(name, task)
    if folder is not None and not list(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder}: no *.safetensors there; weights in pickle files (*.bin, *.pt) are refused, since loading "
            "them can run code: convert the checkpoint with save_pretrained(safe_serialization=True)"
        )
    where = str(folder) if folder is not None else name
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_pretrained(
            where, revision=revision, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {name}: can't be loaded ({str(error).splitlines()[0]}); name a folder that holds it, or fetch it "
            "where there is a network"
        ) from error
    if device == "cpu":
        torch.set_num_threads(1)
    model = model.to(device).eval()
    labels = tuple(str(model.config.id2label[i]) for i in range(model.config.num_labels))
    return Classifier(model, tokenizer, labels, torch.device(device))
