"""`pretrain-data stage`."""

from __future__ import annotations

from typing import Annotated

import typer

from pretrain_data.commands import (
    AppendOption,
    ConfigArgument,
    JsonOption,
    SetOption,
    command,
    open_pipeline,
    out,
    print_json,
    stage_names,
)
from pretrain_data.stages import ORDER


@command("stage")
def stage(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(ORDER)}.", autocompletion=stage_names)],
    config: ConfigArgument,
    overrides: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Run even if it is up to date.")] = False,
    append: AppendOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run one stage, as spark-submit jobs/NAME.py does.

    Example: pretrain-data stage dedup configs/sample.yaml
    """
    from pretrain_data import ledger

    pipeline = open_pipeline(config, overrides, append)
    outcomes = list(pipeline.run(name, name, force))
    if as_json:
        print_json(
            {"stages": {o.stage: o.state for o in outcomes}, "funnel": ledger.funnel(pipeline.workspace, [name])}
        )
        return
    for outcome in outcomes:
        out.print(ledger.line(outcome))
