"""Documents that kill their worker: they alone are lost, with what they did in the ledger."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import socket
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import TOYS, Fragile, FragileConfig, Lines, LinesConfig, Upper

from pretrain_data import isolate
from pretrain_data.config import load_config
from pretrain_data.dataset import NATIVE
from pretrain_data.errors import AccountingError, PretrainDataError, StorageError, WorkerDied
from pretrain_data.ingest.read import Reader
from pretrain_data.pipeline import Pipeline
from pretrain_data.shardrun import run_shard
from pretrain_data.stage import Processed, Shard, StageConfig, Unit
from pretrain_data.stages.ingest import IngestConfig, IngestStage

WORDS = [f"词 {i}" for i in range(40)]


def dead_process() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def shard_of(tmp_path: Path, texts: list[str]) -> Shard:
    ids = [str(i) for i in range(len(texts))]
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"doc_id": ids, "source_id": ids, "text": pa.array(texts, pa.large_string())}), path)
    return Shard("part-00000", (Unit(str(path), NATIVE),), len(texts))


def mark(staging: Path, host: str | None = None) -> Path:
    """As an attempt leaves things whose process was killed."""
    marker = staging / "attempts" / "part-00000.json"
    marker.parent.mkdir(parents=True)
    marker.write_text(json.dumps({"host": host or socket.gethostname(), "process": dead_process()}))
    return marker


def rows(folder: Path, *columns: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ds.dataset(folder, format="parquet").to_table(columns=list(columns)).to_pylist()
    return found


@pytest.mark.parametrize(
    ("word", "detail"),
    [
        ("segfault", "killed by SIGSEGV"),
        ("loop", "no end within 1 s"),
        ("hog", "MemoryError in toys.py"),
        ("raise", "ValueError in toys.py"),
    ],
)
def test_what_dies_alone_is_dropped_alone(tmp_path: Path, word: str, detail: str) -> None:
    shard = shard_of(tmp_path, [*WORDS[:25], word, *WORDS[25:]])
    marker = mark(tmp_path / "out")
    run_shard(Fragile(FragileConfig(stall_seconds=1.0 if word == "loop" else 60.0)), shard, tmp_path / "out")
    assert [r["text"] for r in rows(tmp_path / "out/documents", "text")] == WORDS
    (lost,) = rows(tmp_path / "out/dropped", "doc_id", "rule", "stage", "detail")
    assert (lost["doc_id"], lost["rule"], lost["stage"]) == ("25", "poison", "fragile")
    assert lost["detail"].startswith(detail)
    assert not marker.exists()


def test_several_in_one_shard(tmp_path: Path) -> None:
    texts = list(WORDS)
    for place, word in ((0, "segfault"), (17, "raise"), (18, "segfault"), (42, "raise")):
        texts.insert(place, word)
    shard = shard_of(tmp_path, texts)
    mark(tmp_path / "out", "another-host")
    run_shard(Fragile(FragileConfig()), shard, tmp_path / "out")
    assert [r["text"] for r in rows(tmp_path / "out/documents", "text")] == WORDS
    lost = rows(tmp_path / "out/dropped", "doc_id")
    assert [r["doc_id"] for r in lost] == ["0", "17", "18", "42"]


def test_a_shard_whose_worker_was_killed_by_others_loses_nothing(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, WORDS)
    plain = run_shard(Fragile(FragileConfig()), shard, tmp_path / "plain")
    mark(tmp_path / "out")
    careful = run_shard(Fragile(FragileConfig()), shard, tmp_path / "out")
    assert careful["documents_file"] == plain["documents_file"]
    assert careful["dropped"] == 0


def test_no_message_reaches_the_ledger(tmp_path: Path) -> None:
    """An exception may quote the text, and the text hold a telephone number."""
    shard = shard_of(tmp_path, ["raise", "kept"])
    run_shard(Fragile(FragileConfig()), shard, tmp_path / "out")
    (lost,) = rows(tmp_path / "out/dropped", "detail")
    assert "raise" not in lost["detail"]


def test_too_much_poison_is_something_else(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, ["raise"] * (isolate.MOST_IN_A_SHARD + 1))
    with pytest.raises(PretrainDataError, match="again and again"):
        run_shard(Fragile(FragileConfig()), shard, tmp_path / "out")


def test_the_machines_faults_are_not_a_documents(tmp_path: Path) -> None:
    class Full(Fragile):
        def process(self, batches: Any, shard: Shard) -> Any:
            raise OSError(28, "No space left on device")

    class Losing(Fragile):
        def process(self, batches: Any, shard: Shard) -> Any:
            for batch in batches:
                yield Processed(batch.slice(1))

    shard = shard_of(tmp_path, WORDS)
    with pytest.raises(StorageError, match="No space left on device; free some space, then run again"):
        run_shard(Full(FragileConfig()), shard, tmp_path / "a")
    with pytest.raises(AccountingError):
        run_shard(Losing(FragileConfig()), shard, tmp_path / "b")
    assert not list((tmp_path / "a").rglob("*.parquet"))


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    """A file-size limit stands for the full disk: the write fails in the middle of the shard's file."""
    rng = random.Random(1)
    texts = ["".join(rng.choices("abcdefgh中文语料", k=400)) for _ in range(2000)]
    shard = shard_of(tmp_path, texts)
    stage = Upper(StageConfig())
    plain = run_shard(stage, shard, tmp_path / "plain")
    assert plain["documents_file"]["bytes"] > 100_000
    child = os.fork()
    if child == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
            run_shard(stage, shard, tmp_path / "out")
        except StorageError as error:
            code = 42 if "File too large; raise the file-size limit" in str(error) else 43
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert not [p for p in (tmp_path / "out").rglob("*.parquet") if not p.name.startswith(".")]
    again = run_shard(stage, shard, tmp_path / "out")
    assert again["documents_file"] == plain["documents_file"]


