"""Two runs side by side: what changed and where."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Row = dict[str, Any]
MOST_SETTINGS = 200


def compare(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Rows that differ between the figures of two runs, the largest change of a share first."""
    rules = _pairs(old["rules"], new["rules"], lambda r: (r["stage"], r["rule"]), "documents")
    shares = _pairs(_last(old["shares"]), _last(new["shares"]), lambda r: (r["column"], r["value"]), "share")
    stages = _pairs(old["stages"], new["stages"], lambda r: (r["stage"],), "documents")
    return {
        "workspace": old["workspace"],
        "stages": [_named(row, ("stage",)) for row in stages],
        "rules": [_named(row, ("stage", "rule")) for row in _largest(rules)],
        "shares": [_named(row, ("column", "value")) for row in _largest(shares)],
        "configs": [
            {"stage": name, "old": a, "new": b}
            for name, (a, b) in _by(old["made"], new["made"], "config_hash").items()
            if a != b
        ],
        "settings": [
            {"stage": name, "key": key, "old": (a or {}).get(key), "new": (b or {}).get(key)}
            for name, (a, b) in _by(old["made"], new["made"], "config").items()
            for key in dict.fromkeys([*(a or {}), *(b or {})])
            if a is not None and b is not None and a.get(key) != b.get(key)
        ][:MOST_SETTINGS],
    }


def _last(shares: Iterable[Row]) -> list[Row]:
    """Each value's share of the code points after the last stage that counts its column."""
    last: dict[str, list[Row]] = {}
    for row in shares:
        rows = last.setdefault(row["column"], [])
        if rows and rows[0]["stage"] != row["stage"]:
            rows.clear()
        rows.append(row)
    out = []
    for rows in last.values():
        whole = sum(r["chars"] for r in rows) or 1
        out += [row | {"share": row["chars"] / whole} for row in rows]
    return out


def _pairs(old: list[Row], new: list[Row], key: Callable[[Row], tuple[str, ...]], value: str) -> list[Row]:
    a, b = ({key(row): row[value] for row in rows} for rows in (old, new))
    return [{"key": k, "old": a.get(k, 0), "new": b.get(k, 0)} for k in dict.fromkeys([*b, *a])]


def _largest(rows: list[Row], most: int = 200) -> list[Row]:
    changed = [row for row in rows if row["old"] != row["new"]]
    return sorted(changed, key=lambda r: (-abs(r["new"] - r["old"]), r["key"]))[:most]


def _named(row: Row, names: tuple[str, ...]) -> Row:
    return dict(zip(names, row["key"], strict=True)) | {"old": row["old"], "new": row["new"]}


def _by(old: list[Row], new: list[Row], value: str) -> dict[str, tuple[Any, Any]]:
    a, b = ({row["stage"]: row[value] for row in rows} for rows in (old, new))
    return {name: (a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b])}
