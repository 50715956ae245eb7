"""Every command that the documentation shows is one that works: it is run on the sample, or at least understood."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pretrain_data import commands
from pretrain_data.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "docs" / "operations.md",
    *sorted((ROOT / "docs" / "schedulers").rglob("*.md")),
]
#: Commands that only need a finished workspace.
RUN = ("validate", "run", "stage", "status", "verify", "gc", "metrics", "trace", "plan rules", "plan dedup", "plan mix")
#: What stands in the documentation for something of the reader's own, and what it is here.
GIVEN = {"NAME": "zh_bullets", "10T": "100K", "12345": "1", "1024": "4"}


def shown() -> list[tuple[str, str]]:
    """(page, line) of each command in a block of shell commands, comments and continued lines put right."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```(?:bash|sh)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                line = re.sub(r"(^|\s)#.*", "", line).strip()
                if line:
                    found.append((page.name, line))
    return found


def examples() -> list[tuple[str, str]]:
    """(module, line) of each `Example:` in the help of a command."""
    found = []
    for info in pkgutil.iter_modules(commands.__path__):
        module = importlib.import_module(f"pretrain_data.commands.{info.name}")
        text = "\n".join(filter(None, (getattr(f, "__doc__", None) for f in vars(module).values() if callable(f))))
        found += [(info.name, line.strip()) for line in re.findall(r"Example: (pretrain-data .*)", text)]
    return found


ALL = sorted(set(shown()) | set(examples()))
OURS = [(page, line) for page, line in ALL if re.match(r"(\S*/)?pretrain-data ", line)]
OTHERS = [(page, line) for page, line in ALL if (page, line) not in OURS]


def words_of(line: str) -> list[str]:
    """The words behind the program's name, up to a redirection."""
    return shlex.split(re.split(r"\s+(?:\d?>|\||&&)", line)[0])[1:]


def resolve(words: list[str]) -> tuple[str, Any, list[str]]:
    """(name, command, the words behind it)."""
    found: Any = typer.main.get_command(app)
    name = []
    while hasattr(found, "commands"):
        name.append(words[0])
        assert words[0] in found.commands, f"no command {' '.join(name)}"
        found, words = found.commands[words[0]], words[1:]
    return " ".join(name), found, words


@pytest.mark.parametrize(("page", "line"), OURS)
def test_commands_and_options_exist(page: str, line: str) -> None:
    _, command, words = resolve(words_of(line))
    known = {option for parameter in command.params for option in parameter.opts}
    assert {w.partition("=")[0] for w in words if w.startswith("--")} <= known | {"--help"}


@pytest.mark.parametrize(("page", "line"), OTHERS)
def test_other_programs_are_given_files_that_exist(page: str, line: str) -> None:
    for word in shlex.split(line):
        if word.startswith(("jobs/", "scripts/", "configs/", "docs/")):
            if word == "jobs/NAME.py":
                word = "jobs/dedup.py"
            assert (ROOT / word).is_file(), word
    first, *rest = shlex.split(line)
    if first == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.spark
def test_commands_do_their_work(
    sample_run: Callable[[int], Path],
    sample_crawl: Path,
    spark: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = sample_run(2)
    config = tmp_path / "c.yaml"
    ingest = {"input": str(sample_crawl / "input")}
    whole = {"include": [str(ROOT / "configs" / "sample.yaml")], "workspace": str(workspace)}
    config.write_text(json.dumps(whole | {"stages": {"ingest": ingest}}))
    export = str(workspace / "export")
    given = GIVEN | {"CONFIG": str(config), "EXPORT": export, "work/export": export}
    # The commands join the session of the tests, and don't end it.
    monkeypatch.setattr("pretrain_data.session.start", lambda *arguments: spark)
    monkeypatch.setattr("pretrain_data.pipeline.Pipeline._stop", lambda self: None)
    done = []
    for page, line in OURS:
        words = [given.get(word, word) for word in words_of(line)]
        words = [str(config) if re.fullmatch(r"configs/\w+\.yaml", word) else word for word in words]
        for placeholder, real in (("/data/crawl", ingest["input"]), ("/data/work", str(workspace))):
            words = [word.replace(placeholder, real) for word in words]
        name, _, rest = resolve(words)
        changes = any(w.startswith(("--set", "stages.")) for w in rest)
        if name not in RUN or (changes and "/data/crawl" not in line and not name.startswith("plan")):
            continue
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, f"{page}: {line}: {result.output}{result.exception!r}"
        assert result.output.strip(), line
        done.append(name)
    # `run` itself is in the tutorial, which test_docs goes through.
    assert {"validate", "status", "verify", "metrics", "trace", "plan rules", "plan mix"} <= set(done)
