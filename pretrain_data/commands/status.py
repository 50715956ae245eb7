"""`pretrain-data status`."""

from __future__ import annotations

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json


@command("status")
def status(config: ConfigArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Show for each stage whether its output is up to date.

    Example: pretrain-data status configs/sample.yaml
    """
    from pretrain_data import ledger

    rows = open_pipeline(config, overrides).status()
    if as_json:
        print_json([{k: v for k, v in row.items() if k != "manifest"} for row in rows])
    else:
        out.print(ledger.status_table(rows))
