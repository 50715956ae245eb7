"""`pretrain-data doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pretrain_data.commands import JsonOption, SetOption, command, open_pipeline, out, print_json


@command("doctor")
def doctor(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="Look at what this config needs too.")] = None,
    overrides: SetOption = None,
    session: Annotated[bool, typer.Option("--spark", help="Start Spark and run a task in a worker too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check Java, memory, Python in workers, GPU, write access and model files, and say how to mend each.

    Exit codes: 0 ready, 1 something is wrong.

    Example: pretrain-data doctor configs/sample.yaml
    """
    from pretrain_data.doctor import GOOD, WRONG, examine

    checks = []
    for check in examine(open_pipeline(config, overrides).config if config is not None else None, session):
        checks.append(check)
        if not as_json:
            colour = {GOOD: "green", WRONG: "red"}.get(check.state, "yellow")
            out.print(f"[{colour}]{check.state:<6}[/]", end="")
            out.print(f"{check.name}: {check.found}", markup=False)
            if check.mend:
                out.print(f"      → {check.mend}", markup=False)
    if as_json:
        print_json([asdict(check) for check in checks])
    if any(check.state == WRONG for check in checks):
        raise typer.Exit(1)
