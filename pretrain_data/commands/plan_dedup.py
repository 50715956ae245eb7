"""`pretrain-data plan dedup`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json


@command("plan dedup")
def plan_dedup(
    config: ConfigArgument,
    target_tokens: Annotated[str | None, typer.Option(help="Tokens that must remain, e.g. 10T or 500M.")] = None,
    corpus_tokens: Annotated[
        str | None, typer.Option(help="Tokens of the whole corpus, where the run was over a sample of its documents.")
    ] = None,
    by_group: Annotated[bool, typer.Option("--by-group", help="Show each language and channel too.")] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each dedup threshold keeps, and the strictest that leaves the tokens you need.

    Reads the curve that the last dedup run left; nothing is computed again. It begins at the run's
    lowest_threshold, which is spacing_threshold unless set.

    Example: pretrain-data plan dedup configs/sample.yaml --target-tokens 1M
    """
    from pretrain_data.dedup import plan

    pipeline = open_pipeline(config, overrides)
    found = plan.plan(pipeline.workspace, target_tokens, corpus_tokens)
    if as_json:
        print_json(asdict(found))
        return
    out.print(plan.points_table(found))
    if by_group:
        out.print(plan.groups_table(found))
    for line in found.advice:
        out.print(line, markup=False)
