"""The model card: what a scorer was trained on and how it does on sources that it has not seen."""

from __future__ import annotations

from typing import Any


def card(found: dict[str, Any]) -> str:
    """Markdown from what `run.train` returns. Figures are of unseen sources unless said otherwise."""
    config = found["config"]
    unseen = found["figures"]["unseen_sources"]
    begun = f" from `{found['base']}`" if found["engine"] == "bert" else ""
    lines = [
        f"# A {found['task']} scorer",
        "",
        f"Trained by `pretrain-data train {found['task']}` ({found['engine']}){begun} in "
        f"{found['minutes']} minutes; ended by: {found['stopped']}. Labels: {', '.join(found['labels'])}. "
        f"Reads {config['max_tokens']} tokens of a document.",
        "",
        "## Split",
        "",
        "Nothing of these sources was trained on: " + (", ".join(found["held_out_sources"]) or "none") + ".",
        "",
        "| | source, language, label | documents |",
        "|---|---|---|",
        *(f"| {use} | {name} | {n} |" for use, parts in found["documents"].items() for name, n in parts.items()),
        "",
        "## On unseen sources",
        "",
    ]
    lines += _figures(unseen) if unseen.get("documents") else ["No source was held out."]
    lines += ["", "## On held-out documents of the training's sources", ""]
    lines += _figures(found["figures"]["validation"]) if found["figures"]["validation"].get("documents") else ["None."]
    if "llm" in found:
        spent = found["llm"]
        lines += ["", f"Labels by {spent['model']}: {spent['answered']} answers, cost {spent['cost']:.2f}."]
    lines += ["", "All figures, the config and the course of the training: `training.json`.", ""]
    return "\n".join(lines)


def _figures(part: dict[str, Any]) -> list[str]:
    lines = ["| | documents | accuracy | macro-F1 | AUC |", "|---|---|---|---|---|", _line("all", part)]
    for kind in ("by_lang", "by_format", "by_source"):
        lines += [_line(f"{kind.removeprefix('by_')} {name}", one) for name, one in part[kind].items()]
    error = part["calibration"]["expected_calibration_error"]
    lines += ["", f"Expected calibration error {error}.", "", "| characters | documents | right | mean score |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {name} | {one['documents']} | {one['right']} | {one.get('mean_score', '')} |"
        for name, one in part["by_length"].items()
    ]
    return lines


def _line(name: str, one: dict[str, Any]) -> str:
    area = one.get("auc")
    return f"| {name} | {one['documents']} | {one['accuracy']} | {one['macro_f1']} | {'' if area is None else area} |"
