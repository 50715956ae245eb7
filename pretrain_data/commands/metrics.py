"""`pretrain-data metrics`."""

from __future__ import annotations

import typer

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, print_json


@command("metrics")
def metrics(config: ConfigArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Print what each stage came to, in the text format that Prometheus reads.

    Example: pretrain-data metrics configs/sample.yaml >/var/lib/node_exporter/pretrain_data.prom
    """
    from pretrain_data.metrics import collect, prometheus

    pipeline = open_pipeline(config, overrides)
    rows = collect(pipeline.workspace, list(pipeline.stages))
    if as_json:
        print_json(rows)
    else:
        typer.echo(prometheus(rows), nl=False)
