"""The figures of a workspace as plain data: what the report, `--json` and a comparison are made of.

Everything comes from manifests, `rules/audit.json` and the dedup curve; no document is read here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pretrain_data.dataset import read_manifest
from pretrain_data.report.shown import shown

MOST_RULES = 60  # in the bias audit, those that remove most
MOST_VALUES = 14  # of one attribute; the others are left out
COUNTS = ("documents_in", "documents", "dropped", "chars_in", "chars", "tokens")
CURVE = Path("dedup") / "graph" / "curve.parquet"


def figures(workspace: Path, stages: list[str]) -> dict[str, Any]:
    """All figures of the stages that have run, JSON-ready. Counts in documents, code points and tokens."""
    manifests = {name: m for name in stages if (m := read_manifest(workspace / name)) is not None}
    ratios = tokens_per_char(workspace, manifests)
    return {
        "workspace": shown(workspace.name),
        "stages": [_stage(manifest, ratios) for manifest in manifests.values()],
        "rules": [row for manifest in manifests.values() for row in _rules(manifest)],
        "audit": _audit(workspace / "rules" / "audit.json"),
        "dedup": _dedup(workspace, manifests.get("dedup")),
        "pii": _pii(manifests.get("pii")),
        "shares": _shares(manifests),
        "mixture": manifests.get("mix", {}).get("metrics", {}).get("mixture", []),
        "spread": _spread(manifests.get("export", {}).get("metrics", {}).get("spread", {})),
        "made": [_made(manifest) for manifest in manifests.values()],
    }


def tokens_per_char(workspace: Path, manifests: dict[str, Any]) -> dict[str, float]:
    """Trainer tokens a code point by language, from the dedup curve; `""` is for the rest. Empty where unknown."""
    sums: dict[str, tuple[float, float]] = {}
    for row in _curve_rows(workspace):
        if row["threshold"] > 1:  # all documents, before deduplication
            for lang in (row["lang"] or "", ""):
                tokens, chars = sums.get(lang, (0.0, 0.0))
                sums[lang] = (tokens + row["tokens"], chars + row["chars"])
    if not sums and (mix := manifests.get("mix")) and mix["chars_in"]:
        sums[""] = (mix["metrics"].get("tokens_in", 0.0), mix["chars_in"])
    return {lang: tokens / chars for lang, (tokens, chars) in sums.items() if chars}


def _stage(manifest: dict[str, Any], ratios: dict[str, float]) -> dict[str, Any]:
    row = {key: manifest[key] for key in ("stage", *COUNTS)}
    kept, dropped = manifest["kept_by"].get("lang", {}), manifest["dropped_by"].get("lang", {})
    row["uses"] = manifest.get("uses")
    row["tokens_kept"] = manifest["tokens"] or _tokens(kept, manifest["chars"], ratios)
    row["tokens_dropped"] = _tokens(dropped, manifest["chars_in"] - manifest["chars"], ratios)
    row["counted"] = bool(manifest["tokens"])
    row |= {key: manifest[key] for key in ("seconds", "cpu_seconds", "started")}
    row["warnings"] = [shown(w, 2000) for w in manifest["warnings"]]
    return row


def _tokens(by_lang: dict[str, list[int]], chars: int, ratios: dict[str, float]) -> float | None:
    if not ratios:
        return None
    if not by_lang:
        return max(0, chars) * ratios[""]
    return sum(c * ratios.get(lang, ratios[""]) for lang, (_, c) in by_lang.items())


def _rules(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Removals by rule: first hits, and where the stage counts them, all hits and hits of this rule alone."""
    metrics, rows = manifest["metrics"], []
    counted = {key[5:-6] for key in metrics if key.startswith("rule.") and key.endswith(".fires")}
    for name in {*manifest["rules"], *(n for n in counted if metrics[f"rule.{n}.fires"])}:
        documents, chars = manifest["rules"].get(name, (0, 0))
        row = {"stage": manifest["stage"], "rule": shown(name), "documents": documents, "chars": chars}
        row["share"] = documents / manifest["documents_in"] if manifest["documents_in"] else 0.0
        for key, metric in (("fires", "fires"), ("alone", "alone")):
            found = metrics.get(f"rule.{name}.{metric}")
            row[key] = None if found is None else int(found)
        alone = row["alone"]
        row["alone_share"] = (
            alone / manifest["documents_in"] if alone is not None and manifest["documents_in"] else None
        )
        rows.append(row)
    return sorted(rows, key=lambda r: (-r["documents"], -(r["fires"] or 0), r["rule"]))


