"""Data-Juicer's MinHash, Parquet to kept ids, in an environment of its own; run by scripts/bench/dedup.py.

    python data_juicer_minhash.py FOLDER_OF_PARQUET OUT [--workers 2] [--threshold 0.75] [--tokenization space]

Its default executor with its recipe's settings; `character` is what it recommends for Chinese. OUT/kept.txt holds the
ids of what it keeps. Its loader would install packages while it runs: that is switched off.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threshold", type=float, default=0.75)
    parser.add_argument("--tokenization", default="space")
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    minhash = {
        "tokenization": args.tokenization,
        "window_size": 5,
        "num_permutations": 128,
        "jaccard_threshold": args.threshold,
    }
    recipe = {
        "project_name": "dedup",
        "dataset_path": str(args.documents.resolve()),
        "export_path": str(args.out.resolve() / "kept.jsonl"),
        "np": args.workers,
        "text_keys": "text",
        "open_tracer": False,
        "use_cache": False,
        "process": [{"document_minhash_deduplicator": minhash}],
    }
    config = args.out / "recipe.yaml"
    config.write_text(json.dumps(recipe))
    offline = {"UV_OFFLINE": "1", "UV_NO_INDEX": "1", "PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}
    command = [str(Path(sys.executable).parent / "dj-process"), "--config", str(config)]
    subprocess.run(command, check=True, env={**os.environ, **offline})
    with (args.out / "kept.jsonl").open() as lines, (args.out / "kept.txt").open("w") as kept:
        for line in lines:
            kept.write(f"{json.loads(line)['id']}\n")


if __name__ == "__main__":
    main()
