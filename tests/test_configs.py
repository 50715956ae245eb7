"""Every config that we ship validates, and so does each README example."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pretrain_data.cli import app
from pretrain_data.commands import open_pipeline
from pretrain_data.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["sample", "production", "nightly"])
def test_shipped_configs_validate(name: str) -> None:
    result = CliRunner().invoke(app, ["validate", str(ROOT / "configs" / f"{name}.yaml")])
    assert result.exit_code == 0, result.output
    assert "ingest → rules → quality → pii → dedup → classify → mix → export" in result.output


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "mixes").glob("*.yaml")), ids=lambda p: p.name)
def test_shipped_mixes_fit_the_production_config(path: Path, tmp_path: Path) -> None:
    top = tmp_path / "c.yaml"
    top.write_text(f"include: ['{ROOT / 'configs' / 'production.yaml'}', '{path}']\nworkspace: w\n")
    stages = open_pipeline(top).stages
    mix = stages["mix"].config.model_dump()
    assert sum(phase["budget"] for phase in mix["phases"]) in (1_000_000_000_000, 2_000_000_000_000)
    assert (mix["handed_out"] == "export") == (path.stem == "growing")


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "clusters").glob("*.yaml")), ids=lambda p: p.name)
def test_shipped_clusters_lie_over_the_production_config(path: Path, tmp_path: Path) -> None:
    top = tmp_path / "c.yaml"
    top.write_text(f"include: ['{ROOT / 'configs' / 'production.yaml'}', '{path}']\nworkspace: w\n")
    spark = open_pipeline(top).config.spark
    given = yaml.safe_load(path.read_text(encoding="utf-8"))["spark"]
    assert {key: spark.conf[key] for key in given.get("conf", {})} == given.get("conf", {})
    # Names that Spark knows: each is documented under a prefix of its own.
    known = (
        "spark.executor.",
        "spark.executorEnv.",
        "spark.task.",
        "spark.speculation",
        "spark.dynamicAllocation.",
        "spark.kubernetes.",
        "spark.yarn.",
    )
    assert all(key.startswith(known) for key in given.get("conf", {}))


def test_hub_models_want_their_pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "c.yaml"
    names = [ROOT / "configs" / name for name in ("production.yaml", "models/hub.yaml")]
    top.write_text(f"include: {[str(n) for n in names]}\nworkspace: w\n")
    with pytest.raises(ConfigError, match="CCI3_REVISION is not set"):
        open_pipeline(top)
    monkeypatch.setenv("CCI3_REVISION", "main")
    with pytest.raises(ConfigError, match="pin it to a commit"):
        open_pipeline(top)
    monkeypatch.setenv("CCI3_REVISION", "0123456789abcdef0123456789abcdef01234567")
    quality = open_pipeline(top).stages["quality"].config
    assert {name: keys.max_tokens for name, keys in quality.per_lang.items()} == {"en": 512, "zh": 1024}


def test_schedulers_name_the_script_and_its_exit_codes() -> None:
    folder = ROOT / "docs" / "schedulers"
    for name in ("cron", "pretrain-data.service", "airflow_dag.py", "argo.yaml"):
        assert "scripts/nightly.sh" in (folder / name).read_text(encoding="utf-8"), name
    ast.parse((folder / "airflow_dag.py").read_text(encoding="utf-8"))
    assert yaml.safe_load((folder / "argo.yaml").read_text(encoding="utf-8"))["kind"] == "CronWorkflow"


def test_the_readme_s_configs_validate(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        (tmp_path / "c.yaml").write_text(block, encoding="utf-8")
        assert list(open_pipeline(tmp_path / "c.yaml").stages) == ["dedup"]


def test_no_job_hides_a_module_of_the_standard_library() -> None:
    """The folder of a job comes first on the path of all that it imports."""
    assert {path.stem for path in (ROOT / "jobs").glob("*.py")} & set(sys.stdlib_module_names) == set()


def test_every_job_names_its_stage() -> None:
    from pretrain_data.stages import ORDER

    for name in ORDER:
        assert f'stage_main("{name}")' in (ROOT / "jobs" / f"{name}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "rules").glob("*.yaml")), ids=lambda p: p.name)
def test_shipped_rule_overlays_compile(path: Path) -> None:
    from pretrain_data.stages.rules import RulesConfig, rule_set

    assert rule_set(RulesConfig(files=[path])) is not None
