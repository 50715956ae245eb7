"""`pretrain-data validate`."""

from __future__ import annotations

from pretrain_data.commands import ConfigArgument, SetOption, command, open_pipeline, out


@command("validate")
def validate(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Check a config without running anything.

    Example: pretrain-data validate configs/production.yaml
    """
    pipeline = open_pipeline(config, overrides)
    out.print(f"{config}: valid; stages: {' → '.join(pipeline.stages)}")
