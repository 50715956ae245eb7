"""text-dedup's MinHash, Parquet to kept ids, in an environment of its own; run by scripts/bench/dedup.py.

    python text_dedup_minhash.py FOLDER_OF_PARQUET OUT [--workers 2] [--threshold 0.75] [--tokens 5]

Its own command with xxh3, the faster of its hashes, and 128 permutations. Documents under `min_length` tokens fall to
one, so that is set to 1. OUT/kept.txt holds the ids of what it keeps.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from datasets import load_from_disk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threshold", type=float, default=0.75)
    parser.add_argument("--tokens", type=int, default=5)
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    source = ["--path", "parquet", "--data_files", f"{args.documents}/*.parquet", "--split", "train"]
    how = ["--ngram", args.tokens, "--threshold", args.threshold, "--num_perm", 128, "--hash_func", "xxh3"]
    where = ["--cache_dir", args.out / "cache", "--output", args.out / "kept", "--num_proc", args.workers]
    command = [sys.executable, "-m", "text_dedup.minhash", *source, "--column", "text", *how, "--min_length", 1, *where]
    subprocess.run([str(part) for part in command], check=True)
    ids = load_from_disk(str(args.out / "kept"))["id"]
    (args.out / "kept.txt").write_text("".join(f"{i}\n" for i in ids))


if __name__ == "__main__":
    main()
