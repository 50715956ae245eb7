"""Every command and every Python block that the documentation shows is executed; the site builds without a warning."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from typer.testing import CliRunner

from pretrain_data import cli, reference
from pretrain_data.commands import app, open_pipeline
from pretrain_data.pipeline import Pipeline
from pretrain_data.stages import ORDER
from pretrain_data.stages.rules import RulesConfig, rule_set

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [
    page for page in PAGES if page.name not in ("decisions.md", "operations.md") and "schedulers" not in page.parts
]
#: What stands for something of the reader's own.
PLACEHOLDERS = {
    "CONFIG": "configs/sample.yaml",
    "WORKSPACE": "work/sample",
    "EXPORT": "work/sample/export",
    "NAME": "gopher_dup_5gram",
}
#: Commands of ours that are looked at and not run, and why.
NOT_RUN = {"explore": "serves until it is ended; tests/explorer opens it"}


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return ["\n".join(line[len(indent) :] for line in body.split("\n")) for indent, body in found]


def commands(page: Path) -> list[str]:
    lines = [
        line.split("  #")[0].split(" # ")[0].strip() for block in blocks(page, "bash") for line in block.split("\n")
    ]
    return [re.sub(r"\b[A-Z]+\b", lambda m: PLACEHOLDERS.get(m[0], m[0]), line) for line in lines if line]


def labelled() -> str:
    """Texts that a scorer can learn from: two languages, two labels, four sources of each."""
    good = ["The council repaired the old bridge after flood {}.", "图书馆第{}次延长了夜间开放时间，方便读者借阅。"]
    bad = ["buy now {} cheap bonus click here click here", "首页 登录 注册 {} 购物车 返回顶部 免费领取"]
    rows = [
        {"text": f"{text} " * 3, "label": label, "source": f"{label}-{i % 4}", "lang": lang}
        for i in range(40)
        for label, kinds in (("high", good), ("low", bad))
        for lang, text in zip(("en", "zh"), (kind.format(i) for kind in kinds), strict=True)
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def tables() -> dict[str, dict[str, list[float | str]]]:
    """What a trainer would have written: small runs that follow a law of two channels, and losses by checkpoint."""
    rng = np.random.default_rng(7)
    code = rng.uniform(0.1, 0.9, 48)
    params, tokens = (10 ** rng.uniform(low, low + 3, 48) for low in (6.5, 8.5))
    base = 400 / params**0.34 + 410 / tokens**0.28
    noise = np.exp(0.002 * rng.standard_normal((2, 48)))
    results = {
        "run": [f"r{i}" for i in range(48)],
        "params": params.tolist(),
        "tokens": tokens.tolist(),
        "share:en-knowledge": (1 - code).tolist(),
        "share:code": code.tolist(),
        "loss:en-knowledge": ((1.8 + base + np.exp(-1.5 * (1 - code))) * noise[0]).tolist(),
        "loss:code": ((1.2 + base + np.exp(-2.0 * code)) * noise[1]).tolist(),
    }
    steps = np.arange(1, 31)
    loss = (2 + 3 / steps**0.4) * np.where(steps == 20, 1.1, 1.0)
    checkpoints = {"step": (2 * steps).tolist(), "loss:code": loss.round(5).tolist()}
    return {"results.csv": results, "checkpoints.csv": checkpoints}


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, sample_run: Callable[[int], Path], sample_crawl: Path, spark: Any
) -> Iterator[Path]:
    """A folder like a clone in which the sample has been run; stages that run there use the tests' session.

    Copies, since the pages write the sample anew and run stages again; other tests read what the session made.
    """
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "configs", root / "configs")
    shutil.copytree(sample_run(2), root / "work" / "sample")
    shutil.copytree(sample_crawl, root / "work" / "sample" / "crawl")
    for name, columns in tables().items():
        rows = zip(*columns.values(), strict=True)
        (root / name).write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
    (root / "labelled.jsonl").write_text(labelled(), encoding="utf-8")
    before, started = Path.cwd(), Pipeline.spark
    os.chdir(root)
    Pipeline.spark = spark  # type: ignore[method-assign, assignment]
    yield root
    Pipeline.spark = started  # type: ignore[method-assign]
    os.chdir(before)


def run_ours(words: list[str]) -> None:
    """One of our commands, in this process; those in NOT_RUN are parsed alone."""
    words = [word for word in words if word != "--open"]
    if words[0] in NOT_RUN or " ".join(words[:2]) in NOT_RUN:
        found, rest = typer.main.get_command(app), words
        while hasattr(found, "commands"):
            found, rest = found.commands[rest[0]], rest[1:]
        found.make_context(words[0], rest)
        return
    if words[0] == "nightly":  # its config's input is the reader's own
        words = [words[0], PLACEHOLDERS["CONFIG"], *words[2:]]
    if words[0] == "init":
        Path(words[1]).unlink(missing_ok=True)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, f"pretrain-data {' '.join(words)}: {result.exception or result.output}"


def look_at(line: str) -> None:
    """A command that is not ours to run here: what it names must be there."""
    words = line.split()
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
    elif words[0].startswith("scripts/"):
        assert os.access(ROOT / words[0], os.X_OK), line
    elif words[0] in ("spark-submit", ".venv/bin/python"):
        named = [word for word in words[1:] if word.endswith((".py", ".yaml"))]
        assert named, line
        assert all((ROOT / name).is_file() for name in named), line
    else:
        assert line == ". .venv/bin/activate", f"no way to test: {line}"


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_shown_works(page: Path, place: Path) -> None:
    for line in commands(page):
        words = line.split()
        if words[0].endswith("pretrain-data"):
            run_ours([word.strip("'\"") for word in words[1:]])
        else:
            look_at(line)
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_yaml_shown_is_yaml_and_links_lead_somewhere(page: Path) -> None:
    for block in blocks(page, "yaml"):
        assert isinstance(yaml.safe_load(block), dict)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page}: {target}"


CONFIGS = [(page, block) for page in sorted({*PAGES, *(ROOT / "docs").rglob("*.md")}) for block in blocks(page, "yaml")]


@pytest.mark.parametrize(("page", "block"), CONFIGS, ids=lambda v: v.name if isinstance(v, Path) else v.split()[0])
def test_every_config_shown_is_valid(page: Path, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config lacks at most its workspace and where its first stage reads; the rest is a file of rules."""
    shown = yaml.safe_load(block.replace("/models/", "models/"))
    if "include" in shown:
        assert all((ROOT / "configs" / name).is_file() for name in shown["include"])
        return
    if "stages" not in shown:
        (tmp_path / "rules.yaml").write_text(block, encoding="utf-8")
        assert rule_set(RulesConfig(files=[tmp_path / "rules.yaml"])) is not None
        return
    for name in ("lists/shops.txt", "withdrawn.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("shop.example\n")
    for name in ("work/my-scorer", "models/my-chinese-scorer"):
        (tmp_path / name).mkdir(parents=True)
    first = shown["stages"].setdefault(next(name for name in ORDER if name in shown["stages"]), {})
    if "inputs" not in first:
        first.setdefault("input", "in.jsonl")
    (tmp_path / "c.yaml").write_text(json.dumps({"workspace": "w"} | shown), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert list(open_pipeline(tmp_path / "c.yaml").stages) == [name for name in ORDER if name in shown["stages"]]


def test_chinese_pages_show_the_same_commands() -> None:
    tutorial, chinese = (commands(ROOT / "docs" / name) for name in ("tutorial.md", "tutorial.zh.md"))
    assert tutorial == chinese
    readme, chinese = ROOT / "README.md", ROOT / "README.zh.md"
    assert commands(readme) == commands(chinese)
    for language in ("yaml", "python"):
        assert blocks(readme, language) == blocks(chinese, language)


def test_chinese_pages_are_whole() -> None:
    """As many headings, list items, code blocks and names in backticks: a paragraph left out shows."""

    def outline(page: Path) -> dict[str, Any]:
        text = page.read_text(encoding="utf-8")
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        return {
            "headings": len(re.findall(r"^#+ ", text, re.MULTILINE)),
            "items": len(re.findall(r"^(?:- |\d+\. )", text, re.MULTILINE)),
            "blocks": text.count("```"),
            "names": sorted(re.findall(r"`[^`]+`", prose)),
        }

    for english, chinese in (("README.md", "README.zh.md"), ("docs/tutorial.md", "docs/tutorial.zh.md")):
        assert outline(ROOT / chinese) == outline(ROOT / english)


def test_the_reference_has_every_key_with_its_meaning() -> None:
    rows = list(reference.keys())
    by_name = {f"{row['section']}.{row['key']}": row for row in rows}
    assert all(row["description"] for row in rows)
    assert by_name["stages.dedup.threshold"]["type"] == "number"
    assert by_name["stages.mix.phases[].max_epochs"]["section"] == "stages.mix"
    assert by_name["stages.*.max_error_rate"] | {"description": ""} == {
        "section": "stages.*",
        "key": "max_error_rate",
        "type": "number",
        "default": "0.001",
        "bounds": "≥ 0, ≤ 1",
        "description": "",
        "units": "share",
        "sources": "",
    }
    # Every number has a unit, and nothing is said of a key that is not there.
    numbers = [row for row in rows if row["type"] in ("number", "whole number")]
    assert len(numbers) > 80
    assert [f"{row['section']}.{row['key']}" for row in numbers if not row["units"]] == []
    assert by_name["stages.pii.names.threshold"]["units"] == "probability"
    assert by_name["stages.dedup.threshold"]["units"] == "Jaccard"
    assert "2305.16264" in by_name["stages.mix.phases[].max_epochs"]["sources"]
    there = by_name.keys() | {row["key"].rpartition(".")[2] for row in rows}
    assert [name for part in reference.beside().values() for name in part if name not in there] == []
    assert "| `kw_" not in reference.markdown_columns()
    assert "| `text` | large_string | ingest |" in reference.markdown_columns()


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("the extra docs is not installed")
    for name in ("docs", "README.md", "README.zh.md", "mkdocs.yml", "scripts"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    built = subprocess.run(
        [tmp_path / "scripts" / "docs.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    page = (tmp_path / "build" / "site" / "reference" / "config" / "index.html").read_text(encoding="utf-8")
    assert "stages.dedup" in page
    assert not re.search(r"<(?:script|link)[^>]*(?:src|href)=.?https?://(?!localhost)[^>]*\.(?:js|css)", page)


def test_documented_exit_codes_are_those_of_the_command_line() -> None:
    text = (ROOT / "docs" / "how-to" / "nightly.md").read_text(encoding="utf-8")
    for code in (0, 1, *cli.EXIT.values()):
        assert re.search(rf"\b{code} [a-z]", text)
