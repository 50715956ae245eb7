"""`pretrain-data run`."""

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


@command("run")
def run(
    config: ConfigArgument,
    first: Annotated[str | None, typer.Option("--from", help="First stage to run.", autocompletion=stage_names)] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last stage to run.", autocompletion=stage_names)] = None,
    overrides: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Run even what is up to date.")] = False,
    append: AppendOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the pipeline: each configured stage that is not up to date, in order.

    Example: pretrain-data run configs/sample.yaml --from dedup --set stages.dedup.threshold=0.9
    """
    from pretrain_data import ledger
    from pretrain_data.report.page import write_report

    pipeline = open_pipeline(config, overrides, append)
    outcomes = []
    for outcome in pipeline.run(first, last, force):
        outcomes.append(outcome)
        if not as_json:
            out.print(ledger.line(outcome))
    funnel = ledger.funnel(pipeline.workspace, list(pipeline.stages))
    report = write_report(pipeline.workspace, list(pipeline.stages))
    if as_json:
        states = {o.stage: o.state for o in outcomes}
        print_json({"stages": states, "funnel": funnel, "report": str(report)})
        return
    out.print(ledger.funnel_table(funnel))
    out.print(f"outputs  {pipeline.workspace / outcomes[-1].stage / 'documents'}\nreport   {report}")
