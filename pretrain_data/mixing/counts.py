"""Token counts of the documents of each shard, kept beside the output of mix: the next run counts what is new.

tokens/[dt=…/]part-00000.npy   int32, one entry a document of the input's shard, in order
tokens/_inputs.json            the tokenizer, and of each shard what its input was
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import numpy as np

from pretrain_data.stage import Shard
from pretrain_data.writer import write_atomically

FOLDER = "tokens"
INPUTS = "_inputs.json"


def count_file(folder: Path, shard: Shard) -> Path:
    return folder / f"{shard.name}.npy"


def known(folder: Path, tokenizer: str, inputs: dict[str, str]) -> frozenset[str]:
    """Names of the shards whose counts lie in `folder`, made by the same tokenizer from the same input."""
    try:
        before = json.loads((folder / INPUTS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return frozenset()
    if before["tokenizer"] != tokenizer:
        return frozenset()
    same = (name for name, made_from in before["shards"].items() if inputs.get(name) == made_from)
    return frozenset(name for name in same if (folder / f"{name}.npy").is_file())


def note(folder: Path, tokenizer: str, inputs: dict[str, str]) -> None:
    """Leave with the counts what `known` of the next run needs."""
    what = {"tokenizer": tokenizer, "shards": inputs}
    write_atomically(folder / INPUTS, json.dumps(what, ensure_ascii=False, sort_keys=True))


def save(path: Path, counts: np.ndarray) -> None:
    """Write whole or not at all: a task may be killed and tried again beside its twin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with hidden.open("wb") as file:
        np.save(file, counts)
    os.replace(hidden, path)
