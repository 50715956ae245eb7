"""`pretrain-data sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain_data.commands import JsonOption, command, out, print_json


@command("sample")
def sample(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    as_json: JsonOption = False,
) -> None:
    """Write a small real crawl with planted truth, made from what is on this machine; no network.

    Example: pretrain-data sample work/sample/crawl
    """
    from pretrain_data.sample import write_sample

    summary = write_sample(target)
    if as_json:
        print_json({"folder": str(target), "summary": summary})
        return
    out.print(f"{target}: {summary}")
