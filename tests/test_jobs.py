"""spark-submit jobs/NAME.py does exactly what `pretrain-data stage NAME` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

ROOT = Path(__file__).resolve().parents[1]
SUBMIT = Path(pyspark.__file__).parent / "bin" / "spark-submit"


@pytest.mark.spark
@pytest.mark.slow
def test_spark_submit_and_the_command_line_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "请打13812345678联系"}\n{"id": "b", "text": ""}\nbroken\n')
    config = tmp_path / "c.yaml"
    config.write_text(
        "workspace: one\nspark: {master: 'local[1]', driver_memory: 512m}\nstages: {pii: {input: in.jsonl}}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
    environment["PYSPARK_DRIVER_PYTHON"] = sys.executable
    options = ["--config", str(config), "--set", f"workspace={tmp_path / 'two'}"]
    submit = [str(SUBMIT), "--master", "local[1]", "--driver-memory", "512m", str(ROOT / "jobs" / "pii.py"), *options]
    done = subprocess.run(submit, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    command = [sys.executable, "-m", "pretrain_data.cli", "stage", "pii", str(config)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "1 kept" in " ".join(done.stdout.split())
    for folder in ("documents", "dropped"):
        one, two = (sorted((tmp_path / name / "pii" / folder).glob("*.parquet")) for name in ("one", "two"))
        assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
        assert one


def test_errors_are_one_paragraph_with_their_own_exit_code(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("workspace: w\nstages: {pii: {input: nowhere, typs: []}}\n")
    command = [sys.executable, "-m", "pretrain_data.cli"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "validate", str(config)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "stages.pii.typs: unknown key; did you mean types?" in done.stderr
    assert "Traceback" not in done.stderr
    config.write_text("workspace: w\nstages: {pii: {input: nowhere}}\n")
    done = subprocess.run([*command, "run", str(config)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "nowhere: no file there" in done.stderr
    assert "Traceback" not in done.stderr
