"""Figures on examples that the model has not seen: ranking, decisions, calibration, by language, format and length."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pretrain_data.models.training.labels import Example

Floats = npt.NDArray[Any]
LENGTHS = (0, 200, 500, 1000, 2000, 5000, 10_000)  # characters, lower ends of the groups


def auc(scores: Floats, positive: npt.NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve by the rank sum, ties at half; None without both classes."""
    count = int(positive.sum())
    if count in (0, len(positive)):
        return None
    _, inverse, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[inverse]
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


def f1(confusion: Floats) -> Floats:
    """F1 of each label; `confusion` is true label × predicted label. NaN for a label that occurs in neither."""
    hits = np.diag(confusion).astype(float)
    total = confusion.sum(0) + confusion.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 2 * hits / total, np.nan)


def calibration(confidence: Floats, right: npt.NDArray[np.bool_], bins: int = 10) -> dict[str, Any]:
    """Expected calibration error (Naeini et al. 2015) and its bins: mean confidence, share right, count."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    found = []
    error = 0.0
    for b in range(bins):
        inside = which == b
        if inside.any():
            said, true = float(confidence[inside].mean()), float(right[inside].mean())
            error += abs(said - true) * inside.mean()
            found.append({"confidence": round(said, 4), "right": round(true, 4), "count": int(inside.sum())})
    return {"expected_calibration_error": round(float(error), 4), "bins": found}


def report(examples: list[Example], probabilities: Floats, labels: tuple[str, ...]) -> dict[str, Any]:
    """All figures of one set of examples. `probabilities` is examples × labels."""
    if not examples:
        return {"documents": 0}
    truth = np.array([labels.index(str(e.label)) for e in examples])
    best = probabilities.argmax(1)
    out = _figures(truth, probabilities, labels)
    out["calibration"] = calibration(probabilities.max(1), best == truth)
    for name, groups in (
        ("by_lang", np.array([e.lang for e in examples])),
        ("by_format", np.array([e.format for e in examples])),
        ("by_source", np.array([e.source for e in examples])),
    ):
        parts = {str(g): groups == g for g in np.unique(groups)}
        out[name] = {g: _figures(truth[m], probabilities[m], labels) for g, m in parts.items()}
    sizes = np.array([len(e.text) for e in examples])
    which = np.searchsorted(LENGTHS, sizes, side="right") - 1
    positive = labels.index("high") if "high" in labels else None
    out["by_length"] = {}
    for i, low in enumerate(LENGTHS):
        inside = which == i
        if inside.any():
            line: dict[str, Any] = {"documents": int(inside.sum())}
            line["right"] = round(float((best == truth)[inside].mean()), 4)
            if positive is not None:
                line["mean_score"] = round(float(probabilities[inside, positive].mean()), 4)
            out["by_length"][f"{low}+"] = line
    return out


def _figures(truth: Floats, probabilities: Floats, labels: tuple[str, ...]) -> dict[str, Any]:
    best = probabilities.argmax(1)
    confusion = np.zeros((len(labels), len(labels)), int)
    np.add.at(confusion, (truth, best), 1)
    scores = f1(confusion)
    occurring = confusion.sum(1) > 0
    out: dict[str, Any] = {
        "documents": len(truth),
        "accuracy": round(float((best == truth).mean()), 4),
        "macro_f1": round(float(np.mean(scores[occurring])), 4),  # over the labels that occur
        "f1": {label: round(float(s), 4) for label, s in zip(labels, scores, strict=True) if not np.isnan(s)},
        "confusion": confusion.tolist(),
    }
    if "high" in labels:
        index = labels.index("high")
        area = auc(probabilities[:, index], truth == index)
        out["auc"] = None if area is None else round(area, 4)
    return out
