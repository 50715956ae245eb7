"""`pretrain-data experiment fit`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from pretrain_data.commands import JsonOption, command, out, print_json
from pretrain_data.commands.plan_run import amount, shown


@command("experiment fit")
def experiment_fit(
    results: Annotated[
        Path, typer.Argument(help="The runs' table; its columns: pretrain_data/experiments/results.py.")
    ],
    compute: Annotated[
        float | None, typer.Option(help="FLOPs to spend; size and tokens are then recommended too.")
    ] = None,
    params: Annotated[
        str | None, typer.Option(help="Size to recommend for, e.g. 7B; default: the largest run's.")
    ] = None,
    tokens: Annotated[str | None, typer.Option(help="Tokens to recommend for; default: the most of any run.")] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHANNEL=WEIGHT", help="Of a channel's loss in what is to be small; 1 where none is given."
        ),
    ] = None,
    bound: Annotated[
        list[str] | None, typer.Option(metavar="CHANNEL=LEAST..MOST", help="Shares that are possible, e.g. 0.1..0.4.")
    ] = None,
    chance: Annotated[float, typer.Option(help="Benchmark score of guessing.")] = 0.0,
    order: Annotated[str, typer.Option(help="Fit the runs of this order; others are compared with it.")] = "shuffled",
    plot: Annotated[Path | None, typer.Option(help="Write a picture: .svg, .png or .pdf.")] = None,
    draws: Annotated[int, typer.Option(help="Draws of the bootstrap.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Fit loss laws to the results of small runs, and recommend mixture, size and tokens.

    Exit code 1 where the fit doesn't carry so far; the reasons are printed in place of the recommendation.

    Example: pretrain-data experiment fit results.csv --compute 1e22 --weight code=2 --plot fit.svg
    """
    from pretrain_data.experiments.report import fit_report
    from pretrain_data.experiments.results import read_results

    found = fit_report(
        read_results(results),
        order=order,
        weights={name: float(value) for name, value in _pairs(weight, "--weight")} or None,
        bounds={name: _range(value) for name, value in _pairs(bound, "--bound")},
        compute=compute,
        size=amount(params) if params else None,
        tokens=amount(tokens) if tokens else None,
        chance=chance,
        draws=draws,
        seed=seed,
        plot=plot,
    )
    if as_json:
        print_json(found)
    else:
        _show(found)
    if found["recommendation"] is None:
        raise typer.Exit(1)


def _pairs(options: list[str] | None, name: str) -> list[tuple[str, str]]:
    pairs = [tuple(option.rpartition("=")[::2]) for option in options or []]
    for key, value in pairs:
        if not key or not value:
            raise typer.BadParameter("must be CHANNEL=…", param_hint=name)
    return pairs  # type: ignore[return-value]


def _range(text: str) -> tuple[float, float]:
    low, dots, high = text.partition("..")
    try:
        return float(low), float(high) if dots else float(low)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not LEAST..MOST", param_hint="--bound") from None


def _show(found: dict[str, Any]) -> None:
    out.print(f"{found['runs']} runs, order {found['order']}")
    for name, law in found["laws"].items():
        numbers = "  ".join(
            f"{key} {value:.4g} [{low:.4g}, {high:.4g}]" for key, (value, low, high) in law["law"].items()
        )
        out.print(f"{name}: {law['form']}  {numbers}", markup=False)
        left_out = "unknown" if not math.isfinite(law["left_out_error"]) else f"{law['left_out_error']:.2%}"
        out.print(f"  noise {law['noise']:.2%}, mixtures left out are missed by {left_out}")
    for order, one in found["orders"].items():
        spread = f" [{one['low']:+.2%}, {one['high']:+.2%}]" if "low" in one else ""
        out.print(f"order {order}: loss {one['change']:+.2%}{spread} over {one['pairs']:.0f} pairs", markup=False)
    best = found["recommendation"]
    if best is not None:
        for name, share in best["mixture"].items():
            low, high = best["mixture_interval"][name]
            out.print(f"recommended {name}: {share:.3f} [{low:.3f}, {high:.3f}]", markup=False)
        out.print(f"at {shown(best['params'])} parameters and {shown(best['tokens'])} tokens")
        out.print(
            f"expected loss {best['loss']:.4f} [{best['loss_interval'][0]:.4f}, {best['loss_interval'][1]:.4f}] (90 %)",
            markup=False,
        )
    for name, score in found["scores"].items():
        text = score["refused"] if "refused" in score else f"{score['score']:.3f} ± {1.645 * score['sigma']:.3f}"
        out.print(f"benchmark {name}: {text}", markup=False)
    for warning in found["warnings"]:
        out.print(f"warning: {warning}", markup=False)
    for refusal in found["refusals"]:
        out.print(f"refused: {refusal}", markup=False)
