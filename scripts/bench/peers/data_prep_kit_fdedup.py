"""data-prep-kit's fuzzy dedup, Parquet to kept ids, in an environment of its own; run by scripts/bench/dedup.py.

    python data_prep_kit_fdedup.py FOLDER_OF_PARQUET OUT [--threshold 0.75] [--shingles word]

Its own pure-Python orchestrator and defaults (112 permutations, 14 bands of 8) at this threshold. It wants numbers for
ids, which are put in first. OUT/kept.txt holds the ids of what it keeps.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NUMBER = "int_id_column"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threshold", type=float, default=0.75)
    parser.add_argument("--shingles", default="word")
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    source, made = args.out / "source", args.out / "made"
    source.mkdir(parents=True)
    first = 0
    for path in sorted(args.documents.glob("*.parquet")):
        table = pq.read_table(path)
        numbers = pa.array(range(first, first + table.num_rows), pa.int64())
        pq.write_table(table.append_column(NUMBER, numbers), source / path.name)
        first += table.num_rows
    columns = ["--contents_column", "text", "--document_id_column", NUMBER]
    how = ["--jaccard_similarity_threshold", args.threshold, "--shingle_option", args.shingles]
    how += ["--operation_mode", "filter_duplicates"]
    where = ["--input_folder", source.resolve(), "--output_folder", made.resolve()]
    command = [sys.executable, "-m", "dpk_fdedup.transform_python", *where, *columns, *how]
    subprocess.run([str(part) for part in command], check=True)
    kept = [i for path in sorted((made / "cleaned").rglob("*.parquet")) for i in pq.read_table(path)["id"].to_pylist()]
    (args.out / "kept.txt").write_text("".join(f"{i}\n" for i in kept))


if __name__ == "__main__":
    main()