@given(st.sets(st.integers(0, 199)), st.integers(0, 60), st.integers(1, 140))
def test_halving_finds_all_and_tries_little(bad: set[int], start: int, length: int) -> None:
    part = range(start, start + length)
    tried: list[range] = []

    def trial(some: range) -> str | None:
        tried.append(some)
        return "dies" if bad & set(some) else None

    found = [place for place, _ in isolate.halve(part, trial)]
    assert found == sorted(bad & set(part))
    assert len(tried) <= 1 + 2 * len(found) * length.bit_length()


def archive_of(path: Path, pages: list[str]) -> None:
    with path.open("wb") as file:
        for i, page in enumerate(pages):
            http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page.encode()
            head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/{i}\r\n"
            head += f"WARC-Record-ID: <urn:uuid:{i}>\r\nContent-Length: {len(http)}\r\n\r\n"
            file.write(gzip.compress(head.encode() + http + b"\r\n\r\n", mtime=0))


def test_one_record_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    archive_of(path, [f"<p>Some words, and more of them, on page number {i}.</p>" for i in range(9)])

    class Brittle(Reader):
        def read_html(self, row: Any, body: bytes, label: str) -> None:
            if b"number 5" in body:
                raise RecursionError(body)
            super().read_html(row, body, label)

    config = IngestConfig(input=str(path), source="web")
    plain, brittle = IngestStage(config), IngestStage(config)
    brittle.reader = Brittle(config)
    (shard,) = plain.plan(tmp_path)
    run_shard(plain, shard, tmp_path / "plain")
    run_shard(brittle, shard, tmp_path / "out")
    everything = rows(tmp_path / "plain/documents", "doc_id", "text")
    assert len(everything) == 9
    expected = [row for row in everything if "number 5" not in row["text"]]
    assert rows(tmp_path / "out/documents", "doc_id", "text") == expected
    (lost,) = rows(tmp_path / "out/dropped", "source_id", "rule", "detail")
    assert lost["rule"] == "poison"
    assert lost["detail"].startswith("RecursionError in test_isolate.py")
    assert lost["source_id"].startswith("web/a.warc.gz#")


