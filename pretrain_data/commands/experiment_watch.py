"""`pretrain-data experiment watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain_data.commands import JsonOption, command, out, print_json


@command("experiment watch")
def experiment_watch(
    checkpoints: Annotated[Path, typer.Argument(help="CSV: step, loss:CHANNEL, …; a line a checkpoint.")],
    export: Annotated[
        Path | None, typer.Option(help="Export that is trained on, to trace spikes to its blocks.")
    ] = None,
    global_batch: Annotated[int, typer.Option(help="Sequences of a step.")] = 1024,
    seq_len: Annotated[int, typer.Option(help="Tokens of a sequence.")] = 4096,
    phase: Annotated[str | None, typer.Option(help="Phase that the steps count in; default: the first.")] = None,
    times: Annotated[float, typer.Option(help="Times the spread around it that a spike lies above.")] = 6.0,
    least: Annotated[float, typer.Option(help="Part of the loss that a spike lies above, at least.")] = 0.01,
    as_json: JsonOption = False,
) -> None:
    """Show which channels of the validation loss stopped falling, which spiked, and the blocks before a spike.

    Example: pretrain-data experiment watch checkpoints.csv --export work/export --global-batch 1024 --seq-len 4096
    """
    from pretrain_data.experiments.watch import report

    found = report(checkpoints, export, global_batch, seq_len, phase, {"times": times, "least": least})
    if as_json:
        print_json(found)
        return
    out.print(f"{found['checkpoints']} checkpoints")
    for one in found["channels"]:
        low, high = one["fall_interval"]
        out.print(
            f"{one['channel']}: {one['state']} at {one['last']:.4f}; twice the steps bring "
            f"{-one['fall']:+.2%} [{-high:+.2%}, {-low:+.2%}]",
            markup=False,
        )
    for spike in found["spikes"]:
        out.print(
            f"spike at step {spike['step']}, {spike['channel']}: {spike['loss']:.4f}, {spike['expected']:.4f} expected "
            f"({spike['times']:.1f} times the spread); since step {spike['after']}:",
            markup=False,
        )
        for block in spike.get("blocks", [])[:5]:
            why = f", unlike its neighbours by {block['by']} ({block['unlike']})" if block["by"] else ""
            out.print(
                f"  block {block['block']} (steps {block['first_step']} to {block['last_step']}): "
                f"{block['channel_share']:.1%} of this channel{why}",
                markup=False,
            )
    if not found["spikes"]:
        out.print("no spike")
