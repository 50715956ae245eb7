"""`pretrain-data reference`."""

from __future__ import annotations

from typing import Annotated

import typer

from pretrain_data.commands import JsonOption, command, print_json


@command("reference")
def reference(
    what: Annotated[str, typer.Argument(metavar="[keys|columns]", help="Config keys, or columns.")] = "keys",
    as_json: JsonOption = False,
) -> None:
    """Print every config key with type, default and meaning, or every column, as Markdown.

    Example: pretrain-data reference keys

    Example: pretrain-data reference columns
    """
    from pretrain_data import reference as library
    from pretrain_data import schema

    if what not in ("keys", "columns"):
        raise typer.BadParameter("keys or columns", param_hint="what")
    if as_json:
        columns = [vars(column) | {"type": str(column.type)} for column in schema.COLUMNS]
        print_json(list(library.keys()) if what == "keys" else columns)
    else:
        typer.echo(library.markdown_keys() if what == "keys" else library.markdown_columns(), nl=False)
