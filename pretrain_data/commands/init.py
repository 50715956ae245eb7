"""`pretrain-data init`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pretrain_data.commands import JsonOption, command, out, print_json
from pretrain_data.errors import PretrainDataError


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
    from pretrain_data import starter

    starter.free(target)  # before anything is asked
    if data is not None:
        starter.documents_at(data)
    if tokens is not None:
        starter.budget_of(tokens)
    data = data or _ask("Where are your documents (file, folder or glob)", starter.documents_at)
    tokens = tokens or _ask("How many tokens does training need (e.g. 10T, 500M)", _as_given(starter.budget_of), "100M")
    if chinese is None:
        chinese = _ask("Share of Chinese in general knowledge, 0 to 1", starter.share_of, "0.5")
    path = starter.write_starter(target, data, tokens, chinese, workspace)
    if as_json:
        print_json({"config": str(path), "data": data, "tokens": tokens, "chinese": chinese})
        return
    out.print(f"{path}: written. Next:\n  pretrain-data doctor {path}\n  pretrain-data run {path}", markup=False)


def _as_given(check: Callable[[str], Any]) -> Callable[[str], str]:
    def checked(text: str) -> str:
        check(text)
        return text

    return checked


def _ask(question: str, read: Callable[[str], Any], default: str | None = None) -> Any:
    """Ask on standard error, so that --json stays alone on standard output; ask again where `read` finds fault."""

    def checked(text: str) -> Any:
        try:
            return read(text)
        except PretrainDataError as error:
            raise typer.BadParameter(str(error)) from None

    return typer.prompt(question, default=default, value_proc=checked, err=True)
