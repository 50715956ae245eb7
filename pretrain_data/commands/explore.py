"""`pretrain-data explore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain_data.commands import command, out


@command("explore")
def explore(
    workspace: Annotated[Path, typer.Argument(metavar="WORKSPACE", help="The workspace of a run.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Serve a page, on this machine alone, to look into a workspace; nothing is written.

    Search documents by id, URL, text, stage, rule and cluster; follow one through all stages; compare a
    cluster's members; try a rule expression and see its bias. Texts are shown as the workspace holds them, those from
    before the pii stage with their personal data. Ctrl-C ends it.

    Example: pretrain-data explore work/sample --open
    """
    from pretrain_data.explorer.server import serve

    server = serve(workspace, port)
    url: str = server.url  # type: ignore[attr-defined]
    out.print(f"{url}\nCtrl-C ends it.", markup=False)
    if show:
        import webbrowser

        webbrowser.open(url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
