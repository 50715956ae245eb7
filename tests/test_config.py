"""Config errors name file, line, dotted path and the nearest key; nothing is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from pretrain_data import yamltree
from pretrain_data.config import PipelineConfig, load_config
from pretrain_data.errors import ConfigError
from pretrain_data.stage import SourceStage, Stage, StageConfig


class FirstConfig(StageConfig):
    files: tuple[Path, ...] = ()


class DedupConfig(StageConfig):
    threshold: float = Field(0.8, ge=0, le=1)
    verify: str = "exact"


class First(SourceStage[FirstConfig]):
    name = "first"
    config_class = FirstConfig


class Dedup(Stage[DedupConfig]):
    name = "dedup"
    config_class = DedupConfig


STAGES: dict[str, type[Stage[Any]]] = {"first": First, "dedup": Dedup}


def load(tmp_path: Path, text: str, *overrides: str) -> PipelineConfig:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, STAGES, overrides)


def fault(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value)


GOOD = "workspace: out\nstages:\n  dedup:\n    input: in\n    threshold: 0.7\n"


def test_a_good_config_has_paths_from_its_own_folder(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    assert config.workspace == tmp_path / "out"
    assert config.configured() == ["dedup"]
    dedup = config.stage_config("dedup")
    assert dedup is not None
    assert dedup.input == str(tmp_path / "in")
    assert config.stage_config("first") is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (GOOD.replace("threshold", "treshold"), ["c.yaml:5", "stages.dedup.treshold", "threshold"]),
        (
            GOOD.replace("0.7", "1.8"),
            ["c.yaml:5", "stages.dedup.threshold", "must be between 0 and 1", "1.8"],
        ),
        (GOOD.replace("0.7", "many"), ["c.yaml:5", "stages.dedup.threshold", "number", "'many'"]),
        (GOOD + "    threshold: 0.8\n", ["c.yaml:6", "duplicate key", "line 5"]),
        (GOOD + "  dedupe: {}\n", ["c.yaml:6", "stages.dedupe", "did you mean dedup?"]),
        ("stages:\n  dedup: {input: x}\n", ["workspace", "is missing"]),
        ("workspace: w\nstages:\n  dedup: {}\n", ["c.yaml:3", "stages.dedup", "needs an input"]),
        ("workspace: [\n", ["c.yaml:2", "not valid YAML"]),
        ("- 1\n", ["mapping"]),
        ("workspace: ${HOME}/x\nstages: {dedup: {input: x}}\n", ["c.yaml:1", "HOME", "env:"]),
        ("include: [nowhere.yaml]\n", ["c.yaml:1", "nowhere.yaml", "no such file"]),
        ("include: [c.yaml]\n", ["includes itself"]),
    ],
)
def test_faults_say_where_and_what(tmp_path: Path, text: str, parts: list[str]) -> None:
    message = fault(tmp_path, text)
    for part in parts:
        assert part in message


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    message = fault(tmp_path, "workspace: w\nseed: -1\nstages: {dedup: {input: x, threshold: 2}}\n")
    assert "seed: must be at least 0" in message
    assert "threshold: must be between 0 and 1" in message


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!mine"])
def test_tags_are_refused_and_nothing_runs(tmp_path: Path, tag: str) -> None:
    target = tmp_path / "pwned"
    message = fault(tmp_path, f'workspace: {tag} ["touch {target}"]\n')
    assert "c.yaml:1: workspace: the tag !" in message
    assert not target.exists()


def test_an_alias_bomb_ends(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "without end" in fault(tmp_path, "\n".join(levels))


def test_includes_lie_below_and_set_lies_above(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 5\nstages:\n  dedup: {threshold: 0.5, verify: signature}\n")
    text = "include: [base.yaml]\nworkspace: w\nstages:\n  dedup: {input: x, threshold: 0.6}\n"
    config = load(tmp_path, text, "seed=7")
    dedup: Any = config.stage_config("dedup")
    assert (config.seed, dedup.threshold, dedup.verify) == (7, 0.6, "signature")
    message = fault(tmp_path, text, "stages.dedup.threshold=3")
    assert "--set stages.dedup.threshold=3" in message
    (tmp_path / "base.yaml").write_text("stages:\n  dedup:\n    verfy: exact\n")
    assert "base.yaml:3: stages.dedup.verfy" in fault(tmp_path, text)


def test_declared_environment_variables_are_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORPUS", "/data/corpus")
    text = "env: {CORPUS: null, MODE: exact}\nworkspace: ${CORPUS}/w\n"
    text += "stages: {dedup: {input: x, verify: '${MODE}'}}\n"
    config = load(tmp_path, text)
    dedup: Any = config.stage_config("dedup")
    assert (config.workspace, dedup.verify) == (Path("/data/corpus/w"), "exact")
    monkeypatch.delenv("CORPUS")
    assert "CORPUS is not set" in fault(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("1e-3", 0.001),
        ("1_000", 1000),
        ("true", True),
        ("~", None),
        ("'1'", "1"),
        ("2026-01-02", "2026-01-02"),
        ("-.5", -0.5),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert yamltree.parse(f"a: {text}", "t").value == {"a": value}


def test_the_shared_broken_configs(shared_data: Path, tmp_path: Path) -> None:
    broken = shared_data / "broken"
    expected = {
        "dup_keys.yaml": [":3", "duplicate key", "rules"],
        "unknown_key.yaml": [":4", "stages.dedup.treshold", "did you mean threshold?"],
        "bad_type.yaml": [":4", "threshold", "must be between 0 and 1"],
        "exec.yaml": [":1", "tag", "executed"],
    }
    for name, parts in expected.items():
        with pytest.raises(ConfigError) as caught:
            load_config(broken / name, STAGES)
        for part in parts:
            assert part in str(caught.value), name
