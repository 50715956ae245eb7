"""CPU time of ingest in Spark against that of its readers and kernels alone, on the same files.

    python scripts/bench/ingest.py FOLDER_WITH_WARCS

Prints CPU seconds of the stage called in one plain process, and of a local[2] run: its Python workers, and the
whole process tree (sampled from /proc, so Linux only). A run over one tiny file tells what start-up costs,
which is taken off: on a real crawl nobody would see it. Beside that, what the extraction of the same pages alone
costs ours, trafilatura and resiliparse, page by page in turns.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

TICKS = 100  # of the clock in /proc, a second
CONFIG = """\
workspace: {workspace}
spark:
  master: local[2]
stages:
  ingest:
    input: {input}
    shard_bytes: 8000000
"""


def kernel_seconds(folder: Path) -> tuple[float, int]:
    """CPU seconds and rows of the stage in this process, after one warm-up file's worth of imports."""
    from pretrain_data.stages.ingest import IngestConfig, IngestStage

    stage = IngestStage(IngestConfig(input=str(folder), shard_bytes=8_000_000))
    shards = stage.plan(Path("/"))
    for _ in zip(range(1), stage.process(iter(()), shards[0]), strict=False):
        pass
    begin = time.process_time()
    rows = sum(done.batch.num_rows for shard in shards for done in stage.process(iter(()), shard))
    return time.process_time() - begin, rows


def extraction_seconds(folder: Path) -> tuple[int, dict[str, float]]:
    """Pages, and CPU seconds of each extractor on them, given the same decoded text."""
    from extraction import EXTRACTORS

    from pretrain_data.formats.warc import read_records
    from pretrain_data.kernels import charset

    pages, spent = 0, dict.fromkeys(EXTRACTORS, 0.0)
    for path in sorted(folder.glob("*.warc*")):
        for record in read_records(str(path), 0, None, 10 << 20):
            if record.status != 200 or "html" not in record.mime or not record.body:
                continue
            text = charset.decode(record.body, record.charset).text
            pages += 1
            for name, extract in EXTRACTORS.items():
                begin = time.process_time()
                extract(text)
                spent[name] += time.process_time() - begin
    return pages, spent


def spark_seconds(folder: Path) -> tuple[float, float]:
    """CPU seconds of a run's whole process tree, and of the Python processes below its JVM."""
    with tempfile.TemporaryDirectory() as workspace:
        config = Path(workspace) / "bench.yaml"
        config.write_text(CONFIG.format(workspace=workspace, input=folder))
        command = [sys.executable, "-m", "pretrain_data.cli", "stage", "ingest", str(config)]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seen: dict[int, tuple[str, float]] = {}
        while run.poll() is None:
            seen.update(_tree(run.pid))
            time.sleep(0.2)
        if run.returncode:
            sys.exit(f"the run failed: {' '.join(command)}")
    own = seen.get(run.pid, ("", 0.0))[1]
    python = sum(cpu for pid, (name, cpu) in seen.items() if name.startswith("python") and pid != run.pid)
    return own + sum(cpu for pid, (_, cpu) in seen.items() if pid != run.pid), python


def _tree(root: int) -> dict[int, tuple[str, float]]:
    """Name and own CPU seconds of a process and all below it."""
    found: dict[int, tuple[int, str, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = path.read_text().rpartition(")")
        except OSError:
            continue  # it has ended meanwhile
        fields = after.split()
        name = before.partition("(")[2]
        found[int(path.parent.name)] = (int(fields[1]), name, (int(fields[11]) + int(fields[12])) / TICKS)
    inside = {root}
    grown = True
    while grown:
        more = {pid for pid, (parent, _, _) in found.items() if parent in inside} - inside
        inside |= more
        grown = bool(more)
    return {pid: found[pid][1:] for pid in inside if pid in found}


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    alone, rows = kernel_seconds(folder)
    with tempfile.TemporaryDirectory() as tiny:
        (Path(tiny) / "a.txt").write_text("one short text to start up with")
        start, start_python = spark_seconds(Path(tiny))
    whole, python = spark_seconds(folder)
    print(f"{rows} records: {alone:.1f} CPU s alone")
    for what, total, idle in (("Python workers", python, start_python), ("everything", whole, start)):
        ratio = (total - idle) / alone
        print(f"in Spark, {what}: {total:.1f} CPU s, {total - idle:.1f} without start-up ({ratio:.2f}x)")
    pages, spent = extraction_seconds(folder)
    for name, seconds in spent.items():
        print(f"extraction alone, {pages} pages, {name}: {seconds:.1f} CPU s, {pages / seconds:.0f} pages/s/core")


if __name__ == "__main__":
    main()
