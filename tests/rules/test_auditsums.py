"""Sums of the shards' tallies against sums in plain Python."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.rules import audit
from pretrain_data.rules.auditsums import KEYS, _largest, _pieces, _sums, _total, summed

VALUES = ["zh", "en", "mixed", "繁體", "ｆｕｌｌ", "a.example", "例子.测试", audit.MORE, "", audit.NONE]
ROW = st.tuples(
    st.sampled_from([audit.BEFORE, audit.ALL_RULES, "short"]),
    st.sampled_from(["lang", "host"]),
    st.sampled_from(VALUES),
    st.integers(0, 3),
)


def tally(rows: list[tuple[str, str, str, int]]) -> pa.Table:
    """Each row's key once, as a shard has it, with its number as documents and other counts made of it."""
    last = {row[:3]: row[3] for row in rows}
    keys = sorted(last)
    data: dict[str, Any] = {name: [key[i] for key in keys] for i, name in enumerate(KEYS)}
    data |= {name: [last[key] * (i + 1) for key in keys] for i, name in enumerate(audit.COUNTS)}
    return pa.table(data, audit.TALLY)


def by_hand(tables: list[pa.Table], most: int) -> list[dict[str, Any]]:
    sums: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0] * len(audit.COUNTS))
    for table in tables:
        for row in table.to_pylist():
            key = (row["rule"], row["attribute"], row["value"])
            sums[key] = [a + row[n] for a, n in zip(sums[key], audit.COUNTS, strict=True)]
    large = set()
    for attribute in {a for _, a, _ in sums}:
        before = [(-c[0], v) for (r, a, v), c in sums.items() if r == audit.BEFORE and a == attribute]
        large |= {(attribute, v) for _, v in sorted(before)[:most]}
    named: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0] * len(audit.COUNTS))
    for (rule, attribute, value), counts in sums.items():
        key = (rule, attribute, value if (attribute, value) in large else audit.MORE)
        named[key] = [a + b for a, b in zip(named[key], counts, strict=True)]
    return [
        dict(zip(KEYS, key, strict=True)) | dict(zip(audit.COUNTS, named[key], strict=True)) for key in sorted(named)
    ]


@settings(deadline=None, max_examples=150)
@given(
    shards=st.lists(st.lists(ROW, min_size=1, max_size=25), min_size=1, max_size=4),
    most=st.integers(1, 4),
    partitions=st.integers(1, 5),
)
def test_partitions_bring_back_the_sums_of_all(
    shards: list[list[tuple[str, str, str, int]]], most: int, partitions: int
) -> None:
    tables = [tally(rows) for rows in shards]
    homes: dict[int, list[pa.Table]] = defaultdict(list)
    for table in tables:
        for number, piece in _pieces(table, partitions):
            homes[number].append(pa.ipc.open_stream(piece).read_all())
    assert set(homes) <= set(range(partitions))
    parts = [_largest(_total(pieces), most) for pieces in homes.values()]
    every = _sums(pa.concat_tables(parts), [*KEYS, "rest"])
    assert _sums(_largest(every, most).drop(["rest"]), KEYS).to_pylist() == by_hand(tables, most)


def test_no_shard_has_no_sums(tmp_path: Path) -> None:
    assert summed(None, []) == []  # type: ignore[arg-type]


@pytest.mark.spark
def test_on_the_driver_and_in_tasks_alike(tmp_path: Path, spark: Any) -> None:
    draw = random.Random(3)
    tables, files = [], []
    for number in range(5):
        rows = [
            (rule, "host", f"网站{draw.randrange(400)}.example", draw.randrange(1, 50))
            for rule in (audit.BEFORE, "short")
            for _ in range(300)
        ]
        tables.append(tally(rows))
        files.append(tmp_path / f"part-{number}.parquet")
        pq.write_table(tables[-1], files[-1])
    expected = by_hand(tables, audit.MOST_VALUES)
    assert summed(spark, files) == expected
    assert sum(f.stat().st_size for f in files) > 3 * 20_000
    assert summed(spark, files, at_once=20_000) == expected
    assert summed(spark, files, tasks=2, at_once=10_000) == expected
