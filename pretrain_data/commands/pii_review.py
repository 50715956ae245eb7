"""`pretrain-data pii review`."""

from __future__ import annotations

from typing import Annotated

import typer

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json


@command("pii review")
def pii_review(
    config: ConfigArgument,
    kind: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of this type; default: all.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Spans to show.")] = 20,
    seed: Annotated[int, typer.Option(help="Another seed shows other ones.")] = 0,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the pii stage found, each value masked, in its context.

    Example: pretrain-data pii review configs/sample.yaml --type PHONE --limit 5
    """
    from pretrain_data.dataset import Dataset
    from pretrain_data.errors import ConfigError
    from pretrain_data.kernels.pii import known_types
    from pretrain_data.review import samples

    if kind is not None and kind not in known_types():
        raise typer.BadParameter(f"no type {kind}; there are {', '.join(known_types())}", param_hint="--type")
    pipeline = open_pipeline(config, overrides)
    if "pii" not in pipeline.stages:
        raise ConfigError(f"{config} has no stage pii; add `pii: {{}}` under stages and run it")
    after = Dataset.open(pipeline.workspace / "pii")
    found = samples(pipeline.source("pii"), after, limit, kind, seed)
    if as_json:
        print_json(found)
        return
    for row in found:
        text = f"{row['before']}⟦{row['value']}⟧{row['after']}".replace("\n", "⏎")
        out.print(f"{row['type']:<15} {row['doc_id']} at {row['start']}: {text}", markup=False)
    if not found:
        out.print("nothing was found")
