"""`pretrain-data experiment propose`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pretrain_data.commands import JsonOption, command, out, print_json


@command("experiment propose")
def experiment_propose(
    config: Annotated[Path, typer.Argument(help="YAML: see configs/experiments.", metavar="CONFIG")],
    runs: Annotated[int | None, typer.Option(help="Mixtures, in place of the config's.")] = None,
    export: Annotated[Path | None, typer.Option(help="Export to draw from, in place of the config's.")] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Where to write, in place of the config's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Propose mixtures, sizes, budgets and orders, with a nested subset of the export for each run.

    Example: pretrain-data experiment propose configs/experiments/sample.yaml --runs 8
    """
    from pretrain_data.experiments.propose import load, propose

    given = {"runs": runs, "export": export and export.absolute(), "out": folder and folder.absolute()}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    manifest = propose(load(config, changes))
    if as_json:
        print_json(manifest)
        return
    for run in manifest["runs"]:
        shares = "  ".join(f"{name} {share:.3f}" for name, share in run["mixture"].items())
        out.print(f"{run['run']:<16}{run['params']:>14,} parameters{run['tokens']:>16,} tokens  {shares}", markup=False)
    for name, (least, most) in manifest["bounds"].items():
        if least > 0 or most < 1:
            out.print(f"{name}: shares from {least:.3f} to {most:.3f}", markup=False)
    out.print(f"{len(manifest['runs'])} runs, {manifest['validation']['tokens']:,} tokens to validate on")
