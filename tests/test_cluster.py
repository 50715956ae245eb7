"""A standalone master, two workers and spark-submit for every stage give the bytes of a local run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyspark
import pytest

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[1]
SUBMIT = Path(pyspark.__file__).parent / "bin" / "spark-submit"
#: These JVMs live for seconds: they are to start quickly, and never get to run fast.
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
STAGES = ["ingest", "rules", "quality", "pii", "dedup", "classify", "mix", "export"]


def _script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JDK_JAVA_OPTIONS", SHORT_LIVED)  # executors have it from their worker
        with _script("cluster").cluster(tmp_path_factory.mktemp("logs"), workers=2) as url:
            yield url


def submit(master: str, program: Path, options: list[str], *spark: str) -> subprocess.CompletedProcess[str]:
    """spark-submit one program; what the executors' Python finds first is for `spark` to say."""
    environment = {
        **os.environ,
        "JDK_JAVA_OPTIONS": SHORT_LIVED,
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    environment["PYSPARK_DRIVER_PYTHON"] = sys.executable
    command = [
        str(SUBMIT), "--master", master, "--driver-memory", "1g", "--executor-memory", "800m", *spark,
        str(program), *options,
    ]  # fmt: skip
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def files(folder: Path) -> dict[str, bytes]:
    found = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("_"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def test_all_stages_on_the_cluster_equal_local_mode(
    master: str, sample_crawl: Path, sample_run: Callable[[int], Path], tmp_path: Path
) -> None:
    local = sample_run(2)
    options = ["--config", str(ROOT / "configs" / "sample.yaml")]
    options += ["--set", f"workspace={tmp_path}", "--set", f"stages.ingest.input={sample_crawl / 'input'}"]
    for name in STAGES:
        done = submit(master, ROOT / "jobs" / f"{name}.py", options, "--conf", f"spark.executorEnv.PYTHONPATH={ROOT}")
        assert done.returncode == 0, done.stderr[-3000:]
        ours, theirs = files(tmp_path / name), files(local / name)
        assert ours.keys() == theirs.keys()
        assert [k for k in ours if ours[k] != theirs[k]] == [], name
        assert ours, name


def test_local_cluster_mode_equals_local_mode(
    sample_crawl: Path, sample_run: Callable[[int], Path], tmp_path: Path
) -> None:
    """The stages that shuffle, in executors that are processes of their own: what came before is taken as it is."""
    local = sample_run(2)
    for name in STAGES[:4]:
        shutil.copytree(local / name, tmp_path / name)
    done = subprocess.run(
        [
            sys.executable, "-m", "pretrain_data.cli", "run", str(ROOT / "configs" / "sample.yaml"), "--to", "mix",
            "--set", f"workspace={tmp_path}", "--set", f"stages.ingest.input={sample_crawl / 'input'}",
            "--set", "spark.master=local-cluster[2,1,1024]", "--set", "spark.driver_memory=1g",
        ],
        env={**os.environ, "JDK_JAVA_OPTIONS": SHORT_LIVED, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("up to date") == 4
    for name in STAGES[:7]:
        ours, theirs = files(tmp_path / name), files(local / name)
        assert ours.keys() == theirs.keys()
        assert [k for k in ours if ours[k] != theirs[k]] == [], name


PROBE = """
import sys
from pyspark.sql import SparkSession

def where(rows):
    import pretrain_data
    yield pretrain_data.__file__

spark = SparkSession.builder.getOrCreate()
(path,) = spark.sparkContext.parallelize([0], 1).mapPartitions(where).collect()
open(sys.argv[1], "w").write(path)
"""


def test_the_package_travels_as_an_archive(master: str, tmp_path: Path) -> None:
    archive = tmp_path / "app.tar.gz"
    subprocess.run([str(ROOT / "scripts" / "package.sh"), str(archive)], check=True)
    given = ["--archives", f"{archive}#app", "--conf", "spark.executorEnv.PYTHONPATH=app"]
    (tmp_path / "probe.py").write_text(PROBE)
    done = submit(master, tmp_path / "probe.py", [str(tmp_path / "where")], *given)
    assert done.returncode == 0, done.stderr[-3000:]
    # Not this checkout, which may be installed for the workers' Python too: what was sent along comes first.
    assert "/app/pretrain_data/" in (tmp_path / "where").read_text()
    assert str(ROOT) not in (tmp_path / "where").read_text()
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "请打13812345678联系"}\n', encoding="utf-8")
    (tmp_path / "c.yaml").write_text("workspace: w\nstages: {pii: {input: in.jsonl}}\n")
    done = submit(master, ROOT / "jobs" / "pii.py", ["--config", str(tmp_path / "c.yaml")], *given)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(files(tmp_path / "w" / "pii" / "documents")) == 1