def test_a_whole_file(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text("one\ntwo")

    class Brittle(Lines):
        def process(self, batches: Any, shard: Shard) -> Any:
            if any(unit.label == "b.txt" for unit in shard.units):
                raise ValueError
            return super().process(batches, shard)

    stage = Brittle(LinesConfig(input=str(tmp_path)))
    shard = Shard("part-00000", tuple(unit for s in stage.plan(tmp_path) for unit in s.units))
    run_shard(stage, shard, tmp_path / "out")
    assert [r["doc_id"] for r in rows(tmp_path / "out/documents", "doc_id")] == [
        "a.txt-0", "a.txt-1", "c.txt-0", "c.txt-1",
    ]  # fmt: skip
    assert [r["source_id"] for r in rows(tmp_path / "out/dropped", "source_id")] == ["b.txt"]


@pytest.mark.spark
def test_the_job_goes_on(tmp_path: Path, spark: Any) -> None:
    """The first attempts die in Spark's own workers; the run ends by itself, alike for any partitioning."""
    (tmp_path / "in").mkdir()
    for i in range(3):
        words = [*WORDS[:9], *(["segfault"] if i == 1 else [])]
        (tmp_path / "in" / f"{i}.txt").write_text("\n".join(words), encoding="utf-8")
    path = tmp_path / "c.yaml"
    path.write_text("workspace: w\nstages: {lines: {input: in}, fragile: {}}\n")
    made = []
    for tasks in (1, 3):
        overrides = [f"workspace={tmp_path / str(tasks)}", f"stages.lines.input={tmp_path / 'in'}"]
        config = load_config(path, TOYS, [*overrides, f"spark.partitions={tasks}"])
        said: list[str] = []
        outcomes = list(Pipeline(config, TOYS, tmp_path, spark=spark, say=said.append).run())
        assert [(o.manifest["documents"], o.manifest["dropped"]) for o in outcomes] == [(28, 0), (27, 1)]
        assert any("a worker died" in line for line in said)
        made.append({p.name: p.read_bytes() for p in sorted((tmp_path / str(tasks) / "fragile").rglob("*.parquet"))})
    assert made[0] == made[1]


@pytest.mark.spark
def test_the_error_budget(tmp_path: Path, spark: Any) -> None:
    (tmp_path / "in").mkdir()
    for i in range(11):
        (tmp_path / "in" / f"{i:02}.txt").write_text("raise\nfine")
    path = tmp_path / "c.yaml"
    path.write_text("workspace: w\nstages: {lines: {input: in}, fragile: {}}\n")

    def outcome(rate: float) -> dict[str, Any]:
        overrides = [f"stages.lines.input={tmp_path / 'in'}", f"stages.fragile.max_error_rate={rate}"]
        config = load_config(path, TOYS, [f"workspace={tmp_path / 'w'}", *overrides])
        manifest: dict[str, Any] = list(Pipeline(config, TOYS, tmp_path, spark=spark).run())[-1].manifest
        return manifest

    with pytest.raises(PretrainDataError, match=r"11 of 22 documents ended in an error \(poison 11\)"):
        outcome(0.4)
    assert outcome(0.5)["rules"]["poison"][0] == 11  # eleven in twenty-two is half


@pytest.mark.spark
@pytest.mark.parametrize("word", ["segfault", "loop"])
def test_a_death_in_a_pass_over_the_whole_names_its_shard(tmp_path: Path, spark: Any, word: str) -> None:
    """Where documents are numbered none can be taken out; nothing hangs for ever, and the place is told."""
    (tmp_path / "in").mkdir()
    for i in range(3):
        words = [*WORDS[:9], *([word] if i == 1 else [])]
        (tmp_path / "in" / f"{i}.txt").write_text("\n".join(words), encoding="utf-8")
    path = tmp_path / "c.yaml"
    path.write_text(
        "workspace: w\nspark: {partitions: 1}\nstages: {lines: {input: in}, short: {poison: true, stall_seconds: 1}}\n"
    )
    config = load_config(path, TOYS, [f"workspace={tmp_path / 'w'}", f"stages.lines.input={tmp_path / 'in'}"])
    with pytest.raises(WorkerDied, match=r"stage short: a Python worker.*at work were part-00001 of \S*/w/lines"):
        list(Pipeline(config, TOYS, tmp_path, spark=spark).run())
    mended = load_config(
        path,
        TOYS,
        [f"workspace={tmp_path / 'w'}", f"stages.lines.input={tmp_path / 'in'}", "stages.short.poison=false"],
    )
    assert [o.state for o in Pipeline(mended, TOYS, tmp_path, spark=spark).run()] == ["up to date", "done"]
