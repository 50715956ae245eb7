"""A workspace of two stages, made by hand, whose documents try to break out of the page that shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data import schema

STAGES = ["ingest", "rules", "pii"]
ATTACKS = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script>",
    "<img src=x onerror='window.hacked = 3'>",
    "<svg/onload=window.hacked=4>",
    "javascript:window.hacked=5",
    "]]><!--<script>window.hacked = 6</script>",
    "\u2028window.hacked = 7\u2029</pre></div></body></html>",
    "{{constructor.constructor('window.hacked=8')()}}",
    "\u202e\u2066\x00\x1b[31mreversed\ufffe\U0010ffff",
    "e\u0301\u0302\u0303" * 300,
    "<a href='data:text/html,<script>window.hacked=9</script>'>x</a>",
    "我的手机号是13812345678，邮箱 li.lei@example.com <iframe srcdoc='<script>parent.hacked=10</script>'>",
)


def hostile(count: int = 200) -> list[dict[str, Any]]:
    """Documents whose texts, titles, URLs and sources are attacks; some titles have a million characters."""
    rows = []
    for i in range(count):
        attack = ATTACKS[i % len(ATTACKS)]
        title = attack if i % 10 else (attack + "W" * 1_000_000)
        rows.append(
            {"doc_id": f"{i:032x}", "source_id": f"s{i}", "source": attack[:40], "url": f"https://e.example/{attack}"}
            | {"title": title, "text": f"{attack}\nDocument {i}. {attack}", "origin": f"f#{i}", "lang": "en"}
            | {"format": "prose"}
        )
    return rows


def write(root: Path, rows: list[dict[str, Any]], dropped_every: int = 2) -> Path:
    """Write the stages' folders: `rules` drops every `dropped_every`-th document by a rule in turn."""
    gone = [row for i, row in enumerate(rows) if i % dropped_every == 0]
    kept = [row for i, row in enumerate(rows) if i % dropped_every]
    _stage(root / "ingest", rows, [], rows)
    _stage(root / "rules", rows, gone, kept)
    _stage(root / "pii", kept, [], kept)
    return root


def _stage(folder: Path, rows: list[dict[str, Any]], gone: list[dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    for name in ("documents", "dropped"):
        (folder / name).mkdir(parents=True)
    columns = [schema.BY_NAME[name] for name in kept[0]]
    table = pa.Table.from_pylist(kept, pa.schema([(c.name, c.type) for c in columns]))
    pq.write_table(table, folder / "documents" / "part-00000.parquet")
    ledger = [
        {key: row[key] for key in ("doc_id", "source_id", "url")}
        | {"stage": folder.name, "rule": f"rule_{i % 3}<b>", "value": 0.5 + i / 100, "threshold": 0.5}
        | {"chars": len(row["text"]), "detail": row["text"][:50]}
        for i, row in enumerate(gone)
    ]
    if ledger:
        pq.write_table(pa.Table.from_pylist(ledger, schema.DROPPED), folder / "dropped" / "part-00000.parquet")
    (folder / "_manifest.json").write_text(json.dumps(_manifest(folder.name, rows, ledger, kept)), encoding="utf-8")


def _manifest(name: str, rows: list[Any], ledger: list[Any], kept: list[Any]) -> dict[str, Any]:
    def chars(some: list[dict[str, Any]]) -> int:
        return sum(len(row["text"]) for row in some)

    rules: dict[str, list[int]] = {}
    for entry in ledger:
        count = rules.setdefault(entry["rule"], [0, 0])
        count[0] += 1
        count[1] += entry["chars"]
    metrics: dict[str, Any] = {}
    for rule, (n, _) in rules.items():
        metrics |= {f"rule.{rule}.fires": float(n + 1), f"rule.{rule}.alone": float(n - 1)}
    if name == "pii":
        metrics = {"spans.EMAIL": 3.0, "spans.PHONE": 2.0, "documents_with_spans": 3.0}
    by_source: dict[str, list[int]] = {}
    for row in kept:
        count = by_source.setdefault(row["source"], [0, 0])
        count[0] += 1
        count[1] += len(row["text"])
    return {
        "stage": name,
        "documents_in": len(rows),
        "chars_in": chars(rows),
        "documents": len(kept),
        "dropped": len(ledger),
        "chars": chars(kept),
        "tokens": 0,
        "seconds": 2.0,
        "cpu_seconds": 1.5,
        "rules": rules,
        "kept_by": {"lang": {"en": [len(kept), chars(kept)]}, "source": by_source},
        "dropped_by": {"lang": {"en": [len(ledger), 0]}},
        "metrics": metrics,
        "warnings": ["<script>window.hacked = 11</script>"] if name == "rules" else [],
        "started": "2026-01-01T00:00:00+00:00",
        "config": {},
        "config_hash": f"{name}-1",
        "code_version": "0",
        "seed": 1,
        "fingerprint": "f",
        "shards": [],
    }
