"""`pretrain-data report`."""

from __future__ import annotations

from pretrain_data.commands import ConfigArgument, SetOption, command, open_pipeline, out


@command("report")
def report(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Write the HTML report of what the runs so far did.

    Example: pretrain-data report configs/sample.yaml
    """
    from pretrain_data.report.page import write_report

    pipeline = open_pipeline(config, overrides)
    out.print(str(write_report(pipeline.workspace, list(pipeline.stages))))
