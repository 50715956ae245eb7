"""The curve by hand and against Cochran's ratio estimator worked out by other means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pretrain_data.dedup import curve
from pretrain_data.dedup.plan import plan
from pretrain_data.errors import ConfigError, InputError


def group(lang: str, chars: list[int], tokens: list[int | None]) -> dict[str, object]:
    counted = [(c, t) for c, t in zip(chars, tokens, strict=True) if t is not None]
    x, y = np.array(counted, float).reshape(-1, 2).T
    sums = {"x": x.sum(), "y": y.sum(), "xx": (x * x).sum(), "xy": (x * y).sum(), "yy": (y * y).sum()}
    base = {"lang": lang, "channel": "prose", "documents": len(chars), "chars": sum(chars), "n": len(counted)}
    return base | sums


def members(rows: list[tuple[str, int]]) -> pa.Table:
    return pa.table(
        {
            "lang": [r[0] for r in rows],
            "channel": ["prose"] * len(rows),
            "chars": [r[1] for r in rows],
            "tokens": pa.array([None] * len(rows), pa.int64()),
        }
    )


def test_the_ratio_and_its_error_are_cochran_s() -> None:
    chars, tokens = [10, 20, 30, 40, 50], [3, 5, 8, 9, None]
    (row,) = curve.Totals.of([group("en", chars, tokens)]).table.to_pylist()
    x, y = np.array(chars[:4]), np.array(tokens[:4])
    ratio = y.sum() / x.sum()
    residual = y - ratio * x
    error = np.sqrt((residual**2).sum() / 3 / 4) / x.mean()
    assert row["ratio"] == pytest.approx(ratio)
    assert row["ratio_sd"] == pytest.approx(error)
    assert row["tokens"] == pytest.approx(ratio * 150)
    # Where all are counted nothing is estimated; where none is, the ratio of all stands in.
    rows = curve.Totals.of([group("en", [10, 20], [4, 6]), group("zh", [7], [None])]).table.to_pylist()
    assert [(r["lang"], r["ratio_sd"] > 0) for r in rows] == [("en", False), ("zh", True)]
    assert [r["tokens"] for r in rows] == pytest.approx([10, 7 / 3])


def test_what_is_kept_by_hand() -> None:
    totals = curve.Totals.of([group("en", [100, 100, 60], [50, 50, 30]), group("zh", [10, 10], [10, 10])])
    # At 0.5 the second and third English and the second Chinese go; at 1 the second English alone.
    gone = {0.5: [False, True, True, False, True], 1.0: [False, True, False, False, False]}
    rows = members([("en", 100), ("en", 100), ("en", 60), ("zh", 10), ("zh", 10)])
    table = curve.curve(
        totals, rows, [0.5, 1.0], [np.array(gone[t]) for t in (0.5, 1.0)], lambda t: np.array([0, 0, 0, 3, 3], np.int64)
    )
    found = {(r["threshold"], r["lang"]): (r["documents"], r["chars"], r["tokens"]) for r in table.to_pylist()}
    assert found == {
        (curve.NONE, "en"): (3, 260, 130.0),
        (curve.NONE, "zh"): (2, 20, 20.0),
        (0.5, "en"): (1, 100, 50.0),
        (0.5, "zh"): (1, 10, 10.0),
        (1.0, "en"): (2, 160, 80.0),
        (1.0, "zh"): (2, 20, 20.0),
    }
    low, high, none = curve.points(table)
    assert (low.threshold, low.documents, low.tokens) == (0.5, 2, 60.0)
    # One English cluster lost 80 tokens, one Chinese 10.
    assert low.high - low.tokens == pytest.approx(1.96 * np.sqrt(80**2 + 10**2))
    assert none.low == none.high == 150.0
    assert curve.points(table, scale=10)[0].tokens == 600.0
    assert curve.strictest([low, high, none], 60) is low
    assert curve.strictest([low, high, none], 61) is high
    assert curve.strictest([low, high, none], 101) is None


def test_a_plan_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run dedup first"):
        plan(tmp_path, "1T", None)
    with pytest.raises(ConfigError, match="'10 tons' is not a number of tokens"):
        plan(tmp_path, "10 tons", None)
