"""`pretrain-data plan mix`."""

from __future__ import annotations

import typer

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json


@command("plan mix")
def plan_mix(config: ConfigArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Show the mixture before it is made: tokens available, wanted and given of each part, and epochs.

    Counts the tokens of the input of the stage mix; nothing is written and no text is moved.

    Example: pretrain-data plan mix configs/sample.yaml --set stages.mix.on_shortage=accept
    """
    from pretrain_data.stages.mix import MixStage, table

    pipeline = open_pipeline(config, overrides)
    stage = pipeline.stages.get("mix")
    if not isinstance(stage, MixStage):
        raise typer.BadParameter(f"{config} has no stage mix", param_hint="CONFIG")
    with pipeline.looking("mix") as run:
        stage.decide(run)
    if as_json:
        print_json([leaf.record() for leaf in stage.plans])
        return
    for line in table(stage.plans):
        out.print(line, markup=False)
    for warning in run.warnings:
        out.print(f"warning: {warning}", markup=False)
