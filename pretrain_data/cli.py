"""The command line: `pretrain-data COMMAND`; the commands themselves are in `commands`, one file each."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from pretrain_data import commands, logs
from pretrain_data.commands import SetOption, app
from pretrain_data.commands.stage import stage
from pretrain_data.errors import Busy, ConfigError, InputError, IntegrityError, PretrainDataError, way_out

for _module in sorted(info.name for info in pkgutil.iter_modules(commands.__path__)):
    importlib.import_module(f"pretrain_data.commands.{_module}")

#: Exit codes beside 0 (done) and 1 (an error in the run): what a cron job needs to tell apart.
EXIT = {ConfigError: 2, InputError: 3, Busy: 4, IntegrityError: 5}


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
    """Run a command; a PretrainDataError becomes a message and an exit code (see EXIT).

    So does what the operating system refuses and a user can mend: a full disk, a folder that may not be written.
    """
    try:
        command()
    except PretrainDataError as error:
        logs.error(str(error))
        sys.exit(EXIT.get(type(error), 1))
    except OSError as error:
        way = way_out(error)
        if way is None or error.filename is None:
            _unforeseen(error)
        logs.error(f"{error.filename}: {error.strerror}; {way}")
        sys.exit(1)
    except Exception as error:
        _unforeseen(error)


def _unforeseen(error: Exception) -> NoReturn:
    """A defect: its trace as it is, or as one line for a log collector, which would take each line for an entry."""
    if not logs.as_json():
        raise error
    logs.error("".join(traceback.format_exception(error)))
    sys.exit(1)


if __name__ == "__main__":
    main()
