"""How much faster pii.find is than its own patterns run over every text by plain `re`; the spans must be the same.

python scripts/bench/pii.py FOLDER      # FOLDER/pii/injected.jsonl and FOLDER/domain/docs.parquet
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.kernels import pii

ADVERSARIAL = 2_000_000  # bytes; of one text


def main(folder: Path) -> None:
    kinds = [pii._type(name) for name in pii.known_types()]
    lines = (folder / "pii/injected.jsonl").read_text(encoding="utf-8").splitlines()
    injected = [json.loads(line)["text"] for line in lines[:1000]]
    real = pq.read_table(folder / "domain/docs.parquet", columns=["text"])["text"].to_pylist()[::12]
    clean = [text for text, spans in zip(real, pii.find(pa.array(real, pa.large_string())), strict=True) if not spans]
    for name, texts in (("injected", injected), ("no spans", clean)):
        array = pa.array(texts, pa.large_string())
        size = array.nbytes / 1e6
        start = time.process_time()
        fast = pii.find(array)
        middle = time.process_time()
        plain = [pii.find_in(text, kinds) for text in texts]
        end = time.process_time()
        same = "same spans" if fast == plain else "SPANS DIFFER"
        print(
            f"{name}: {size:.1f} MB, find {size / (middle - start):.1f} MB/s, re {size / (end - middle):.1f} MB/s, ",
            end="",
        )
        print(f"{(end - middle) / (middle - start):.1f}x, {same}")
    plain_text = ("".join(clean)).encode()[:ADVERSARIAL].decode("utf-8", "ignore")
    for name, text in (("plain text", plain_text), *((c, c * ADVERSARIAL) for c in ("7", "@", "."))):
        start = time.process_time()
        pii.find(pa.array([text], pa.large_string()))
        print(f"one text of {ADVERSARIAL / 1e6:.0f} MB, {name}: {time.process_time() - start:.2f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
