"""The commands, one file each: a typed function that reads arguments, calls the library and prints.

A file here is found by name (`cli` imports all of them) and registers itself with `@command("plan dedup")`:
one word is a command, two are a command in a group. Heavy imports belong inside the function, so that
`--help` stays quick.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from typer.core import TyperGroup


class _InOrder(TyperGroup):
    """The commands in the order of PANELS, not of their modules' names."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: _PLACE[name])


app = typer.Typer(
    cls=_InOrder,
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Turns a crawl into Chinese and English LLM pretraining data.",
    epilog="Exit codes: 0 done; 1 the run failed, or a check found something wrong; 2 the config or the command line; "
    "3 the input; 4 another run holds the workspace; 5 an output is not as its manifest says.",
)

#: In `--help` the commands stand by what they are for, in the order in which they are met.
PANELS = {
    "Begin": ("doctor", "sample", "init", "validate"),
    "Run": ("run", "stage", "nightly", "status", "verify", "gc"),
    "Look": ("report", "explore", "pii", "trace", "metrics", "reference"),
    "Decide and train": ("plan", "experiment", "train", "pdf"),
}
_PANEL = {name: panel for panel, names in PANELS.items() for name in names}
_PLACE = {name: place for place, name in enumerate(_PANEL)}

GROUPS = {
    "plan": "Work out thresholds, cuts and costs before a run.",
    "train": "Train the scorers.",
    "experiment": "Choose the mixture by small models.",
    "pdf": "Work with PDFs.",
    "pii": "Look at what was scrubbed.",
}

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

ConfigArgument = Annotated[Path, typer.Argument(help="The YAML config.", metavar="CONFIG")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key, e.g. stages.dedup.threshold=0.9."),
]
AppendOption = Annotated[
    bool, typer.Option("--append", help="Blocks in the export stay as they are: add behind them what is new.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def stage_names(incomplete: str) -> list[str]:
    """For the shell's completion: the stages that begin so."""
    from pretrain_data.stages import ORDER

    return [name for name in ORDER if name.startswith(incomplete)]


F = TypeVar("F", bound=Callable[..., Any])
_groups: dict[str, typer.Typer] = {}


def command(name: str) -> Callable[[F], F]:
    """Register a function as `pretrain-data NAME`; its docstring is the help, with an example."""
    group, _, own = name.rpartition(" ")
    target = app
    if group:
        if group not in _groups:
            _groups[group] = typer.Typer(no_args_is_help=True, help=GROUPS[group])
            app.add_typer(_groups[group], name=group, rich_help_panel=_PANEL[group])
        target = _groups[group]
    return target.command(own, rich_help_panel=None if group else _PANEL[name])


def open_pipeline(config: Path, overrides: list[str] | None = None, append: bool = False) -> Any:
    """A Pipeline over the config file. `append`: with the blocks of its export handed out."""
    from pretrain_data.config import load_config
    from pretrain_data.logs import as_json, sayer
    from pretrain_data.pipeline import Pipeline
    from pretrain_data.stages import registry

    stages = registry()
    asked = [*(overrides or []), *(["stages.mix.handed_out=export"] if append else [])]
    loaded = load_config(config, stages, asked)
    say = sayer(loaded.configured())
    # A person gets the same from the table that the command prints.
    return Pipeline(
        loaded, stages, config.resolve().parent, say=say, note=say if as_json() else lambda line, **about: None
    )


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, readable and not escaped."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))
