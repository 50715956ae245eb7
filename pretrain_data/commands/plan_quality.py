"""`pretrain-data plan quality`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json


@command("plan quality")
def plan_quality(
    config: ConfigArgument,
    target_tokens: Annotated[str | None, typer.Option(help="Tokens that must remain, e.g. 3T or 500M.")] = None,
    quantile: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Share of each group's scored documents to cut off.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Who has a cut of its own: lang, source, format, domain, channel; default lang,domain (quality: lang)."
        ),
    ] = None,
    write: Annotated[Path | None, typer.Option("--out", help="Write the cuts as YAML for `include`.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Solve the quality cut of each language and domain from a token budget, and show what each cut keeps.

    Reads the curve that the last run of selection, else quality, left; no document is scored again, and a run with
    these cuts keeps exactly this. Domains are known to selection alone. Every group keeps the same share of what a cut
    can drop.

    Example: pretrain-data plan quality configs/sample.yaml --target-tokens 500K
    """
    from pretrain_data.errors import ConfigError
    from pretrain_data.selection import curve, plan

    if target_tokens is not None and quantile is not None:
        raise ConfigError("plan quality: either --target-tokens or --quantile")
    pipeline = open_pipeline(config, overrides)
    stages = [name for name in ("quality", "selection") if name in pipeline.stages]
    if not stages:
        raise ConfigError(f"{config} has neither the stage quality nor selection")
    wanted = by.split(",") if by else None
    unknown = [name for name in wanted or [] if name not in curve.GROUP]
    if unknown:
        raise ConfigError(f"--by {by}: no {unknown[0]}; there are {', '.join(curve.GROUP)}")
    found = plan.plan(pipeline.workspace, stages, wanted, target_tokens, quantile)
    if write is not None:
        plan.write(found, write)
    if as_json:
        print_json(asdict(found))
        return
    out.print(plan.table(found))
    for line in found.advice:
        out.print(line, markup=False)
    if write is not None:
        out.print(f"{write}: name it under include", markup=False)
