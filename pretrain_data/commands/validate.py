"""`pretrain-data validate`."""

from __future__ import annotations

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json


@command("validate")
def validate(config: ConfigArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Check a config without running anything.

    Example: pretrain-data validate configs/production.yaml
    """
    pipeline = open_pipeline(config, overrides)
    if as_json:
        print_json({"config": str(config), "stages": list(pipeline.stages)})
        return
    out.print(f"{config}: valid; stages: {' → '.join(pipeline.stages)}")
