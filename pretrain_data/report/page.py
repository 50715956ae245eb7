"""Writes `<workspace>/report.html`: one self-contained page that says what happened to the documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from pretrain_data.dataset import read_manifest
from pretrain_data.writer import write_atomically

REPORT = "report.html"


def write_report(workspace: Path, stages: list[str]) -> Path:
    """Write the report over the stages that have run; returns its path.

    Everything comes from the manifests. All text is escaped: nothing in a document can run here.
    """
    manifests = [m for name in stages if (m := read_manifest(workspace / name)) is not None]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pretrain_data.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    html = environment.get_template("report.html").render(
        workspace=workspace.name, stages=[_section(m) for m in manifests]
    )
    path = workspace / REPORT
    write_atomically(path, html)
    return path


def _section(manifest: dict[str, Any]) -> dict[str, Any]:
    documents_in = manifest["documents_in"]
    rules = sorted(manifest["rules"].items(), key=lambda item: (-item[1][0], item[0]))
    return {
        **{k: manifest[k] for k in ("stage", "documents_in", "documents", "dropped", "chars", "tokens")},
        "seconds": manifest["seconds"],
        "cpu_seconds": manifest["cpu_seconds"],
        "kept_share": manifest["documents"] / documents_in if documents_in else 1.0,
        "rules": [
            {"name": name, "documents": d, "chars": c, "share": d / documents_in if documents_in else 0.0}
            for name, (d, c) in rules
        ],
        "by": [_shares(manifest, column) for column in sorted(manifest["kept_by"])],
        "metrics": sorted((k, v) for k, v in manifest["metrics"].items() if isinstance(v, int | float)),
    }


def _shares(manifest: dict[str, Any], column: str) -> dict[str, Any]:
    """Kept and dropped documents for each value of a column."""
    kept, dropped = manifest["kept_by"][column], manifest["dropped_by"].get(column, {})
    rows = []
    for value in sorted({*kept, *dropped}, key=lambda v: (-kept.get(v, [0])[0], v)):
        k, d = kept.get(value, [0, 0])[0], dropped.get(value, [0, 0])[0]
        rows.append({"value": value, "kept": k, "dropped": d, "share": d / (k + d)})
    return {"column": column, "rows": rows}
