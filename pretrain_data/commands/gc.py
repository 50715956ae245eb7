"""`pretrain-data gc`."""

from __future__ import annotations

from typing import Annotated

import typer

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json

HOUR = 3600.0


@command("gc")
def gc(
    config: ConfigArgument,
    overrides: SetOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it; without this it is only listed.")] = False,
    older_than: Annotated[float, typer.Option(min=0, help="Leave alone what changed in the last … hours.")] = 24.0,
    as_json: JsonOption = False,
) -> None:
    """List, or delete, what nothing refers to: outputs half made by dead runs, temporary files, strays among outputs.

    Example: pretrain-data gc configs/sample.yaml --older-than 0 --delete
    """
    found = open_pipeline(config, overrides).leftovers(older_than * HOUR, delete, strays=True)
    if as_json:
        print_json([{"path": str(f.path), "bytes": f.bytes, "why": f.why} for f in found])
        return
    for leftover in found:
        out.print(f"{leftover.bytes:>15,}  {leftover.path}  {leftover.why}", markup=False)
    total = sum(f.bytes for f in found)
    done = "deleted" if delete else "to delete (--delete does it)"
    out.print(f"{len(found)} leftovers, {total:,} bytes {done}")
