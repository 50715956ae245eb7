"""What happens to files under a run: each fault ends in the same bytes or in an error that names file and way out."""

from __future__ import annotations

import ctypes
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from py4j.protocol import Py4JNetworkError
from toys import TOYS

from pretrain_data import open_blocks
from pretrain_data.config import load_config
from pretrain_data.dataset import read_shard
from pretrain_data.errors import InputError, PretrainDataError, StorageError, errors_from_workers
from pretrain_data.pipeline import Pipeline
from pretrain_data.reader import read_manifest
from pretrain_data.shardrun import run_shard
from pretrain_data.stage import Processed, Shard, StageConfig, Unit
from pretrain_data.stages.ingest import IngestConfig, IngestStage
from pretrain_data.trace import Trace
from pretrain_data.writer import ShardWriter

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """One shard of our own, its manifest left out."""
    rng = random.Random(4)
    texts = ["".join(rng.choices("数据语料abc 繁體全角Ａ。\n", k=200)) for _ in range(300)]
    batch = pa.RecordBatch.from_pydict(
        {"doc_id": [f"{i:032x}" for i in range(300)], "text": pa.array(texts, pa.large_string())}
    )
    writer = ShardWriter("rules", "part-00000", tmp_path / "rules")
    writer.write(Processed(batch))
    writer.close()
    return tmp_path / "rules" / "documents" / "part-00000.parquet"


def read(path: Path) -> list[dict[str, Any]]:
    shard = Shard("part-00000", (Unit(str(path), "dataset"),))
    return [row for batch in read_shard(shard) for row in batch.to_pylist()]


def test_no_flipped_byte_reads_as_another_text(written: Path) -> None:
    """Wherever the byte: an error that names file and way out, or the very rows that were written."""
    whole, expected = written.read_bytes(), read(written)
    choose = random.Random(9)
    said: list[str] = []
    for at in [0, 1, len(whole) // 2, len(whole) - 1, *choose.sample(range(len(whole)), 300)]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << choose.randrange(8)
        written.write_bytes(bytes(flipped))
        try:
            assert read(written) == expected, at
        except InputError as error:
            said.append(str(error))
    assert len(said) > 250
    assert all("part-00000.parquet: can't be read" in text and "--force" in text for text in said)


def test_a_cut_shard_is_named(written: Path) -> None:
    written.write_bytes(written.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"part-00000\.parquet: can't be read.*--force"):
        read(written)


def test_an_input_that_goes_under_the_run(tmp_path: Path) -> None:
    for day in ("a", "b"):
        (tmp_path / f"{day}.jsonl").write_text('{"id": "1", "text": "正文 body"}\n', encoding="utf-8")
    stage = IngestStage(IngestConfig(input=str(tmp_path), source="s"))
    [shard] = stage.plan(tmp_path)
    (tmp_path / "b.jsonl").rename(tmp_path / "b.gone")
    with pytest.raises((StorageError, InputError), match=r"b\.jsonl.*(put it back|run again)"):
        run_shard(stage, shard, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.json"))
    (tmp_path / "b.gone").rename(tmp_path / "b.jsonl")
    assert run_shard(stage, shard, tmp_path / "out")["rows"] == 2


def test_broken_files_of_an_export_are_named(tmp_path: Path) -> None:
    (tmp_path / "blocks.json").write_text('{"blocks": [')
    for use in (read_manifest, open_blocks, Trace):
        with pytest.raises(InputError, match=r"blocks\.json: broken.*--force"):
            use(tmp_path)
    block = {"block": 0, "phase": "main", "offset": 0, "documents": 1, "tokens": 1, "channels": {}, "summary": {}}
    (tmp_path / "blocks.json").write_text(json.dumps({"blocks": [block], "sequence_length": {"main": 8}}))
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "part-00000.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"part-00000\.npy is broken.*--force"):
        Trace(tmp_path).at(0, 0)


def without_override() -> None:
    """Root obeys permissions like anybody else (PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and _READ_SEARCH)."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):
        libc.prctl(24, capability, 0, 0, 0)


@pytest.mark.spark
@pytest.mark.parametrize("folder", ["w", "w/.staging"])
def test_a_folder_that_may_not_be_written(tmp_path: Path, folder: str) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "请打13812345678联系"}\n', encoding="utf-8")
    (tmp_path / "c.yaml").write_text(
        "workspace: w\nspark: {master: 'local[1]', driver_memory: 512m}\nstages: {pii: {input: in.jsonl}}\n"
    )
    closed = tmp_path / folder
    closed.mkdir(parents=True)
    command = [sys.executable, "-m", "pretrain_data.cli", "run", str(tmp_path / "c.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            preexec_fn=without_override,
        )

    closed.chmod(0o555)
    refused = run()
    closed.chmod(0o755)
    assert refused.returncode == 1
    assert f"error: {closed}" in refused.stderr
    assert "Permission denied; see that this user may write there, then run again" in refused.stderr.replace("\n", " ")
    assert "Traceback" not in refused.stderr
    if folder == "w":  # one more start of the JVM shows no more
        assert run().returncode == 0
        assert pq.read_metadata(tmp_path / "w/pii/documents/part-00000.parquet").num_rows == 1


@pytest.mark.spark
def test_a_shard_that_goes_under_the_run_is_named_and_made_again(tmp_path: Path, spark: Any) -> None:
    (tmp_path / "in").mkdir()
    for day in range(3):
        (tmp_path / "in" / f"{day}.txt").write_text(f"第{day}天 的数据\nsecond line {day}", encoding="utf-8")
    (tmp_path / "c.yaml").write_text("workspace: w\nstages:\n  lines: {input: in}\n  upper: {}\n  short: {}\n")

    def pipeline(workspace: str = "w") -> Pipeline:
        config = load_config(tmp_path / "c.yaml", TOYS, [f"workspace={tmp_path / workspace}"])
        return Pipeline(config, TOYS, tmp_path, spark=spark)

    list(pipeline("undisturbed").run())
    running = pipeline().run()
    assert next(running).stage == "lines"
    (tmp_path / "w/lines/documents/part-00001.parquet").unlink()  # between its check and its use
    with pytest.raises(PretrainDataError, match=r"part-00001\.parquet: can't be read.*--force"):
        list(running)
    assert not (tmp_path / "w/upper").exists(), "readers never see half a commit"
    assert [o.state for o in pipeline().run()] == ["done"] * 3
    one, other = (
        {str(p.relative_to(tmp_path / w)): p.read_bytes() for p in (tmp_path / w).rglob("*.parquet")}
        for w in ("w", "undisturbed")
    )
    assert one == other


def test_stage_configs_have_no_path_in_a_phase(tmp_path: Path) -> None:
    """Phases are folders of the token files: none leads out of the export."""
    from pretrain_data.stages.mix import Phase

    assert Phase(name="长文-32k_b").name == "长文-32k_b"
    for name in ("../x", "a/b", "", ".", "a.b"):
        with pytest.raises(ValueError, match="pattern"):
            Phase(name=name)
    assert StageConfig().input is None


@pytest.mark.parametrize(
    "error", [Py4JNetworkError("Answer from Java side is empty"), ConnectionRefusedError(111, "no")]
)
def test_a_jvm_that_dies_is_said_and_how_to_go_on(error: Exception) -> None:
    with pytest.raises(PretrainDataError, match=r"JVM ended without a word.*run again"), errors_from_workers():
        raise error
