"""Fixtures that every test may use: one Spark session a test run, and the shared real data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# On CI the same cases each time: a failure there is one that a change brought about.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("default", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test data; tests that use it are skipped where it is absent."""
    path = Path(os.environ.get("PRETRAIN_DATA_SHARED", ROOT.parent / "shared")) / "data"
    if not path.is_dir():
        pytest.skip(f"no shared test data at {path}")
    return path


@pytest.fixture(scope="session")
def spark() -> Iterator[object]:
    """A local session with two cores, the same for the whole test run."""
    from pretrain_data.config import SparkConfig
    from pretrain_data.session import start

    tests = str(Path(__file__).parent)  # workers import the toy stages from here
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH", "")]))
    session = start(SparkConfig(master="local[2]", driver_memory="1g"), "tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def sample_crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample crawl (`input/`) and the truth planted in it (`truth/`)."""
    from pretrain_data.sample import write_sample

    target = tmp_path_factory.mktemp("sample")
    write_sample(target)
    return target


@pytest.fixture(scope="session")
def sample_run(sample_crawl: Path, tmp_path_factory: pytest.TempPathFactory, spark: Any) -> Callable[[int], Path]:
    """Runs configs/sample.yaml, once for each number of partitions asked for; gives the workspace."""
    from pretrain_data.commands import open_pipeline

    base = tmp_path_factory.mktemp("work")

    def once(partitions: int) -> Path:
        workspace = base / str(partitions)
        if not workspace.exists():
            settings = [
                f"workspace={workspace}",
                f"stages.ingest.input={sample_crawl / 'input'}",
                f"spark.partitions={partitions}",
            ]
            pipeline = open_pipeline(ROOT / "configs" / "sample.yaml", settings)
            pipeline._spark = spark
            assert {o.state for o in pipeline.run()} == {"done"}
            again = open_pipeline(ROOT / "configs" / "sample.yaml", settings)
            assert {o.state for o in again.run()} == {"up to date"}, "and no session is started for that"
        return workspace

    return once
