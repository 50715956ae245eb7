"""`pretrain-data trace`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pretrain_data.commands import JsonOption, command, out, print_json


@command("trace")
def trace(
    export: Annotated[Path, typer.Argument(help="The folder that export wrote.", metavar="EXPORT")],
    step: Annotated[int | None, typer.Option(help="Training step, from 0.")] = None,
    global_batch: Annotated[int, typer.Option(help="Sequences of a step.")] = 1024,
    seq_len: Annotated[int, typer.Option(help="Tokens of a sequence.")] = 4096,
    phase: Annotated[str | None, typer.Option(help="Phase that the step counts in; default: the first.")] = None,
    block: Annotated[int | None, typer.Option(help="Block number, with --offset.")] = None,
    offset: Annotated[int, typer.Option(help="Token of the block, from 0.")] = 0,
    doc: Annotated[str | None, typer.Option(help="doc_id: where it is placed.")] = None,
    suspicious: Annotated[
        bool, typer.Option("--suspicious", help="Rank blocks by how unlike their neighbours.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the documents at a training position, or where a document stands in training.

    Example: pretrain-data trace work/export --step 12345 --global-batch 1024 --seq-len 4096
    """
    from pretrain_data.trace import Trace

    if sum((step is not None, block is not None, doc is not None, suspicious)) != 1:
        raise typer.BadParameter("give one of --step, --block, --doc and --suspicious")
    places = Trace(export)
    found: list[dict[str, Any]]
    if step is not None:
        found = places.step(step, global_batch, seq_len, phase)
    elif block is not None:
        found = places.at(block, offset)
    elif doc is not None:
        found = places.document(doc)
    else:
        found = places.suspicious()
    if as_json:
        print_json(found)
        return
    for row in found:
        out.print(_line(row) if "doc_id" in row else _block_line(row), markup=False)
        if "doc_id" in row and len(found) <= MOST_IN_FULL:
            for line in _stage_lines(row):
                out.print(f"    {line}", markup=False)
    if not found:
        out.print("not in this export")


#: Answers up to this many come with what each stage did.
MOST_IN_FULL = 3


def _stage_lines(row: dict[str, Any]) -> list[str]:
    """What each stage found or made, a line a stage, and where export read it from."""
    lines = []
    for stage, found in row["stages"].items():
        facts = ((name, f"{value:.4g}" if isinstance(value, float) else value) for name, value in found.items())
        lines.append(f"{stage}: {', '.join(f'{name} {value}' for name, value in facts)}")
    return [*lines, f"export: read from shard {row['input']['shard']}, row {row['input']['row']}"]


def _line(row: dict[str, Any]) -> str:
    text = f"block {row['block']} token {row['offset']} ({row['phase']}): {row['doc_id']} use {row['use']}, "
    text += f"{row['tokens']} tokens, channel {row['channel']}, from {row['origin']}"
    text += "".join(f"; unusual {name} {found['value']:.4f}" for name, found in row["unusual"].items())
    text += f"; {row['similar_here']} similar here" if row.get("similar_here") else ""
    near = row["nearest_similar"]
    return text + (f"; {row['similar_in_block']} similar in the block, the nearest {near:,} tokens off" if near else "")


def _block_line(row: dict[str, Any]) -> str:
    text = f"block {row['block']} ({row['phase']}): {row['unlike']} by {row['by']}"
    return f"{text}: {row['value']}, near it {row['neighbours']}"
