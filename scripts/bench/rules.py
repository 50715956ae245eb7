"""How fast the rules are: the kernel and the whole job beside a Spark copy, and beside datatrove's four filters.

    python scripts/bench/rules.py DOCS.parquet... [--megabytes 160] [--times 3] [--work DIR] [--peer] [--out FILE]

DOCS.parquet hold `text` and `lang`; they are written again, as often as the megabytes want, as eight zstd
shards. In turns: Spark's copy of the shards and the rules stage over them (signals, rules, audit, kept and dropped
written), and both over a single document. Beside each copy all signals are computed in a plain process, English and
Chinese apart. What either costs over one document is its start and is taken off: a session, imports, and what the JVM
compiles and plans (a query costs it twice what our tasks do, so that one start for both would flatter us). The ratio
with all starts in it is printed too. With --peer datatrove is installed apart and runs its filters over a sample of the
English documents. Last, signals of texts of the same kind but of growing length, and of extreme shapes: MB a CPU second
should not fall.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import harness
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.kernels import signals
from pretrain_data.stages.rules import Rules, RulesConfig

PACKAGES = ("datatrove==0.10.1", "pyarrow", "spacy", "nltk", "regex", "xxhash<4", "tokenizers")
SHARDS = 8
LENGTHS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
CONFIG = """\
workspace: {workspace}
spark: {{master: "local[2]", driver_memory: 2g}}
stages:
  rules: {{input: "{input}"}}
"""


def write_shards(paths: list[Path], folder: Path, megabytes: float) -> float:
    """Shards of the documents, repeated until they hold so much text; megabytes written."""
    table = pa.concat_tables([pq.read_table(p, columns=["text", "lang"]) for p in paths])
    size = pc.sum(pc.binary_length(table["text"])).as_py() / 1e6
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    times = max(1, round(megabytes / size))
    whole = pa.concat_tables([table] * times).combine_chunks()
    ids = pa.array([f"{i:016x}" for i in range(len(whole))])
    whole = whole.add_column(0, "doc_id", ids)
    rows = -(-len(whole) // SHARDS)
    for n in range(SHARDS):
        pq.write_table(whole.slice(n * rows, rows), folder / f"part-{n:05d}.parquet", compression="zstd")
    return size * times


def write_one(shards: Path, folder: Path) -> None:
    """The first document of the shards alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    first = pq.read_table(sorted(shards.glob("*.parquet"))[0]).slice(0, 1)
    pq.write_table(first, folder / "part-00000.parquet", compression="zstd")


def seconds_of(text: pa.Array, options: signals.SignalOptions) -> float:
    """CPU seconds of all signals over batches of up to 4,096 documents."""
    start = time.process_time()
    for first in range(0, len(text), 4096):
        signals.compute(text.slice(first, 4096), options)
    return time.process_time() - start


def rate(text: pa.Array, options: signals.SignalOptions, times: int = 3) -> float:
    """Best MB a CPU second."""
    size = pc.sum(pc.binary_length(text)).as_py() / 1e6
    return float(size / min(seconds_of(text, options) for _ in range(times)))


def of_language(paths: list[Path], lang: str, megabytes: float) -> pa.Array:
    """The first documents of a language that hold so much text."""
    table = pa.concat_tables([pq.read_table(p, columns=["text", "lang"]) for p in paths])
    text = table.filter(pc.equal(table["lang"], lang))["text"].combine_chunks().cast(pa.large_string())
    return text.filter(pc.less(pc.cumulative_sum(pc.binary_length(text)), int(megabytes * 1e6)))


def ours(shards: Path, work: Path) -> Callable[[], harness.Used]:
    """A case: the rules stage over the shards, from nothing."""
    config, workspace = work / f"{shards.name}.yaml", work.resolve() / f"workspace-{shards.name}"
    config.write_text(CONFIG.format(workspace=workspace, input=shards.resolve()))

    def case() -> harness.Used:
        shutil.rmtree(workspace, ignore_errors=True)
        return harness.measure([sys.executable, "-m", "pretrain_data.cli", "stage", "rules", config], cwd=harness.ROOT)

    return case


