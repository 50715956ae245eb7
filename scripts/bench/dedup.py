"""Dedup: the signature kernel beside a Spark copy, the whole stage beside peers, scores against an exact truth.

    python scripts/bench/dedup.py kernel TRUTH [--times 3]
    python scripts/bench/dedup.py substrings TRUTH [--times 5]
    python scripts/bench/dedup.py whole CORPUS [--peers datatrove text-dedup …] [--their-share 0.1] [--times 1]
    python scripts/bench/dedup.py score TRUTH [--peers …]
    python scripts/bench/dedup.py estimator TRUTH

CORPUS is a folder of Parquet with id, text and lang. TRUTH is a folder with docs.parquet (id, text, lang) and
truth_pairs.parquet (id1, id2, jaccard): every pair of similarity 0.5 or more, by words in English and by characters in
Chinese. All take --work DIR and --out FILE.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from dedup_peers import PEERS

PERMUTATIONS, SHINGLE = 128, 5
#: Text that a kernel and a Spark copy are given, in bytes; what there is stands in it several times.
ENOUGH = 400_000_000
MARGIN = 0.05


def kernel(args: argparse.Namespace) -> None:
    """MB/s of one core: signatures of 128 permutations, and Spark copying the same documents."""
    from pretrain_data.kernels import minhash

    documents = pq.read_table(args.data / "docs.parquet", columns=["id", "text", "lang"])
    table, more = [], {}
    for lang in ("en", "zh"):
        some = documents.filter(pc.equal(documents["lang"], lang))
        size = pc.sum(pc.binary_length(some["text"])).as_py()
        copies = max(1, round(ENOUGH / size))
        folder = args.work / f"kernel-{lang}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for i in range(copies):
            pq.write_table(some, folder / f"part-{i:03}.parquet", compression="zstd")
        text = some["text"].combine_chunks()
        characters = np.full(len(text), lang == "zh")
        minhash.sign(text.slice(0, 10), characters[:10], PERMUTATIONS, SHINGLE)

        def ours(text: Any = text, characters: Any = characters) -> harness.Used:
            began, wall = time.process_time(), time.monotonic()
            for _ in range(3):
                minhash.sign(text, characters, PERMUTATIONS, SHINGLE)
            return harness.Used((time.process_time() - began) / 3, (time.monotonic() - wall) / 3, 0)

        cases = {"start": harness.spark_start(), "copy": harness.spark_copy(folder, args.work), "kernel": ours}
        found = harness.in_turns(cases, args.times)
        megabytes = copies * size / 1e6
        copied = harness.rows({k: found[k] for k in ("start", "copy")}, megabytes, "start")[1]
        made = harness.rows({"kernel": found["kernel"]}, size / 1e6)[0]
        table += [row | {"case": f"{lang} {row['case']}"} for row in (copied, made)]
        more[f"{lang} kernel over copy"] = round(made["mb_per_cpu_second"] / copied["mb_per_cpu_second"], 2)
    harness.show("Signatures, one core", table, args.out, **more)


def substrings(args: argparse.Namespace) -> None:
    """MB/s of one core: grams of substrings, lines, and pyarrow copying the same documents; rows a MB."""
    from pretrain_data.kernels import passages
    from pretrain_data.kernels import substrings as grams

    documents = pq.read_table(args.data / "docs.parquet", columns=["id", "text", "lang"])
    table, more = [], {}
    for lang in ("en", "zh"):
        some = documents.filter(pc.equal(documents["lang"], lang))
        text, file = some["text"].combine_chunks(), args.work / f"substrings-{lang}.parquet"
        megabytes = pc.sum(pc.binary_length(text)).as_py() / 1e6
        pq.write_table(some, file, compression="zstd")
        tokens = len(grams.grams(text, 1, 1).row)

        def copy(file: Path) -> None:
            again = pq.read_table(file, use_threads=False)
            pq.write_table(again, file.with_suffix(".copy"), compression="zstd")

        def case(made: Callable[[], Any]) -> Callable[[], harness.Used]:
            def used() -> harness.Used:
                began, wall = time.process_time(), time.monotonic()
                made()
                return harness.Used(time.process_time() - began, time.monotonic() - wall, 0)

            return used

        cases = {"copy": case(partial(copy, file)), "lines": case(partial(passages.find, text, True, True, 8))}
        for window in (50, 25):
            cases[f"window {window}"] = case(partial(grams.grams, text, 50, window))
            chosen = len(grams.grams(text, 50, window).row)
            more[f"{lang} window {window}, rows a MB"] = round(chosen / megabytes)
            more[f"{lang} window {window}, rows a token"] = round(chosen / tokens, 4)
        passages.find(text.slice(0, 10), True, True, 8)
        found = harness.in_turns(cases, args.times)
        table += [row | {"case": f"{lang} {row['case']}"} for row in harness.rows(found, megabytes)]
    harness.show("Substrings, one core", table, args.out, **more)


def whole(args: argparse.Namespace) -> None:
    """CPU seconds a MB of the whole stage, ours and theirs, from Parquet to Parquet; and whom each drops."""
    files = sorted(args.data.glob("*.parquet"))
    megabytes = _megabytes(files)
    few = args.work / "few"
    part = _some(files, few, args.their_share)
    config = _config(args.work, "whole", args.data.resolve(), threshold=0.75)
    peers = [PEERS[name] for name in args.peers]
    # Kernels are compiled once an installation; that is no part of what a run costs.
    warm = _config(args.work, "warm", few.resolve(), threshold=0.75)
    _ours(warm)
    cases: dict[str, Any] = {"ours": lambda: _ours(config)}
    cases |= {peer.name: lambda peer=peer: peer.run(few.resolve(), args.work) for peer in peers}
    found = harness.in_turns(cases, args.times)
    more: dict[str, Any] = {"ours read": f"{megabytes:,.0f} MB of text, starting a session included"}
    dropped = set(_dropped(warm))
    nothing = {"ours over it": "", "drops": len(dropped), "of them ours too": ""}
    table = [harness.rows({"ours": found["ours"]}, megabytes)[0] | nothing]
    ids = set(ds.dataset(few).to_table(["id"])["id"].to_pylist())
    for peer in peers:
        row = harness.rows({peer.name: found[peer.name]}, part)[0]
        ratio = table[0]["mb_per_cpu_second"] / (part / harness.cpu(found[peer.name]))
        gone = ids - peer.kept(args.work)
        both = len(gone & dropped)
        table.append(row | {"ours over it": round(ratio, 1), "drops": len(gone), "of them ours too": both})
    more |= {"theirs read": f"{part:,.0f} MB of it, of which drops are told", "threshold": 0.75}
    harness.show("Deduplication, Parquet to Parquet", table, args.out, **more)


def score(args: argparse.Namespace) -> None:
    """Recall and precision at three thresholds, by both ways to verify; with --peers theirs, by language."""
    documents = pq.read_table(args.data / "docs.parquet")
    truth = pq.read_table(args.data / "truth_pairs.parquet").to_pylist()
    table = []
    for verify, threshold in itertools.product(("exact", "signature"), (0.7, 0.8, 0.9)):
        source = (args.data / "docs.parquet").resolve()
        config = _config(args.work, f"score-{verify}-{threshold}", source, threshold=threshold, verify=verify)
        _ours(config)
        table.append({"case": f"ours, {verify}", "threshold": threshold} | _scored(_dropped(config), truth, threshold))
    # datatrove's bands find half of the pairs at 0.72, and it takes each for a duplicate: all are asked for 0.75.
    for lang in ("en", "zh") if args.peers else ():
        some = documents.filter(pc.equal(documents["lang"], lang))
        ids = set(some["id"].to_pylist())
        pairs = [r for r in truth if r["id1"] in ids and r["id2"] in ids]
        folder = args.work / f"only-{lang}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        half = some.num_rows // 2
        for i, part in enumerate((some.slice(0, half), some.slice(half))):
            pq.write_table(part.select(["id", "text"] + (["lang"] if lang == "zh" else [])), folder / f"{i}.parquet")
        config = _config(args.work, f"score-{lang}", folder.resolve(), threshold=0.75, verify="signature")
        _ours(config)
        table.append({"case": f"ours, signature, {lang}", "threshold": 0.75} | _scored(_dropped(config), pairs, 0.75))
        for name in args.peers:
            for how in ((), PEERS[name].chinese) if lang == "zh" else ((),):
                PEERS[name].run(folder.resolve(), args.work, how)
                gone = dict.fromkeys(ids - PEERS[name].kept(args.work))
                case = f"{name}, {lang} {' '.join(how)}".strip()
                table.append({"case": case, "threshold": 0.75} | _scored(gone, pairs, 0.75))
    harness.show(f"Against the exact truth, margin {MARGIN}", table, args.out)


def estimator(args: argparse.Namespace) -> None:
    """The estimate's root mean square error beside sqrt(J (1 - J) / k), and its bias.

    Pairs of one cluster err together, so that a mean over all pairs is that of a few large clusters: the bias is given
    with every cluster counting once, and over all pairs as a mean over seeds.
    """
    from pretrain_data.graph.unionfind import components
    from pretrain_data.kernels import minhash, similarity

    documents = pq.read_table(args.data / "docs.parquet", columns=["id", "text", "lang"])
    pairs = pq.read_table(args.data / "truth_pairs.parquet")
    place = pa.array(documents["id"].combine_chunks())
    first, second = (pc.index_in(pairs[c], place).to_numpy() for c in ("id1", "id2"))
    text = documents["text"].combine_chunks()
    chinese = pc.equal(documents["lang"], "zh").combine_chunks().to_numpy(zero_copy_only=False)
    sets, offsets = minhash.shingle_sets(text, chinese, SHINGLE)
    true = similarity.exact(sets, offsets[:-1], offsets[1:], first, second).astype(np.float64)
    cluster = components(len(text), first, second)[first]
    weight = 1 / np.bincount(cluster)[cluster]
    parts = {"en": ~chinese[first], "zh": chinese[first]}
    means: dict[str, list[float]] = {lang: [] for lang in parts}
    table = []
    for seed in [minhash.SEED, *range(1, args.seeds)]:
        made = minhash.sign(text, chinese, PERMUTATIONS, SHINGLE, seed).signatures
        error = similarity.estimated(made, first, second) - true
        for lang, mask in parts.items():
            means[lang].append(float(error[mask].mean()))
            if seed != minhash.SEED:
                continue
            rmse = float(np.sqrt(np.mean(error[mask] ** 2)))
            theory = float(np.sqrt(np.mean(true[mask] * (1 - true[mask])) / PERMUTATIONS))
            bias = float(np.average(error[mask], weights=weight[mask]))
            row = {"language": lang, "pairs": int(mask.sum()), "rmse": round(rmse, 5), "theory": round(theory, 5)}
            table.append(row | {"ratio": round(rmse / theory, 3), "bias by cluster": round(bias, 5)})
    for row in table:
        found = means[row["language"]]
        row[f"bias over {args.seeds} seeds"] = round(statistics.fmean(found), 5)
        row["its error"] = round(statistics.stdev(found) / len(found) ** 0.5, 5)
    harness.show(f"Estimated similarity, {PERMUTATIONS} permutations", table, args.out)


def _config(work: Path, name: str, source: Path, **settings: Any) -> Path:
    path = work / f"{name}.yaml"
    config = {
        "workspace": str((work / name).resolve()),
        "spark": {"master": "local[2]", "driver_memory": "2g"},
        "stages": {"dedup": {"input": str(source), **settings}},
    }
    path.write_text(json.dumps(config))
    return path


def _ours(config: Path) -> harness.Used:
    shutil.rmtree(config.with_suffix(""), ignore_errors=True)
    return harness.measure([sys.executable, "-m", "pretrain_data.cli", "run", config], cwd=harness.ROOT)


def _dropped(config: Path) -> dict[str, str]:
    found = ds.dataset(config.with_suffix("") / "dedup" / "dropped", format="parquet")
    table = found.to_table(["source_id", "kept_id"])
    return dict(zip(table["source_id"].to_pylist(), table["kept_id"].to_pylist(), strict=True))


def _megabytes(files: list[Path]) -> float:
    return sum(pc.sum(pc.binary_length(pq.read_table(f, columns=["text"])["text"])).as_py() for f in files) / 1e6


def _some(files: list[Path], folder: Path, share: float) -> float:
    """Every n-th document of the files, in two files; the megabytes of text."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    step = max(1, round(1 / share))
    parts = [pq.read_table(f, columns=["id", "text"]) for f in files]
    some = pa.concat_tables([p.take(pa.array(np.arange(0, p.num_rows, step))) for p in parts])
    half = some.num_rows // 2
    for i, part in enumerate((some.slice(0, half), some.slice(half))):
        pq.write_table(part, folder / f"part-{i}.parquet")
    return _megabytes(sorted(folder.glob("*.parquet")))


