"""Input from an object store: moto's S3 server on loopback, read by s3fs as any S3 would be."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pretrain_data import isolate
from pretrain_data.errors import InputError, StorageError
from pretrain_data.formats import storage
from pretrain_data.reuse import shard_inputs
from pretrain_data.shardrun import run_shard
from pretrain_data.stages.ingest import IngestConfig, IngestStage

pytest.importorskip("moto.server")
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    made = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    yield f"http://{host}:{port}"
    made.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A file system on an empty store, found by environment variables alone, as a user would set them."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    system = fsspec.filesystem("s3", skip_instance_cache=True)
    system.mkdir("corpus")
    yield system
    system.rm("corpus", recursive=True)
    fsspec.filesystem("s3").clear_instance_cache()


def outputs(stage: IngestStage, root: Path, staging: Path) -> dict[str, bytes]:
    """Every file that ingest writes, sidecars with their times aside."""
    for shard in stage.plan(root):
        run_shard(stage, shard, staging)
    return {str(p.relative_to(staging)): p.read_bytes() for p in sorted(staging.rglob("*.parquet"))}


def stage_of(path: str, **settings: Any) -> IngestStage:
    return IngestStage(IngestConfig(input=path, source="s", **settings))


def test_the_sample_from_s3_is_the_sample_from_disk(s3: Any, sample_crawl: Path, tmp_path: Path) -> None:
    folder = sample_crawl / "input"
    s3.put(f"{folder}/", "corpus/crawl/", recursive=True)
    settings = {"shard_bytes": 1 << 16}  # so that WARCs are cut by offset
    local, remote = stage_of(str(folder), **settings), stage_of("s3://corpus/crawl", **settings)
    assert any(unit.start for shard in remote.plan(tmp_path) for unit in shard.units)
    here, there = outputs(local, tmp_path, tmp_path / "a"), outputs(remote, tmp_path, tmp_path / "b")
    assert len(here) > 2
    assert here == there


def test_files_folders_and_globs(s3: Any, tmp_path: Path) -> None:
    for name in (
        "dt=2026-01-30/a.txt",
        "dt=2026-01-31/b.txt",
        "dt=2026-01-31/.hidden",
        "c.md",
        "_SUCCESS",
        "中文 1.txt",
    ):
        s3.pipe(f"corpus/in/{name}", f"text of {name}".encode())
    s3.pipe("corpus/inner.txt", b"another prefix that only begins like the folder's")
    s3.pipe("corpus/in/folder/", b"")

    def labels(spec: str) -> list[str]:
        return [file.label for file in storage.list_files(spec, tmp_path)]

    everything = ["c.md", "dt=2026-01-30/a.txt", "dt=2026-01-31/b.txt", "中文 1.txt"]
    assert labels("s3://corpus/in") == labels("s3://corpus/in/") == everything
    assert labels("s3://corpus/in/*/*.txt") == ["dt=2026-01-30/a.txt", "dt=2026-01-31/b.txt"]
    assert labels("s3://corpus/in/c.md") == ["c.md"]
    for file in storage.list_files("s3://corpus/in", tmp_path):
        with storage.open_input(file.path) as opened:
            assert opened.read() == f"text of {file.label}".encode()
        assert storage.size_of(file.path) == file.size
    assert [s.name for s in stage_of("s3://corpus/in").plan(tmp_path)] == [
        "part-00000",
        "dt=2026-01-30/part-00000",
        "dt=2026-01-31/part-00000",
    ]
    with pytest.raises(InputError, match="s3://corpus/nothing: no file there"):
        labels("s3://corpus/nothing")


def test_a_changed_object_is_noticed_and_an_equal_one_is_not(s3: Any, tmp_path: Path) -> None:
    def inputs() -> dict[str, str]:
        from pretrain_data.dataset import Dataset

        return shard_inputs(Dataset("", tuple(stage_of("s3://corpus/in").plan(tmp_path)), ""))

    s3.pipe("corpus/in/dt=2026-01-30/a.txt", b"one")
    s3.pipe("corpus/in/dt=2026-01-31/a.txt", b"two")
    before = inputs()
    s3.pipe("corpus/in/dt=2026-01-31/a.txt", b"two")
    assert inputs() == before, "the same bytes uploaded again are the same file"
    s3.pipe("corpus/in/dt=2026-01-31/a.txt", b"tow")
    after = inputs()
    assert [name for name in before if before[name] != after[name]] == ["dt=2026-01-31/part-00000"]


def test_tables_are_read_by_range_and_by_line(s3: Any, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pretrain_data.dataset import Dataset, read_shard

    rows = [{"id": f"r{i}", "text": f"第 {i} 行 and its text"} for i in range(50)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=10)
    s3.put(str(tmp_path / "a.parquet"), "corpus/t/a.parquet")
    s3.pipe("corpus/t/b.jsonl.gz", gzip.compress(b'{"id": "x", "text": "from a line"}\n'))
    opened = Dataset.open_input("s3://corpus/t", tmp_path)
    texts = [t for shard in opened.shards for b in read_shard(shard) for t in b.column("text").to_pylist()]
    assert texts == [row["text"] for row in rows] + ["from a line"]
    kept = [b for shard in stage_of("s3://corpus/t").plan(tmp_path) for b in stage_of("").process(iter(()), shard)]
    assert [t for done in kept for t in done.batch.column("text").to_pylist()] == texts


def test_a_read_in_a_fork_after_one_in_the_parent(s3: Any, tmp_path: Path) -> None:
    """Poison is found in forks of a worker that has read remote files already."""
    s3.pipe("corpus/in/a.txt", b"some text of a file")
    stage = stage_of("s3://corpus/in")
    (shard,) = stage.plan(tmp_path)

    def work() -> None:
        assert [t for done in stage.process(iter(()), shard) for t in done.batch.column("text").to_pylist()]

    work()
    assert isolate._in_child(work, stage) is None


def test_trouble_says_what_to_do(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.pipe("corpus/in/a.txt", b"some text")
    stage = stage_of("s3://corpus/in")
    (shard,) = stage.plan(tmp_path)
    s3.rm("corpus/in/a.txt")
    fsspec.filesystem("s3").invalidate_cache()
    with pytest.raises(StorageError, match=r"s3://corpus/in/a\.txt: not there"):
        run_shard(stage, shard, tmp_path / "out")
    with pytest.raises(StorageError, match="nosuch:// is no file system that fsspec knows"):
        storage.list_files("nosuch://x/y", tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(StorageError, match="no credentials for s3://"):
        storage.list_files("s3://corpus/in", tmp_path)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match=r'pip install "pretrain-data\[s3\]"'):
        storage.list_files("s3://corpus/in", tmp_path)


def test_an_object_that_changes_while_it_is_read(s3: Any, tmp_path: Path) -> None:
    s3.pipe("corpus/big.bin", b"a" * (storage.REQUEST * 2 + 10))
    with storage.open_input("s3://corpus/big.bin") as file:
        assert file.read(10) == b"a" * 10
        s3.pipe("corpus/big.bin", b"b" * (storage.REQUEST * 2 + 10))
        with pytest.raises(StorageError, match="changed"):
            file.read()
