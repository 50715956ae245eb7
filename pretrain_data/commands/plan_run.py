"""`pretrain-data plan run`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from pretrain_data.commands import JsonOption, command, out, print_json


class Schedule(StrEnum):
    constant = "constant"
    cosine = "cosine"


class Precision(StrEnum):
    bf16 = "bf16"
    fp8 = "fp8"
    int4 = "int4"


def amount(text: str) -> float:
    """2T, 500B, 1e12."""
    from pretrain_data.mixing.mixture import token_count

    try:
        return float(token_count(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@command("plan run")
def plan_run(
    gpus: Annotated[int, typer.Option(help="How many.")],
    days: Annotated[float, typer.Option(help="For how long.")],
    tokens: Annotated[str, typer.Option(help="To train on, e.g. 2T or 500B.")],
    card: Annotated[str, typer.Option(help="Which GPU; an unknown name lists those known.")] = "H100-SXM",
    peak_tflops: Annotated[float | None, typer.Option(help="Dense BF16 TFLOP/s, for a card that isn't known.")] = None,
    memory: Annotated[float | None, typer.Option(help="Its memory in GB.")] = None,
    utilisation: Annotated[float, typer.Option(help="Model FLOPs over peak.")] = 0.4,
    uptime: Annotated[float, typer.Option(help="Share of the time that trains.")] = 0.9,
    vocab: Annotated[int, typer.Option(help="Tokens of the tokenizer.")] = 151_936,
    sequence: Annotated[int, typer.Option(help="Tokens of a sequence in the main phase.")] = 4096,
    long_sequence: Annotated[int, typer.Option(help="And in the long phase.")] = 32_768,
    long_share: Annotated[float, typer.Option(help="Of the tokens.")] = 0.1,
    anneal_share: Annotated[float, typer.Option(help="Of the tokens.")] = 0.1,
    schedule: Annotated[Schedule, typer.Option(help="Learning rate after the warm-up.")] = Schedule.constant,
    have: Annotated[str | None, typer.Option(help="Tokens that there are, without repetition.")] = None,
    params: Annotated[str | None, typer.Option(help="A size that is given, e.g. 7B; the tokens then follow.")] = None,
    serve_on: Annotated[str | None, typer.Option(help="Card that it must run on.")] = None,
    serve_cards: Annotated[int, typer.Option(help="How many of them.")] = 1,
    serve_precision: Annotated[Precision, typer.Option(help="Of the weights.")] = Precision.bf16,
    serve_context: Annotated[int, typer.Option(help="Tokens of a request.")] = 32_768,
    serve_requests: Annotated[int, typer.Option(help="Requests at once.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """From GPUs, days and tokens to a model's shape and its schedule; each number with reason and source.

    Example: pretrain-data plan run --gpus 512 --days 60 --tokens 2T --serve-on H100 --serve-cards 4
    """
    from pretrain_data.experiments import runplan

    known = runplan.Hardware(card, peak_tflops, memory or 80.0, "given") if peak_tflops else runplan.hardware(card)
    found = runplan.plan(
        runplan.Request(
            gpus=gpus,
            days=days,
            tokens=amount(tokens),
            card=known,
            utilisation=utilisation,
            uptime=uptime,
            vocab=vocab,
            sequence=sequence,
            long_sequence=long_sequence,
            long_share=long_share,
            anneal_share=anneal_share,
            schedule=schedule.value,
            unique_tokens=amount(have) if have else None,
            params=amount(params) if params else None,
            serve_card=runplan.hardware(serve_on) if serve_on else None,
            serve_cards=serve_cards,
            serve_precision=serve_precision.value,
            serve_context=serve_context,
            serve_requests=serve_requests,
        )
    )
    if as_json:
        print_json(found.record())
        return
    table = Table("figure", "value", "why, and the source", box=None, pad_edge=False)
    for column in table.columns[:2]:
        column.no_wrap = True
    section = ""
    for figure in found.figures:
        if figure.section != section:
            section = figure.section
            table.add_row(f"[bold]{section}[/bold]")
        why = f"{figure.why} ({figure.source})" if figure.why and figure.source else figure.why or figure.source
        table.add_row(f"  {figure.name}", f"{shown(figure.value)} {figure.unit}".strip(), escape(why))
    out.print(table)
    for warning in found.warnings:
        out.print(f"warning: {warning}", markup=False)


def shown(value: Any) -> str:
    """A number as people write it: 1.05e24, 86.9B, 0.4."""
    if isinstance(value, str):
        return value
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if size <= value < 1e15:
            return f"{value / size:.4g}{unit}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
