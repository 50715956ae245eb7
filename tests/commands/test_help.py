"""Every command explains itself: an example in its help that names it, JSON where it prints figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pretrain_data import cli
from pretrain_data.commands import app
from pretrain_data.config import load_config
from pretrain_data.errors import ConfigError, InputError
from pretrain_data.stages import registry
from pretrain_data.starter import write_starter

ROOT = Path(__file__).resolve().parents[2]


def commands() -> dict[str, Any]:
    def below(group: Any, name: str) -> dict[str, Any]:
        if not hasattr(group, "commands"):
            return {name: group}
        return {k: v for own, one in group.commands.items() for k, v in below(one, f"{name} {own}".strip()).items()}

    return below(typer.main.get_command(app), "")


@pytest.mark.parametrize("name", sorted(commands()))
def test_help_has_an_example_that_parses(name: str) -> None:
    command = commands()[name]
    examples = [line for line in (command.help or "").splitlines() if line.strip().startswith("Example: ")]
    assert examples, f"{name} --help shows no example"
    for line in examples:
        words = line.split("Example: pretrain-data ", 1)[1].split(">")[0].split()
        assert " ".join(words).startswith(name)
        command.make_context(name, words[len(name.split()) :], resilient_parsing=False)


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_can_print_json(name: str) -> None:
    no_figures = {"explore"}  # serves a page
    options = {option for parameter in commands()[name].params for option in parameter.opts}
    assert ("--json" in options) == (name not in no_figures)


def test_exit_codes_are_documented() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    for code in (0, 1, *cli.EXIT.values()):
        assert f"{code} " in shown.split("Exit codes", 1)[1]


def test_init_writes_a_valid_config(tmp_path: Path) -> None:
    (tmp_path / 'da"ta').mkdir()
    answers = f'{tmp_path}/da"ta\n20B\n0.25\n'
    asked = CliRunner().invoke(app, ["init", str(tmp_path / "mine.yaml")], input=answers)
    assert asked.exit_code == 0, asked.output
    config = load_config(tmp_path / "mine.yaml", registry())
    assert config.configured() == ["ingest", "rules", "quality", "pii", "dedup", "classify", "mix", "export"]
    assert config.workspace == tmp_path / "mine"
    phase = config.stage_config("mix").phases[0]  # type: ignore[union-attr]
    assert phase.budget == 20_000_000_000
    assert [part.weight for part in phase.mixture[0].mix] == [0.25, 0.75]
    with pytest.raises(InputError, match="is there already"):
        write_starter(tmp_path / "mine.yaml", str(tmp_path), "1M", 0.5)
    with pytest.raises(InputError, match="nothing is there"):
        write_starter(tmp_path / "other.yaml", str(tmp_path / "a" / "b"), "1M", 0.5)
    with pytest.raises(ConfigError, match="tokens"):
        write_starter(tmp_path / "other.yaml", str(tmp_path), "many", 0.5)
    assert not (tmp_path / "other.yaml").exists()


def test_doctor_finds_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pretrain_data import doctor

    monkeypatch.setenv("PYSPARK_PYTHON", str(tmp_path / "nowhere" / "python"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nojava"))
    assert doctor.java().state == doctor.WRONG
    assert "openjdk-17" in doctor.java().mend
    assert doctor.worker_python().state == doctor.WRONG
    assert "PYSPARK_PYTHON" in doctor.worker_python().mend
    (tmp_path / "model").mkdir()
    assert "lacks config.json, tokenizer.json" in doctor.model(str(tmp_path / "model"), "quality").found
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / "model" / name).write_text("{}")
    (tmp_path / "model" / "m.safetensors").write_bytes(b"version https://git-lfs")
    assert doctor.model(str(tmp_path / "model"), "quality").state == doctor.WRONG
    assert doctor.model("default", "quality").state == doctor.GOOD
    assert doctor.writable(tmp_path / "a" / "b").state != doctor.WRONG
    assert doctor.writable(Path("/proc/no")).state == doctor.WRONG


def test_doctor_prints_json(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(shown.output)}
    assert checks["Python"]["state"] == "ok"
    assert {"Java", "Python in workers", "memory", "GPU", "workspace", "model quality", "model domain"} <= checks.keys()
    assert all(check["mend"] for check in checks.values() if check["state"] == "wrong")


def test_every_command_has_its_place_in_the_help() -> None:
    from pretrain_data.commands import PANELS

    placed = [name for names in PANELS.values() for name in names]
    assert sorted(placed) == sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    shown = CliRunner().invoke(app, ["--help"]).output
    rows = [line.split()[1] for line in shown.splitlines() if line.startswith("│ ") and line[2] not in " -"]
    assert rows == placed


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Exit code and what stands on standard error of one command, through the guard that `main` uses."""
    code = 0
    try:
        cli.guarded(lambda: app([str(word) for word in words], standalone_mode=False))
    except SystemExit as done:
        code = int(done.code or 0)
    return code, capsys.readouterr().err


