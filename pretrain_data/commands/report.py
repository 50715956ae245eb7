"""`pretrain-data report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json
from pretrain_data.errors import InputError


@command("report")
def report(
    config: ConfigArgument,
    overrides: SetOption = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="WORKSPACE", help="Compare with the run in this workspace.")
    ] = None,
    hourly_price: Annotated[
        float | None, typer.Option(min=0, help="What the machines cost an hour; adds the cost of each stage.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the HTML report of what the runs so far did: one file, in English and Chinese, that needs no network.

    Example: pretrain-data report configs/sample.yaml

    Example: pretrain-data report configs/sample.yaml --against work/last_week --open
    """
    from pretrain_data.report.page import report_data, write_report

    pipeline = open_pipeline(config, overrides)
    stages = list(pipeline.stages)
    if not any((pipeline.workspace / name).is_dir() for name in stages):
        raise InputError(f"{pipeline.workspace}: no stage has run there yet; run it first: pretrain-data run {config}")
    if against is not None and not any((against / name).is_dir() for name in stages):
        raise InputError(f"{against}: no stage of {config} has run there; name the workspace of another run")
    if as_json:
        print_json(report_data(pipeline.workspace, stages, against, hourly_price))
        return
    path = write_report(pipeline.workspace, stages, against, hourly_price)
    out.print(str(path), markup=False)
    if show:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
