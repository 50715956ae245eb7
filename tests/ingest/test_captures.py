"""Identical payloads and URLs crawled again, over the whole input: against brute force, and by nights."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import xxhash

from pretrain_data.commands import open_pipeline
from pretrain_data.ingest import captures

pytestmark = pytest.mark.spark


def test_losers_against_brute_force(spark: Any) -> None:
    rng = random.Random(7)

    def word(kind: str, most: int) -> bytes | None:
        number = min(rng.randrange(most), rng.randrange(most))
        return xxhash.xxh3_128_digest(f"{kind}{number}".encode()) if number < most - 5 else None

    rows = [
        {"shard": i // 40, "row": i % 40, "url": word("u", 90), "payload": word("p", 60)}
        | {"time": f"2026-01-{rng.randrange(1, 20):02d}", "id": f"r{i}"}
        for i in range(600)
    ]

    def latest(group: list[dict[str, Any]]) -> dict[str, Any]:
        return max(group, key=lambda row: (row["time"], row["shard"], row["row"]))

    def first(group: list[dict[str, Any]]) -> dict[str, Any]:
        return group[0]

    for partitions, recrawl, payloads in ((1, True, True), (5, True, False)):
        stays = dict(enumerate(rows))
        expected: dict[tuple[int, int], tuple[str, str]] = {}

        def lose(key: str, rule: str, best: Any, stays: Any, expected: Any) -> None:
            groups: dict[bytes, list[dict[str, Any]]] = {}
            for row in stays.values():
                if row[key] is not None:
                    groups.setdefault(row[key], []).append(row)
            for group in groups.values():
                winner = best(group)
                for row in group:
                    if row is not winner:
                        expected[row["shard"], row["row"]] = (rule, winner["id"])
                        del stays[row["shard"] * 40 + row["row"]]

        if recrawl:
            lose("url", "recrawled", latest, stays, expected)
        if payloads:
            lose("payload", "same_payload", first, stays, expected)
        kinds = "shard int, row long, url binary, payload binary, time string, id string"
        frame = spark.createDataFrame(rows, kinds).repartition(partitions)
        found = captures.losers(frame, recrawl, payloads).collect()
        assert {(r["shard"], r["row"]): (r["rule"], r["kept_id"]) for r in found} == expected
        assert len(found) == len(expected)


def page(url: str, day: str, body: str) -> bytes:
    """A gzip member with one response."""
    http = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>{body}</p>".encode()
    head = f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Record-ID: <{url}@{day}>\r\nWARC-Target-URI: {url}\r\n"
    head += f"WARC-Date: {day}T00:00:00Z\r\nContent-Type: application/http\r\nContent-Length: {len(http)}\r\n\r\n"
    return gzip.compress(head.encode() + http + b"\r\n\r\n", mtime=0)


#: Day, file: (URL, what the page says).
CRAWL = {
    ("2026-01-01", "a"): [
        ("http://a/1", "第一版的正文"),
        ("http://b/1", "第一版的正文"),
        ("http://q/1", "不变"),
    ],
    ("2026-01-01", "b"): [("http://c/1", "only here"), ("http://a/1", "the same night again")],
    ("2026-01-02", "a"): [("http://a/1", "second version"), ("http://d/1", "only here"), ("http://e/1", "独此一页")],
    ("2026-01-03", "a"): [("http://c/1", "third night's version"), ("http://f/1", "second version")],
    ("2026-01-04", "a"): [("http://g/1", "a page that nobody else has")],
}


def deliver(folder: Path, until: str) -> None:
    for (day, name), pages in CRAWL.items():
        if day <= until:
            path = folder / "in" / f"dt={day}" / f"{name}.warc.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(b"".join(page(url, day, body) for url, body in pages))


def run(spark: Any, folder: Path, partitions: int | None = None, **ingest: Any) -> dict[str, Any]:
    stages = {"ingest": {"input": "in", "source": "s", "shard_bytes": 1 << 16, **ingest}}
    (folder / "c.yaml").write_text(
        json.dumps({"workspace": "w", "spark": {"partitions": partitions}, "stages": stages})
    )
    pipeline = open_pipeline(folder / "c.yaml")
    pipeline._spark = spark
    return dict(next(iter(pipeline.run())).manifest or {})


def files(folder: Path) -> dict[str, bytes]:
    out = folder / "w/ingest"
    paths = [path for kind in ("*.parquet", "*.arrow") for path in sorted(out.rglob(kind))]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def rows_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    paths = sorted((folder / "w/ingest" / kind).rglob("*.parquet"))
    return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]


def test_nights_end_in_what_one_run_over_everything_does(spark: Any, tmp_path: Path) -> None:
    nights, once = tmp_path / "nights", tmp_path / "once"
    taken = []
    for day in ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"):
        deliver(nights, day)
        taken.append(run(spark, nights, recrawl="latest", same_payload="drop")["metrics"]["shards_taken_over"])
    deliver(once, "2026-01-04")
    run(spark, once, partitions=1, recrawl="latest", same_payload="drop")
    assert files(nights) == files(once)
    # Night 2 replaces a page of day 1; night 3 another, whose copy of day 2 then comes back; night 4 touches none.
    assert taken == [0, 0, 0, 3]
    kept = {row["url"]: row["text"] for row in rows_of(once, "documents")}
    assert kept == {
        "http://b/1": "第一版的正文",  # what held it first was crawled again
        "http://q/1": "不变",
        "http://a/1": "second version",
        "http://d/1": "only here",  # the older page that said so was crawled again
        "http://e/1": "独此一页",
        "http://c/1": "third night's version",
        "http://g/1": "a page that nobody else has",
    }
    dropped = rows_of(once, "dropped")
    assert Counter(row["rule"] for row in dropped) == {"recrawled": 3, "same_payload": 1}
    again = {row["source_id"]: (row["kept_id"], row["detail"]) for row in dropped if row["rule"] == "recrawled"}
    newest = ("<http://a/1@2026-01-02>", "captured again 2026-01-02T00:00:00")
    assert again["<http://a/1@2026-01-01>"] == newest
    (same,) = [row for row in dropped if row["rule"] == "same_payload"]
    assert (same["url"], same["kept_id"]) == ("http://f/1", "<http://a/1@2026-01-02>")


def test_what_a_night_withdraws_comes_back(spark: Any, tmp_path: Path) -> None:
    deliver(tmp_path, "2026-01-03")
    run(spark, tmp_path, recrawl="latest")
    (tmp_path / "in/dt=2026-01-03/a.warc.gz").unlink()
    run(spark, tmp_path, recrawl="latest")
    assert {row["text"] for row in rows_of(tmp_path, "documents")} >= {"only here", "second version"}
    assert len(rows_of(tmp_path, "documents")) == 6
    assert run(spark, tmp_path)["documents"] == 8, "and by default every version is kept"


def test_special_records_under_strict_policies(spark: Any, shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "crawl_gold/warc/special-00000.warc.gz"
    run(spark, tmp_path, input=str(path), same_payload="drop", recrawl="latest", noindex="drop")
    dropped = rows_of(tmp_path, "dropped")
    rules = Counter(row["rule"] for row in dropped)
    assert rules["noindex"] == 1
    assert rules["recrawled"] == 2, "of three captures of /same the latest stays"
    mirrored = [row for row in dropped if "mirror2.example.net/" in (row["url"] or "")]
    assert {row["rule"] for row in mirrored} == {"same_payload"}
    assert not [row for row in rows_of(tmp_path, "documents") if "mirror2.example.net/" in (row["url"] or "")]
