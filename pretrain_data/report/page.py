"""Writes `<workspace>/report.html`: one self-contained page that says what happened to the documents.

The page holds its data as JSON, its own scripts and a chart library (Apache ECharts, under `vendor`). It loads
nothing: its content security policy lets through exactly the scripts whose hashes it names, so that nothing that
a document brings along can run; all text is set as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from pretrain_data import __version__
from pretrain_data.report.compare import compare
from pretrain_data.report.distributions import clusters, scores
from pretrain_data.report.figures import figures
from pretrain_data.report.samples import samples
from pretrain_data.writer import write_atomically

REPORT = "report.html"
_HERE = Path(__file__).parent
SCRIPTS = ("vendor/echarts/echarts.min.js", "assets/dom.js", "assets/charts.js", "assets/sections.js")
LANGUAGES = ("en", "zh")


def write_report(
    workspace: Path, stages: list[str], against: Path | None = None, hourly_price: float | None = None
) -> Path:
    """Write the report over the stages that have run; returns its path.

    `against` is another workspace to compare with; `hourly_price` what the machines cost an hour, in any currency.
    """
    data = report_data(workspace, stages, against, hourly_price)
    path = workspace / REPORT
    write_atomically(path, page(data))
    return path


def report_data(
    workspace: Path, stages: list[str], against: Path | None = None, hourly_price: float | None = None
) -> dict[str, Any]:
    """All that the page shows, JSON-ready."""
    data = figures(workspace, stages)
    before = stages[stages.index("dedup") - 1] if "dedup" in stages and stages.index("dedup") else None
    data["scores"] = scores(workspace)
    data["clusters"] = clusters(workspace, before)
    data["samples"] = samples(workspace, stages)
    data["hourly_price"] = hourly_price
    data["against"] = None if against is None else compare(data, figures(against, stages))
    return data


def page(data: dict[str, Any]) -> str:
    """The page over `data` as HTML."""
    scripts = [(_HERE / name).read_text(encoding="utf-8") for name in SCRIPTS]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pretrain_data.report", "assets"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html").render(
        title=data["workspace"],
        version=__version__,
        css=Markup((_HERE / "assets" / "report.css").read_text(encoding="utf-8")),
        data=Markup(embedded(data | {"words": words()})),
        scripts=[Markup(script) for script in scripts],
        script_hashes=Markup(" ".join(_hash(script) for script in scripts)),
    )


def embedded(data: Any) -> str:
    """JSON that can stand inside a script element: no character in it ends the element or opens another."""
    text = json.dumps(finite(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def finite(value: Any) -> Any:
    """`value` with null for NaN and the infinities, which JSON doesn't have."""
    if isinstance(value, dict):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def words() -> dict[str, dict[str, str]]:
    """The page's words by language, from `text/*.yaml`."""
    return {name: yaml.safe_load((_HERE / "text" / f"{name}.yaml").read_text(encoding="utf-8")) for name in LANGUAGES}


def _hash(script: str) -> str:
    """As a content security policy names an inline script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
