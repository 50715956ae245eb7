"""selection: keeps or drops by all that is known of a document: score, domain, signals, source, language and so on.

Scoring and deciding are two things. `quality` may drop what nobody wants before dedup looks at it; here, behind
classify, the cut may differ by domain, a quantile is exact since all scores are known, and another cut costs no model.
"""

from __future__ import annotations

from typing import ClassVar

from pretrain_data.selection.config import SelectionConfig
from pretrain_data.selection.stage import SelectingStage


class SelectionStageConfig(SelectionConfig):
    """Config of the stage `selection`."""


class SelectionStage(SelectingStage[SelectionStageConfig]):
    """Keeps documents by an expression over their score and all else that is known of them."""

    name: ClassVar[str] = "selection"
    config_class = SelectionStageConfig
    shardwise = True
    needs = ("doc_id", "text", "quality_score")
