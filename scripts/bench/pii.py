"""How much faster pii.find is than its own patterns run over every text by plain `re`; the spans must be the same.

python scripts/bench/pii.py FOLDER      # FOLDER/pii/injected.jsonl and FOLDER/domain/docs.parquet

Times are of the CPU, one thread, the two taking turns over parts of the texts so that a busy machine falls on both.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.kernels import boilerplate, pii

ADVERSARIAL = 10_000_000  # bytes of one text
PARTS = 8
HARD = ("7", "@", ".", "１", "1@", "1.", "路1号")


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` gives, and its CPU seconds."""
    start = time.process_time()
    done = work()
    return done, time.process_time() - start


def compare(name: str, texts: list[str], repeat: int) -> None:
    """Print both speeds and their ratio over `texts`."""
    fast = plain = 0.0
    same = True
    for part in range(PARTS):
        mine = texts[part::PARTS]
        array = pa.array(mine, pa.large_string())
        for _ in range(repeat):
            found, seconds = timed(lambda array=array: pii.find(array).lists(len(array)))  # type: ignore[misc]
            fast += seconds / repeat
        oracle, seconds = timed(lambda mine=mine: [pii.everywhere(text, once=True) for text in mine])  # type: ignore[misc]
        plain += seconds
        same = same and found == [pii.everywhere(text) for text in mine] and len(oracle) == len(mine)
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(
        f"{name}: {size:.1f} MB, find {size / fast:.1f} MB/s, re {size / plain:.2f} MB/s, {plain / fast:.1f}x", end=""
    )
    print(", same spans" if same else ", SPANS DIFFER", flush=True)


def main(folder: Path) -> None:
    lines = (folder / "pii/injected.jsonl").read_text(encoding="utf-8").splitlines()
    injected = [json.loads(line)["text"] for line in lines[:1000]]
    real = pq.read_table(folder / "domain/docs.parquet", columns=["text"])["text"].to_pylist()
    found = pii.find(pa.array(real, pa.large_string())).per_row(len(real))
    clean = [text for text, spans in zip(real, found, strict=True) if not spans]
    compare("injected", injected, 3)
    compare("no spans", clean[::12], 3)
    everything = pa.array(clean, pa.large_string())
    size = everything.nbytes / 1e6
    print(f"no spans, {size:.0f} MB: find {size / timed(lambda: pii.find(everything))[1]:.0f} MB/s")
    print(f"boilerplate over the same: {size / timed(lambda: boilerplate.remove(everything))[1]:.0f} MB/s")
    text = pa.array(["".join(clean).encode()[:ADVERSARIAL].decode("utf-8", "ignore")], pa.large_string())
    usual = min(timed(lambda: pii.find(text))[1] for _ in range(3))
    print(f"one text of {ADVERSARIAL / 1e6:.0f} MB, plain: {usual:.2f} s")
    for hard in HARD:
        array = pa.array([hard * (ADVERSARIAL // len(hard.encode()))], pa.large_string())
        seconds = timed(lambda array=array: pii.find(array))[1]  # type: ignore[misc]
        print(f"  {hard!r} over and over: {seconds:.2f} s, {seconds / usual:.1f}x", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
