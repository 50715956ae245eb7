"""`pretrain-data plan cost`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json


@command("plan cost")
def plan_cost(
    config: ConfigArgument,
    tokens: Annotated[str, typer.Option(help="Tokens that must be there after dedup, e.g. 10T.")],
    cores: Annotated[int, typer.Option(min=1, help="Cores of all executors together.")],
    gpus: Annotated[int, typer.Option(min=0, help="GPUs for the scorers; 0: they run on the cores.")] = 0,
    sample: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="WORKSPACE", help="A measured run over a sample; several sizes are better."),
    ] = None,
    utilisation: Annotated[float, typer.Option(min=0.01, max=1, help="Share of the time that cores work.")] = 0.8,
    gpu_tokens_per_second: Annotated[
        float, typer.Option(min=1, help="Real tokens that a GPU scores a second.")
    ] = 0.69e6,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reckon hours, core-hours, GPU-hours, shuffle and disk for a corpus from runs over samples of it.

    Reads what the runs measured (local mode tells CPU time); nothing is computed again.

    Example: pretrain-data plan cost configs/sample.yaml --tokens 10T --cores 2000 --gpus 64
    """
    from pretrain_data.costs import plan
    from pretrain_data.mixing.mixture import token_count

    pipeline = open_pipeline(config, overrides)
    cluster = plan.Cluster(cores, gpus, utilisation, gpu_tokens_per_second)
    found = plan.plan(sample or [pipeline.workspace], list(pipeline.stages), token_count(tokens), cluster)
    if as_json:
        print_json(asdict(found))
        return
    out.print(plan.table(found))
    out.print(
        f"largest worker {found.worker_peak_bytes / 1e9:.2f} GB, JVM {found.jvm_peak_bytes / 1e9:.2f} GB; "
        "taken for granted:"
    )
    for line in found.assumptions:
        out.print(f"  {line}", markup=False)
