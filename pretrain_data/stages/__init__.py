"""One file a stage; stages meet only through columns."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pretrain_data.stage import Stage

#: Running order, and where each stage lives. A new stage is a line here and a file beside this one.
ORDER = {
    "ingest": "IngestStage",
    "rules": "Rules",
    "quality": "QualityStage",
    "pii": "PiiStage",
    "dedup": "DedupStage",
    "classify": "ClassifyStage",
    "selection": "SelectionStage",
    "decontaminate": "DecontaminateStage",
    "mix": "MixStage",
    "export": "ExportStage",
    "synthesize": "SynthesizeStage",  # last: what it makes is an input of the next run
}


def registry() -> dict[str, type[Stage[Any]]]:
    """All stages by name, in running order."""
    return {name: getattr(import_module(f"{__name__}.{name}"), cls) for name, cls in ORDER.items()}
