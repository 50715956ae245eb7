"""The command line: it reads arguments, calls the library and prints what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pretrain_data.errors import Busy, ConfigError, InputError, PretrainDataError

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Turns a crawl into Chinese and English LLM pretraining data.",
)

#: Exit codes beside 0 (done) and 1 (an error in the run): what a cron job needs to tell apart.
EXIT = {ConfigError: 2, InputError: 3, Busy: 4}

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

ConfigArgument = Annotated[Path, typer.Argument(help="The YAML config.", metavar="CONFIG")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key, e.g. stages.dedup.threshold=0.9."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def open_pipeline(config: Path, overrides: list[str] | None = None) -> Any:
    """A Pipeline over the config file."""
    from pretrain_data.config import load_config
    from pretrain_data.pipeline import Pipeline
    from pretrain_data.stages import registry

    stages = registry()
    loaded = load_config(config, stages, overrides or [])
    return Pipeline(loaded, stages, config.resolve().parent, say=err.print)


@app.command()
def run(
    config: ConfigArgument,
    first: Annotated[str | None, typer.Option("--from", help="First stage to run.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last stage to run.")] = None,
    overrides: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Run even what is up to date.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the pipeline: each configured stage that is not up to date, in order.

    Example: pretrain-data run configs/sample.yaml --from dedup --set stages.dedup.threshold=0.9
    """
    from pretrain_data import ledger
    from pretrain_data.report.page import write_report

    pipeline = open_pipeline(config, overrides)
    outcomes = []
    for outcome in pipeline.run(first, last, force):
        outcomes.append(outcome)
        if not as_json:
            out.print(ledger.line(outcome))
    funnel = ledger.funnel(pipeline.workspace, list(pipeline.stages))
    report = write_report(pipeline.workspace, list(pipeline.stages))
    if as_json:
        states = {o.stage: o.state for o in outcomes}
        _print_json({"stages": states, "funnel": funnel, "report": str(report)})
        return
    out.print(ledger.funnel_table(funnel))
    out.print(f"outputs  {pipeline.workspace / outcomes[-1].stage / 'documents'}\nreport   {report}")


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help="ingest, rules, quality, pii, dedup, classify, mix or export.")],
    config: ConfigArgument,
    overrides: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Run even if it is up to date.")] = False,
) -> None:
    """Run one stage, as spark-submit jobs/NAME.py does.

    Example: pretrain-data stage dedup configs/sample.yaml
    """
    from pretrain_data import ledger

    for outcome in open_pipeline(config, overrides).run(name, name, force):
        out.print(ledger.line(outcome))


@app.command()
def validate(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Check a config without running anything.

    Example: pretrain-data validate configs/production.yaml
    """
    pipeline = open_pipeline(config, overrides)
    out.print(f"{config}: valid; stages: {' → '.join(pipeline.stages)}")


@app.command()
def status(config: ConfigArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Show for each stage whether its output is up to date.

    Example: pretrain-data status configs/sample.yaml
    """
    from pretrain_data import ledger

    rows = open_pipeline(config, overrides).status()
    if as_json:
        _print_json([{k: v for k, v in row.items() if k != "manifest"} for row in rows])
    else:
        out.print(ledger.status_table(rows))


@app.command()
def sample(target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")]) -> None:
    """Write a small real crawl with planted truth, made from what is on this machine; no network.

    Example: pretrain-data sample work/sample/crawl
    """
    from pretrain_data.sample import write_sample

    summary = write_sample(target)
    out.print(f"{target}: {summary}")


@app.command()
def report(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Write the HTML report of what the runs so far did.

    Example: pretrain-data report configs/sample.yaml
    """
    from pretrain_data.report.page import write_report

    pipeline = open_pipeline(config, overrides)
    out.print(str(write_report(pipeline.workspace, list(pipeline.stages))))


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))


def main() -> None:
    """Entry point of `pretrain-data`: errors that a user can mend come as one paragraph."""
    guarded(app)


def stage_main(name: str) -> None:
    """Entry point of jobs/NAME.py: `--config CONFIG [--set KEY=VALUE]… [--force]`."""

    def job(
        config: Annotated[Path, typer.Option("--config", help="The YAML config.")],
        overrides: SetOption = None,
        force: bool = False,
    ) -> None:
        stage(name, config, overrides, force)

    guarded(lambda: typer.run(job))


def guarded(command: Callable[[], Any]) -> None:
    """Run a command; a PretrainDataError becomes a message and an exit code (see EXIT)."""
    try:
        command()
    except PretrainDataError as error:
        err.print(f"error: {error}", markup=False)
        sys.exit(EXIT.get(type(error), 1))


if __name__ == "__main__":
    main()
