"""quality: an encoder's score for prose, as one feature among others; other formats never meet it.

What a score leads to is `keep_if`'s to say (see `selection.expression`): by default nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pretrain_data.kernels import scoring
from pretrain_data.models.cascade import Cascade
from pretrain_data.models.config import ScorerKeys, model_files, open_scorer
from pretrain_data.selection.config import SelectionConfig
from pretrain_data.selection.expression import strings
from pretrain_data.selection.stage import SelectingStage

DECIMALS = 4  # a score is kept to these: the rest differs between devices


class QualityConfig(ScorerKeys, SelectionConfig):
    """Which model scores, and what a score leads to."""

    formats: tuple[str, ...] = Field(default=("prose",), description="Formats that are scored; all others pass.")
    per_lang: dict[str, ScorerKeys] = Field(
        default_factory=dict, description="Scorers for single languages, {zh: {model: …}}; the others take the above."
    )


@dataclass(frozen=True)
class _Read:
    """What one scorer read of a batch: rows, and their tokens."""

    scorer: Any
    keys: ScorerKeys
    rows: npt.NDArray[np.int64]
    read: Any


class QualityStage(SelectingStage[QualityConfig]):
    """Scores prose with a BERT-family encoder."""

    name: ClassVar[str] = "quality"
    config_class = QualityConfig
    shardwise = True
    needs = ("doc_id", "text")
    adds = ("quality_score",)
    samples = True

    def resources(self) -> list[Path]:
        found = [
            path for keys in (self.config, *self.config.per_lang.values()) for path in model_files(keys, "quality")
        ]
        return [*super().resources(), *found]

    def scored(self, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, dict[str, float]]]:
        """Batches with their scores; while the model works on one, a thread tokenises the next."""
        device = scoring.device_of_task()
        for batch, parts in scoring.ahead(batches, lambda batch: self._read(batch, device)):
            scores = np.full(batch.num_rows, np.nan, np.float32)
            for part in parts:
                found = part.scorer.score(part.read, part.keys.tokens_per_batch)
                scores[part.rows] = np.round(found[:, part.keys.score_of(part.scorer.labels)], DECIMALS)
            unclear = sum(len(part.read.unclear) for part in parts if isinstance(part.scorer, Cascade))
            figures = {"left_to_encoder": float(unclear)} if self._cascades else {}
            yield _with_column(batch, pa.array(scores, mask=np.isnan(scores))), figures

    @property
    def _cascades(self) -> bool:
        return any(keys.cascade_of("quality") is not None for keys in (self.config, *self.config.per_lang.values()))

    def _read(self, batch: pa.RecordBatch, device: str) -> list[_Read]:
        wanted = _formats_mask(batch, self.config.formats)
        lang = strings(batch, "lang")
        parts = []
        for name, keys in self.config.per_lang.items():
            own = wanted & np.asarray(pc.fill_null(pc.equal(lang, name), False))
            wanted &= ~own
            parts.append((keys, own))
        parts.append((self.config, wanted))
        return [self._part(batch, keys, np.flatnonzero(mask), device) for keys, mask in parts if mask.any()]

    def _part(self, batch: pa.RecordBatch, keys: ScorerKeys, rows: npt.NDArray[np.int64], device: str) -> _Read:
        scorer = open_scorer(keys, "quality", device)
        texts = batch.column("text").take(pa.array(rows)).to_pylist()
        return _Read(scorer, keys, rows, scorer.read([t or "" for t in texts], keys.max_tokens, keys.reading))


def _with_column(batch: pa.RecordBatch, scores: pa.Array) -> pa.RecordBatch:
    known = batch.schema.get_field_index("quality_score")
    if known >= 0:
        return batch.set_column(known, "quality_score", scores)
    return batch.append_column("quality_score", scores)


def _formats_mask(batch: pa.RecordBatch, formats: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Which rows have one of these formats; without the column, all."""
    if "format" not in batch.schema.names:
        return np.ones(batch.num_rows, bool)
    return np.asarray(pc.fill_null(pc.is_in(strings(batch, "format"), pa.array(formats, pa.string())), True))
