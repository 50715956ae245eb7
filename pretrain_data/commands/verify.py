"""`pretrain-data verify`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json
from pretrain_data.errors import InputError


@command("verify")
def verify(
    config: ConfigArgument,
    overrides: SetOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes and counts; read no file in full.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every file of every stage against the manifests; exit code 1 where something is wrong.

    Example: pretrain-data verify configs/sample.yaml
    """
    from pretrain_data.verify import verify as check

    pipeline = open_pipeline(config, overrides)
    if not any((pipeline.workspace / name).is_dir() for name in pipeline.stages):
        raise InputError(f"{pipeline.workspace}: no stage has run there, so that there is nothing to verify")
    problems = check(pipeline.workspace, list(pipeline.stages), quick)
    if as_json:
        print_json([asdict(p) for p in problems])
    else:
        for problem in problems:
            out.print(f"{problem.stage}: {problem.path}: {problem.what}; {problem.remedy}", markup=False)
        if not problems:
            out.print(f"{pipeline.workspace}: all files and counts are as the manifests say")
    if problems:
        raise typer.Exit(1)
