"""`pretrain-data train quality` and `train domain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pretrain_data.commands import JsonOption, SetOption, command, err, out, print_json

TrainArgument = Annotated[Path, typer.Argument(help="The YAML config of the training.", metavar="CONFIG")]


@command("train quality")
def train_quality(config: TrainArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Train a quality scorer from source rules, labelled files or an LLM's answers.

    Example: pretrain-data train quality scripts/default_models/quality.yaml --set minutes=30
    """
    _train("quality", config, overrides, as_json)


@command("train domain")
def train_domain(config: TrainArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Train a domain classifier from source rules, labelled files or an LLM's answers.

    Example: pretrain-data train domain scripts/default_models/domain.yaml
    """
    _train("domain", config, overrides, as_json)


def _train(task: str, path: Path, overrides: list[str] | None, as_json: bool) -> None:
    from rich.progress import Progress

    from pretrain_data.config import load_part
    from pretrain_data.models.training import run
    from pretrain_data.models.training.config import TrainConfig

    config = load_part(path, TrainConfig, overrides or [])
    with Progress(console=err, transient=True) as progress:
        bar = progress.add_task(f"train {task}", total=1.0)

        def say(text: str, share: float) -> None:
            progress.update(bar, completed=share, description=text)

        found = run.train(config, task, say)
    if as_json:
        print_json(found)
        return
    for name in ("unseen_sources", "validation"):
        for line in _lines(name, found["figures"][name]):
            out.print(line, markup=False)
    if "llm" in found:
        spent = found["llm"]
        out.print(f"LLM: {spent['answered']:,} answers, {spent['failed']:,} failed, cost {spent['cost']:.4f}")
    out.print(f"{found['minutes']} minutes, ended by {found['stopped']}; {config.out}", markup=False)


def _lines(name: str, part: dict[str, Any]) -> list[str]:
    title = name.replace("_", " ")
    if not part.get("documents"):
        return [f"{title}: none"]
    lines = [f"{title}: {part['documents']:,} documents, accuracy {part['accuracy']}, macro-F1 {part['macro_f1']}"]
    for lang, one in part["by_lang"].items():
        area = f", AUC {one['auc']}" if one.get("auc") is not None else ""
        lines.append(f"  {lang}: {one['documents']:,}, macro-F1 {one['macro_f1']}{area}")
    return lines
