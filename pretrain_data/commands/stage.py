"""`pretrain-data stage`."""

from __future__ import annotations

from typing import Annotated

import typer

from pretrain_data.commands import ConfigArgument, SetOption, command, open_pipeline, out


@command("stage")
def stage(
    name: Annotated[str, typer.Argument(help="ingest, rules, quality, pii, dedup, classify, mix or export.")],
    config: ConfigArgument,
    overrides: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Run even if it is up to date.")] = False,
) -> None:
    """Run one stage, as spark-submit jobs/NAME.py does.

    Example: pretrain-data stage dedup configs/sample.yaml
    """
    from pretrain_data import ledger

    for outcome in open_pipeline(config, overrides).run(name, name, force):
        out.print(ledger.line(outcome))