def test_mistakes_are_told_with_their_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("workspace: w\nstages: {dedup: {input: in/*.jsonl}}\n")
    for words, code, parts in (
        (("run", tmp_path / "no.yaml"), 2, ["no.yaml: no such file", "give the path"]),
        (("run", config, "--from", "dedupp"), 2, ["dedupp", "did you mean dedup?"]),
        (("stage", "rules", config), 2, ["rules", "configured: dedup"]),
        (("run", config), 3, ["in/*.jsonl: no file there", "`input`"]),
        (("report", config), 3, ["no stage has run", f"pretrain-data run {config}"]),
        (("verify", config), 3, ["no stage has run"]),
        (("pii", "review", config), 2, ["no stage pii", "stages"]),
        (("explore", tmp_path), 3, ["no stage has run"]),
        (("experiment", "fit", tmp_path / "no.csv"), 3, ["no.csv: No such file", "give the path"]),
        (("experiment", "propose", tmp_path / "no.yaml"), 2, ["no.yaml: No such file", "configs/experiments"]),
        (("sample", config / "below"), 1, [f"{config}/below", "Not a directory", "see that the path is right"]),
    ):
        found, text = said(capsys, *words)
        assert found == code, (words, text)
        assert text.startswith("error: ")
        assert text.count("\n") == 1, "one paragraph"
        assert [part for part in parts if part not in text] == []


def test_what_no_user_can_mend_keeps_its_traceback() -> None:
    def broken() -> None:
        raise ConnectionResetError(104, "Connection reset by peer", "x")

    with pytest.raises(ConnectionResetError):
        cli.guarded(broken)


def test_init_asks_again_and_looks_before_it_asks(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    target = tmp_path / "mine.yaml"
    answers = f"{tmp_path}/dota\n{tmp_path}/data/*.jsonl\n{tmp_path}/data\nmany\n2M\nhalf\n3\n30%\n"
    asked = CliRunner().invoke(app, ["init", str(target), "--json"], input=answers)
    assert asked.exit_code == 0, asked.output
    assert json.loads(asked.stdout[asked.stdout.index("{") :]) == {
        "config": str(target),
        "data": f"{tmp_path}/data",
        "tokens": "2M",
        "chinese": 0.3,
    }
    assert asked.stderr.count("nothing is there") == 2
    assert "'many' is not a number of tokens" in asked.stderr
    assert "a number between 0 and 1, not half" in asked.stderr
    assert "between 0 and 1, not 3" in asked.stderr
    phase = load_config(target, registry()).stage_config("mix").phases[0]  # type: ignore[union-attr]
    assert [part.weight for part in phase.mixture[0].mix] == pytest.approx([0.3, 0.7])
    again = CliRunner().invoke(app, ["init", str(target)], input=answers)
    assert isinstance(again.exception, InputError)
    assert "Where are" not in again.output
    wrong = CliRunner().invoke(app, ["init", str(tmp_path / "other.yaml"), "--data", f"{tmp_path}/dota"], input=answers)
    assert isinstance(wrong.exception, InputError)
    assert "How many" not in wrong.output


@pytest.mark.parametrize(
    ("line", "position", "found"),
    [
        ("pretrain-data pl", 1, {"plan"}),
        ("pretrain-data plan d", 2, {"dedup"}),
        ("pretrain-data stage de", 2, {"dedup", "decontaminate"}),
        ("pretrain-data run c.yaml --from in", 4, {"ingest"}),
    ],
)
def test_the_shell_completes(line: str, position: int, found: set[str]) -> None:
    words = {"_PRETRAIN_DATA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(position)}
    shown = CliRunner().invoke(app, [], env=words, prog_name="pretrain-data")
    assert set(shown.output.split()) == found