def beside_datatrove(text: pa.Array, work: Path, options: signals.SignalOptions) -> None:
    """Print CPU seconds of datatrove's four filters over ours, and over signals and all four rule files."""
    python = harness.environment_of("datatrove-filters", PACKAGES, work)
    pq.write_table(pa.table({"text": text}), work / "peer.parquet")
    program = Path(__file__).parent / "peers" / "datatrove_filters.py"
    subprocess.run([str(python), str(program), str(work / "peer.parquet"), str(work / "peer.json")], check=True)
    theirs = sum(json.loads((work / "peer.json").read_text())["seconds"].values())
    stage = Rules(RulesConfig(files=[Path(n) for n in ("gopher_quality", "gopher_repetition", "c4", "fineweb")]))
    columns = {"text": text, "lang": pa.array(["en"] * len(text)), "format": pa.array(["prose"] * len(text))}
    mine = []
    for _ in range(3):
        started = time.process_time()
        for batch in pa.table(columns).to_batches(max_chunksize=2000):
            stage.rule_set.judge(stage.view(batch, signals.compute(batch.column("text"), options)))
        mine.append(time.process_time() - started)
    size = pc.sum(pc.binary_length(text)).as_py() / 1e6
    print(
        f"datatrove's four filters over {len(text):,} English documents: {size / theirs:.3f} MB a CPU second; "
        f"ours, signals and the same four: {size / min(mine):.1f}; {theirs / min(mine):.0f}x"
    )


def flatness(english: pa.Array, options: signals.SignalOptions) -> None:
    """Print MB a CPU second by length of document, and for extreme shapes."""
    prose = "\n".join(english.to_pylist()).encode()
    prose = prose * (LENGTHS[-1] // len(prose) + 1)
    for length in LENGTHS:
        texts = [prose[k : k + length].decode(errors="ignore") for k in range(0, LENGTHS[-1], length)]
        print(f"documents of {length:>10,} bytes: {rate(pa.array(texts, pa.large_string()), options, 2):.1f}")
    long = prose[: LENGTHS[-1]].decode(errors="ignore")
    shapes = {
        "one line": long.replace("\n", " "),
        "one letter": "a" * LENGTHS[-1],
        "one Han character": "的" * (LENGTHS[-1] // 3),
        "one word": "word " * (LENGTHS[-1] // 5),
        "newlines": "\n" * LENGTHS[-1],
        "dots": "." * LENGTHS[-1],
        "words that are all different": " ".join(map(str, range(LENGTHS[-1] // 8))),
    }
    for name, text in shapes.items():
        print(f"10 MB of {name}: {rate(pa.array([text], pa.large_string()), options, 2):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+", type=Path)
    parser.add_argument("--megabytes", type=float, default=160)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("work/rules"))
    parser.add_argument("--peer", action="store_true", help="datatrove's filters too (installed where missing)")
    parser.add_argument("--sample", type=int, default=400, help="documents that datatrove is given")
    parser.add_argument("--no-job", action="store_true", help="only what needs no Spark")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    options = Rules(RulesConfig()).options
    texts = {lang: of_language(args.documents, lang, 11) for lang in ("en", "zh")}
    signals.compute(texts["en"].slice(0, 1), options)  # compilation
    if not args.no_job:
        shards, one = args.work / "shards", args.work / "one"
        megabytes = write_shards(args.documents, shards, args.megabytes)
        write_one(shards, one)
        kernel: dict[str, list[float]] = {lang: [] for lang in texts}
        copy = harness.spark_copy(shards, args.work)

        def copied() -> harness.Used:
            for lang, text in texts.items():
                kernel[lang].append(rate(text, options))
            return copy()

        cases = {
            "copy of one document": harness.spark_copy(one, args.work),
            "Spark copy": copied,
            "rules over one document": ours(one, args.work),
            "rules": ours(shards, args.work),
        }
        found = harness.in_turns(cases, args.times)
        starts = {"Spark copy": "copy of one document", "rules": "rules over one document"}
        table = harness.rows(found, megabytes, starts)
        speed = {row["case"]: row["mb_per_cpu_second"] for row in table}
        whole = harness.cpu(found["Spark copy"]) / harness.cpu(found["rules"])
        more = {
            "rules over copy (0.45 wanted)": round(speed["rules"] / speed["Spark copy"], 2),
            "the same, starts included": round(whole, 2),
        }
        for lang, rates in kernel.items():
            more[f"kernel, {lang}, over copy (1.5 wanted)"] = round(statistics.median(rates) / speed["Spark copy"], 2)
            more[f"kernel, {lang}, MB a CPU second"] = round(statistics.median(rates), 1)
        harness.show(f"Rules over {megabytes:,.0f} MB of text", table, args.out, **more)
    flatness(texts["en"], options)
    if args.peer:
        step = max(1, len(texts["en"]) // args.sample)
        beside_datatrove(texts["en"].take(pa.array(range(0, len(texts["en"]), step))), args.work, options)


if __name__ == "__main__":
    main()
