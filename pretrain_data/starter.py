"""A commented config to start from, filled in from three answers."""

from __future__ import annotations

import glob
import json
import os
from pathlib import Path

from pretrain_data.config import load_config
from pretrain_data.errors import ConfigError, InputError
from pretrain_data.mixing.mixture import token_count
from pretrain_data.stages import registry

TEMPLATE = Path(__file__).with_name("starter.yaml")


def write_starter(target: Path, data: str, tokens: str, chinese: float, workspace: str | None = None) -> Path:
    """Write a config for the documents at `data` (a file, folder or glob) and check that it is valid.

    `tokens` is the budget of the mixture, e.g. 10T or 500M; `chinese` the share of Chinese in its knowledge, 0..1;
    `workspace` the folder for all outputs, by default one of the config's name. Raises InputError where the target
    is there already or the data isn't, ConfigError where an answer makes no sense.
    """
    free(target)
    budget, chinese, data = budget_of(tokens), share_of(chinese), documents_at(data)
    answers = {
        "input": json.dumps(os.path.abspath(data) if "://" not in data else data, ensure_ascii=False),
        "workspace": json.dumps(workspace or f"./{target.stem}", ensure_ascii=False),
        "source": json.dumps(_name(data), ensure_ascii=False),
        "budget": tokens.strip(),
        "chinese": f"{chinese:g}",
        "english": f"{1 - chinese:g}",
        "block_tokens": str(max(10_000, min(1_000_000_000, budget // 10))),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, answer in answers.items():
        text = text.replace(f"<{name}>", answer)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    load_config(target, registry())
    return target


def free(target: Path) -> None:
    """Raise InputError where a file is there already: what someone wrote isn't written over."""
    if target.exists():
        raise InputError(f"{target}: is there already; choose another name, or remove it first")


def documents_at(data: str) -> str:
    """`data` as given, where it names files that are there: a file, a folder or a glob. URLs aren't looked at."""
    if "://" not in data and next(glob.iglob(data, recursive=True), None) is None and not Path(data).exists():
        raise InputError(
            f"{data or '(nothing)'}: nothing is there; name a file, a folder or a glob with your documents"
        )
    return data


def budget_of(tokens: str) -> int:
    """Tokens as a number, from 10T, 500M or digits."""
    try:
        return int(token_count(tokens))
    except ValueError as error:
        raise ConfigError(f"tokens: {error}") from None


def share_of(chinese: float | str) -> float:
    """A share between 0 and 1, from a number, its text, or a percentage such as 30%."""
    text = str(chinese).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ConfigError(f"the share of Chinese is a number between 0 and 1, not {text}") from None
    if not 0 <= share <= 1:
        raise ConfigError(f"the share of Chinese is between 0 and 1, not {text}")
    return share


def _name(data: str) -> str:
    """What the source is called: the last part of the path that is no pattern."""
    parts = [part for part in Path(data).parts if "*" not in part and part not in ("/", ".", "..")]
    return Path(parts[-1]).stem if parts else "documents"
