"""The table that trainers fill in: one line a run, CSV.

    run,order,params,tokens,share:zh-knowledge,share:code,loss:zh-knowledge,loss:code,score:arc
    m00-shuffled,shuffled,1000000,50000000,0.6,0.4,3.41,2.02,0.31

`share:` columns are the mixture (they are scaled to one), `loss:` columns validation loss in nats a token by channel,
`score:` columns benchmark scores; `order` may be absent. An empty field is a figure that the run doesn't have.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrain_data.errors import InputError
from pretrain_data.experiments.laws import Runs

NEEDED = ("run", "params", "tokens")


@dataclass(frozen=True)
class Results:
    """Runs and what came of them; `loss` and `scores` hold one array a name, NaN where a run has no figure."""

    names: list[str]
    orders: list[str]
    channels: list[str]  # of the mixture
    runs: Runs
    loss: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]

    def of_order(self, order: str) -> Results:
        return self.take([i for i, o in enumerate(self.orders) if o == order])

    def take(self, rows: list[int]) -> Results:
        return Results(
            [self.names[i] for i in rows],
            [self.orders[i] for i in rows],
            self.channels,
            self.runs.take(rows),
            {name: values[rows] for name, values in self.loss.items()},
            {name: values[rows] for name, values in self.scores.items()},
        )


def read_results(path: Path) -> Results:
    """Read a results table. Raises InputError with line and column of what can't be."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = header
            rows = list(reader)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of the table") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: can't be read as CSV ({error})") from None
    shares, losses, scores = ([n for n in header if n.startswith(f"{kind}:")] for kind in ("share", "loss", "score"))
    missing = [name for name in NEEDED if name not in header]
    if missing or not losses:
        raise InputError(f"{path}: needs the columns {', '.join(NEEDED)} and loss:CHANNEL; has {', '.join(header)}")
    if len(set(header)) < len(header):
        raise InputError(f"{path}: a column stands twice")
    if not rows:
        raise InputError(f"{path}: no runs in it")

    def number(line: int, column: str, least: float, empty: float | None = None) -> float:
        text = (rows[line][column] or "").strip()
        if not text and empty is not None:
            return empty
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < least:
            raise InputError(f"{path}, line {line + 2}, column {column}: {text!r} is not a number of {least:g} or more")
        return value

    def column(name: str, least: float, empty: float | None = None) -> np.ndarray:
        return np.array([number(i, name, least, empty) for i in range(len(rows))])

    mixture = np.stack([column(n, 0.0, 0.0) for n in shares], axis=1) if shares else np.ones((len(rows), 1))
    total = mixture.sum(axis=1, keepdims=True)
    if (total <= 0).any():
        raise InputError(f"{path}, line {int(np.argmin(total)) + 2}: a mixture without shares")
    runs = Runs(mixture / total, column("params", 1.0), column("tokens", 1.0))
    return Results(
        [(r["run"] or "").strip() for r in rows],
        [((r.get("order") or "").strip() or "shuffled") for r in rows],
        [n.partition(":")[2] for n in shares] or ["all"],
        runs,
        {n.partition(":")[2]: column(n, 1e-9, math.nan) for n in losses},
        {n.partition(":")[2]: column(n, -math.inf, math.nan) for n in scores},
    )


def append_result(path: Path, row: Mapping[str, object]) -> None:
    """Add a run's line; the first one writes the header, later ones must have its columns."""
    header = list(row)
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            known = next(csv.reader(file), [])
        if sorted(known) != sorted(header):
            raise InputError(f"{path}: its columns are {', '.join(known)}, the run's {', '.join(header)}")
        header = known
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, header, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)
