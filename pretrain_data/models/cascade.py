"""A cheap scorer before a dear one: it decides the clear cases, and only the rest is tokenised and sent to the encoder.

`scripts/bench/cascade.py` measures what that costs and loses at each threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pretrain_data.errors import ConfigError
from pretrain_data.kernels.scoring import Reading
from pretrain_data.models.loading import Scorer


@dataclass(frozen=True)
class Clear:
    """What the first scorer makes of texts, and what the second read of those that are not clear."""

    probabilities: npt.NDArray[np.float32]
    unclear: npt.NDArray[np.int64]
    read: Any


@dataclass(frozen=True)
class Cascade:
    """Two scorers with the same labels; the first is believed from a probability of `sure` on."""

    first: Scorer
    second: Scorer
    sure: float
    order: tuple[int, ...]  # of the first one's labels, so that they stand as the second's do

    @classmethod
    def of(cls, first: Scorer, second: Scorer, sure: float) -> Cascade:
        """Raises ConfigError where the two have other labels."""
        if sorted(first.labels) != sorted(second.labels):
            raise ConfigError(
                f"cascade: the first model has the labels {', '.join(sorted(first.labels))}, the second "
                f"{', '.join(sorted(second.labels))}; train both on the same ones"
            )
        return cls(first, second, sure, tuple(first.labels.index(label) for label in second.labels))

    @property
    def labels(self) -> tuple[str, ...]:
        return self.second.labels

    def read(self, texts: Sequence[str], max_tokens: int, reading: Reading = "head") -> Clear:
        """The first scorer's answer, and the tokens of what it is not sure of."""
        found = self.first.score(self.first.read(texts, max_tokens, reading))[:, list(self.order)]
        unclear = np.flatnonzero(found.max(1, initial=0) < self.sure)
        return Clear(found, unclear, self.second.read([texts[i] for i in unclear.tolist()], max_tokens, reading))

    def score(self, read: Clear, tokens_per_batch: int | None = None) -> npt.NDArray[np.float32]:
        """Probabilities, texts × labels."""
        out = read.probabilities.copy()
        if len(read.unclear):
            out[read.unclear] = self.second.score(read.read, tokens_per_batch)
        return out
