"""What the last run of each stage came to, as figures: JSON, or the text format that Prometheus reads.

Figures are those of the manifests, so they say what lies in the workspace and not how many runs it took.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

from pretrain_data.dataset import read_manifest

#: Manifest key → (name, what it is). Units are in the names, as Prometheus asks.
FIGURES = {
    "documents_in": ("documents_in", "Documents that went into the stage."),
    "documents": ("documents_out", "Documents kept."),
    "dropped": ("documents_dropped", "Documents dropped, all of them in the ledger."),
    "chars": ("characters_out", "Characters of the documents kept."),
    "tokens": ("tokens_out", "Tokens of the documents kept, where they are counted."),
    "seconds": ("duration_seconds", "Wall-clock time of the run that made the output."),
    "cpu_seconds": ("cpu_seconds", "CPU time of the Python workers."),
}
PREFIX = "pretrain_data_"


def collect(workspace: Path, stages: list[str]) -> list[dict[str, Any]]:
    """For each stage with an output: its figures, drops by rule, warnings, and when it was made (Unix seconds)."""
    found = []
    for stage in stages:
        manifest = read_manifest(workspace / stage)
        if manifest is None:
            continue
        row = {"stage": stage} | {name: manifest[key] for key, (name, _) in FIGURES.items()}
        row["rules"] = {rule: documents for rule, (documents, _) in sorted(manifest["rules"].items())}
        row["warnings"] = len(manifest.get("warnings", []))
        row["made"] = datetime.fromisoformat(manifest["started"]).timestamp() + manifest["seconds"]
        found.append(row)
    return found


def prometheus(rows: list[dict[str, Any]]) -> str:
    """The figures in Prometheus's text format, for a textfile collector or a push."""
    registry = CollectorRegistry()
    registry.register(_Collector(rows))  # type: ignore[arg-type]
    return generate_latest(registry).decode()


class _Collector:
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def collect(self) -> Iterator[GaugeMetricFamily]:
        about = [
            *FIGURES.values(),
            ("warnings", "Warnings of the run that made the output."),
            ("made", "When the output was made, in Unix seconds."),
        ]
        for name, text in about:
            family = GaugeMetricFamily(
                PREFIX + ("made_timestamp_seconds" if name == "made" else name), text, labels=["stage"]
            )
            for row in self.rows:
                family.add_metric([row["stage"]], row[name])
            yield family
        drops = GaugeMetricFamily(
            PREFIX + "documents_dropped_by_rule", "Documents dropped by one rule.", labels=["stage", "rule"]
        )
        for row in self.rows:
            for rule, documents in row["rules"].items():
                drops.add_metric([row["stage"], rule], documents)
        yield drops