def _scored(dropped: dict[str, Any], truth: list[dict[str, Any]], threshold: float) -> dict[str, float]:
    """Pairs of which one went, of those that are alike beyond the margin and of those that are identical; dropped
    documents that are like any other (to a margin below), and like the one that is kept in their place."""
    near: dict[str, dict[str, float]] = {}
    alike, same = [], []
    for row in truth:
        one, other, jaccard = row["id1"], row["id2"], row["jaccard"]
        near.setdefault(one, {})[other] = near.setdefault(other, {})[one] = jaccard
        gone = one in dropped or other in dropped
        if jaccard >= threshold + MARGIN or jaccard == 1:
            alike.append(gone)
        if jaccard == 1:
            same.append(gone)
    low = threshold - MARGIN
    right = [any(j >= low for j in near.get(i, {}).values()) for i in dropped]
    chain = [near.get(i, {}).get(k, 0) >= low for i, k in dropped.items() if k is not None]
    return {
        "dropped": len(dropped),
        "pair_recall": round(statistics.fmean(alike), 5),
        "exact_recall": round(statistics.fmean(same), 5),
        "drop_precision": round(statistics.fmean(right), 5),
        "chain_precision": round(statistics.fmean(chain), 5) if chain else "",  # type: ignore[dict-item]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for run in (kernel, substrings, whole, score, estimator):
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("data", type=Path, help="CORPUS or TRUTH")
        command.add_argument("--work", type=Path, default=Path("work/dedup-bench"))
        command.add_argument("--out", type=Path)
        command.add_argument("--times", type=int, default=1 if run is whole else 3)
        command.add_argument("--their-share", type=float, default=0.1)
        command.add_argument("--seeds", type=int, default=25, help="seeds that the bias is a mean over")
        command.add_argument("--peers", nargs="*", default=["datatrove"] if run is whole else [], choices=PEERS)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    args.run(args)


if __name__ == "__main__":
    main()