def _audit(path: Path) -> dict[str, Any] | None:
    """The lift tables, cut to the rules that remove most and the values that are most frequent."""
    try:
        audit = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    sizes = {name: _removed(rule) for name, rule in audit["rules"].items()}
    names = sorted((n for n in sizes if sizes[n]), key=lambda n: (-sizes[n], n))[:MOST_RULES]
    found: dict[str, Any] = {"documents": audit["documents"], "tokens": audit["tokens"], "rules": []}
    for name in names:
        rule = audit["rules"][name]
        row: dict[str, Any] = {"rule": shown(name), "removed": sizes[name], "attributes": {}}
        for attribute, table in rule["attributes"].items():
            row["attributes"][attribute] = {
                "divergence": table["divergence"],
                "values": [
                    {"value": shown(v["value"])}
                    | {k: v[k] for k in ("documents", "removed", "lift", "lift_low", "lift_high")}
                    for v in table["values"][:MOST_VALUES]
                ],
            }
        found["rules"].append(row)
    return found


def _removed(rule: dict[str, Any]) -> int:
    return max((sum(v["removed"] for v in a["values"]) for a in rule["attributes"].values()), default=0)


def _curve_rows(workspace: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    path = workspace / CURVE
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist() if path.is_file() else []
    return rows


def _dedup(workspace: Path, manifest: dict[str, Any] | None) -> dict[str, Any] | None:
    if manifest is None or not (workspace / CURVE).is_file():
        return None
    import pyarrow.parquet as pq

    from pretrain_data.dedup.curve import points

    keys = ("clusters", "largest_cluster", "edges", "split_survivors", "pairs_left_out_of_large_buckets")
    return {
        "threshold": manifest["config"].get("threshold"),
        "target": manifest["config"].get("target_tokens"),
        "curve": [vars(point) for point in points(pq.read_table(workspace / CURVE))],
        "metrics": {key: manifest["metrics"][key] for key in keys if key in manifest["metrics"]},
    }


def _pii(manifest: dict[str, Any] | None) -> dict[str, Any] | None:
    if manifest is None:
        return None
    metrics = manifest["metrics"]
    spans = {key[6:]: int(n) for key, n in metrics.items() if key.startswith("spans.")}
    return {
        "documents": manifest["documents"],
        "with_spans": int(metrics.get("documents_with_spans", 0)),
        "boilerplate_documents": int(metrics.get("boilerplate.documents", 0)),
        "boilerplate_chars": int(metrics.get("boilerplate.chars", 0)),
        "types": [
            {"type": shown(name), "spans": n, "per_million": 1e6 * n / manifest["chars_in"]}
            for name, n in sorted(spans.items(), key=lambda item: (-item[1], item[0]))
            if manifest["chars_in"]
        ],
    }


def _shares(manifests: dict[str, Any]) -> list[dict[str, Any]]:
    """Documents and code points of each value of each column, after each stage that counts it."""
    rows = []
    for manifest in manifests.values():
        for column, values in manifest["kept_by"].items():
            for value, (documents, chars) in _largest(values):
                dropped = manifest["dropped_by"].get(column, {}).get(value, (0, 0))
                row = {"stage": manifest["stage"], "column": column, "value": shown(value)}
                rows.append(row | {"documents": documents, "chars": chars, "dropped": dropped[0]})
    return rows


def _largest(values: dict[str, list[int]], most: int = 40) -> Iterable[tuple[str, list[int]]]:
    return sorted(values.items(), key=lambda item: (-item[1][0], item[0]))[:most]


def _spread(spread: dict[str, Any]) -> list[dict[str, Any]]:
    """Smallest gap over ideal gap, of the order given and of a plain shuffle, by phase and kind of group."""
    return [
        {"phase": shown(phase), "kind": kind, "groups": found["groups"], "order": order, **found[order]}
        for phase, kinds in spread.items()
        for kind, found in kinds.items()
        for order in ("spaced", "plain_shuffle")
        if order in found
    ]


def _made(manifest: dict[str, Any]) -> dict[str, Any]:
    keys = ("stage", "code_version", "config_hash", "seed", "started", "fingerprint")
    return {key: manifest[key] for key in keys} | {"config": _settings(manifest["config"])}


def _settings(config: Any, path: str = "") -> dict[str, str]:
    """A stage's config as dotted keys with their values as JSON, cut to what a page can show."""
    if isinstance(config, dict) and config:
        parts = [(f"{path}.{key}" if path else str(key), value) for key, value in config.items()]
    elif isinstance(config, list) and any(isinstance(value, dict) for value in config):
        parts = [(f"{path}[{i}]", value) for i, value in enumerate(config)]
    else:
        return {shown(path): shown(json.dumps(config, ensure_ascii=False, default=str), 200)}
    return {key: value for name, part in parts for key, value in _settings(part, name).items()}
