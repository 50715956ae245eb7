"""What happened to the documents: the funnel over all stages, and the tables that show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from pretrain_data.dataset import read_manifest

TOP_RULES = 3  # rules named in a line of the funnel; the report names all


def funnel(workspace: Path, stages: list[str]) -> list[dict[str, Any]]:
    """One row a stage that has run: documents in, kept and dropped, characters, tokens, rules, time."""
    rows = []
    for name in stages:
        manifest = read_manifest(workspace / name)
        if manifest is not None:
            keys = (
                "documents_in",
                "documents",
                "dropped",
                "chars",
                "tokens",
                "rules",
                "seconds",
                "cpu_seconds",
            )
            rows.append({"stage": name, **{k: manifest[k] for k in keys}})
    return rows


def line(outcome: Any) -> str:
    """One stage's outcome in a line of text."""
    m = outcome.manifest
    text = f"{outcome.stage:<9}{outcome.state:<11}{m['documents_in']:>9,} in {m['documents']:>9,} kept "
    text += f"{m['dropped']:>8,} dropped"
    return text + (f"  {m['seconds']:6.1f} s" if outcome.state == "done" else "")


def funnel_table(rows: list[dict[str, Any]]) -> Table:
    """The funnel for a terminal."""
    table = Table(title="funnel", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("stage", no_wrap=True)
    for heading in ("in", "kept", "dropped", "Mchars", "Mtokens", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    # One rule a line: names broken in the middle can't be read, nor found in a config.
    table.add_column("dropped most by", overflow="fold")
    for row in rows:
        rules = sorted(row["rules"].items(), key=lambda item: (-item[1][0], item[0]))[:TOP_RULES]
        table.add_row(
            row["stage"],
            f"{row['documents_in']:,}",
            f"{row['documents']:,}",
            f"{row['dropped']:,}",
            f"{row['chars'] / 1e6:.2f}",
            f"{row['tokens'] / 1e6:.2f}" if row["tokens"] else "",
            f"{row['seconds']:.1f}",
            "\n".join(f"{name} {counts[0]:,}" for name, counts in rules),
        )
    return table


def status_table(rows: list[dict[str, Any]]) -> Table:
    """The state of each stage for a terminal."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("stage", "state", "documents", "dropped", "last run"):
        table.add_column(heading)
    for row in rows:
        m = row["manifest"]
        figures = (f"{m['documents']:,}", f"{m['dropped']:,}", m["started"]) if m else ("", "", "")
        table.add_row(row["stage"], row["state"], *figures)
    return table
