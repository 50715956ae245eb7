"""`pretrain-data init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain_data.commands import JsonOption, command, out, print_json


@command("init")
def init(
    target: Annotated[Path, typer.Argument(metavar="CONFIG", help="The file to write.")] = Path("pretrain.yaml"),
    data: Annotated[str | None, typer.Option("--data", help="Your documents: a file, a folder or a glob.")] = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Tokens that training needs, e.g. 10T or 500M.")
    ] = None,
    chinese: Annotated[
        float | None, typer.Option("--chinese", min=0, max=1, help="Share of Chinese in the knowledge part.")
    ] = None,
    workspace: Annotated[
        str | None, typer.Option("--workspace", help="Folder for all outputs; default: the config's name.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a commented config to start from; what no option answers is asked.

    Example: pretrain-data init mine.yaml

    Example: pretrain-data init mine.yaml --data /data/crawl --tokens 500M --chinese 0.5
    """
    from pretrain_data.starter import write_starter

    data = data or typer.prompt("Where are your documents (file, folder or glob)")
    tokens = tokens or typer.prompt("How many tokens does training need (e.g. 10T, 500M)", default="100M")
    if chinese is None:
        chinese = typer.prompt("Share of Chinese in general knowledge, 0 to 1", default=0.5, type=float)
    path = write_starter(target, data, tokens, chinese, workspace)
    if as_json:
        print_json({"config": str(path), "data": data, "tokens": tokens, "chinese": chinese})
        return
    out.print(f"{path}: written. Next:\n  pretrain-data doctor {path}\n  pretrain-data run {path}", markup=False)
