"""`pretrain-data nightly`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json


@command("nightly")
def nightly(
    config: ConfigArgument,
    overrides: SetOption = None,
    wait: Annotated[float, typer.Option(min=0, help="Minutes to wait for another run to end; 0 leaves at once.")] = 0.0,
    keep: Annotated[int, typer.Option(min=1, help="Summaries to keep.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Take up what the crawl brought since the last run, verify the outcome and write a dated summary.

    Exit codes: 0 done, 1 a stage failed, 2 the config, 3 the input, 4 another run holds the workspace,
    5 an output is not as its manifest says.

    Example: pretrain-data nightly configs/nightly.yaml --wait 60
    """
    from pretrain_data import ledger
    from pretrain_data import nightly as library

    pipeline = open_pipeline(config, overrides)
    if as_json:
        print_json(json.loads(library.nightly(pipeline, wait * 60, keep).read_text(encoding="utf-8")))
        return
    summary = library.nightly(pipeline, wait * 60, keep, lambda outcome: out.print(ledger.line(outcome)))
    out.print(f"summary  {summary}")
