"""Three nights of real stages, with all that a crawl does to a calendar, come to what one run over all comes to."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from pretrain_data.commands import open_pipeline
from pretrain_data.nightly import nightly

pytestmark = pytest.mark.spark

STAGES = {
    "ingest": {"input": "in", "source": "crawl"},
    "pii": {},
    # The precedence: of pages alike, the one that was crawled first is kept.
    "dedup": {
        "threshold": 0.7,
        "verify": "exact",
        "survivor": [{"column": "crawl_date", "order": "asc"}, {"column": "source_id", "order": "asc"}],
    },
}
WORDS = "数据 语料 模型 训练 去重 crawl page night 質量 領域 ＡＢＣ token 文本 清洗 order shard 抽取 网页".split()


def article(number: int) -> str:
    """120 words, the same for a number."""
    return " ".join(random.Random(number).choices([f"{w}{i}" for w in WORDS for i in range(9)], k=120))


def deliver(folder: Path, day: str, pages: dict[str, str], name: str = "part") -> None:
    target = folder / "in" / f"dt=2026-01-{day}"
    target.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"{day}-{url}", "url": f"https://example.org/{url}", "text": text} for url, text in pages.items()]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (target / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def pipeline(folder: Path, spark: Any, workspace: str) -> Any:
    (folder / f"{workspace}.yaml").write_text(json.dumps({"workspace": workspace, "stages": STAGES}))
    found = open_pipeline(folder / f"{workspace}.yaml")
    found._spark = spark
    return found


def contents(workspace: Path) -> dict[str, bytes]:
    return {str(p.relative_to(workspace)): p.read_bytes() for n in STAGES for p in (workspace / n).rglob("*.parquet")}


def test_three_nights_are_one_run(tmp_path: Path, spark: Any) -> None:
    taken = []

    def night() -> None:
        summary = json.loads(nightly(pipeline(tmp_path, spark, "w"), wait=0, keep=1).read_text(encoding="utf-8"))
        assert summary["state"] == "done"
        taken.append([row["shards_taken_over"] for row in summary["stages"][:2]])

    first = {f"a{i}": article(i) for i in range(40)} | {"a0-print": article(0)}
    deliver(tmp_path, "02", first)
    night()
    second = {f"b{i}": article(100 + i) for i in range(20)}
    second |= {f"a{i}": first[f"a{i}"] + " 更新 updated" for i in range(10)}  # crawled again, with a line more
    second |= {f"mirror{i}": first[f"a{i}"] for i in range(20, 25)}  # the same elsewhere
    deliver(tmp_path, "03", second)
    night()
    deliver(tmp_path, "04", {f"c{i}": article(200 + i) for i in range(10)})  # no run that night
    deliver(tmp_path, "05", {"a0": first["a0"], **{f"d{i}": article(300 + i) for i in range(10)}})
    deliver(tmp_path, "01", {f"old{i}": article(i) for i in range(30, 33)})  # late: before all the others
    night()
    # Days have shards of their own: none of those before is made again, however late a day comes.
    assert taken == [[0, 0], [1, 1], [2, 2]]

    list(pipeline(tmp_path, spark, "once").run())
    assert contents(tmp_path / "w") == contents(tmp_path / "once")

    kept = set(ds.dataset(tmp_path / "w/dedup/documents").to_table()["source_id"].to_pylist())
    rows = ds.dataset(tmp_path / "w/dedup/dropped").to_table().to_pylist()
    dropped = {row["source_id"]: row["kept_id"] for row in rows}
    assert dropped == (
        {f"03-a{i}": f"02-a{i}" for i in range(10)}
        | {f"03-mirror{i}": f"02-a{i}" for i in range(20, 25)}
        | {"02-a0-print": "02-a0", "05-a0": "02-a0"}
        | {f"02-a{i}": f"01-old{i}" for i in range(30, 33)}  # the late day takes the places of pages that it was before
    )
    assert len(kept) + len(dropped) == 41 + 35 + 10 + 11 + 3
