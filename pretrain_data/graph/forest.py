"""The similarity forest: one maximum spanning forest holds the clusters of every threshold.

Two documents are connected by edges of similarity ≥ t if and only if they are connected by such edges of the
maximum spanning forest; so cutting it at t gives the clusters of t, with no second pass over pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pretrain_data.graph.unionfind import components, spanning

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Forest:
    """Edges over `nodes`, the sorted document numbers that have any: indices into `nodes`, and similarities."""

    nodes: I64
    first: I64
    second: I64
    similarity: F32

    @classmethod
    def of(cls, first: I64, second: I64, similarity: F32) -> Forest:
        """The forest of a graph of document numbers. Ties go to the smaller numbers, so that it is unique."""
        nodes, ends = np.unique(np.concatenate([first, second]), return_inverse=True)
        a, b = ends[: len(first)], ends[len(first) :]
        low, high = np.minimum(a, b), np.maximum(a, b)
        order = np.lexsort((high, low, -similarity))
        low, high, similarity = low[order], high[order], similarity[order]
        joins = spanning(len(nodes), low, high)
        return cls(nodes, low[joins], high[joins], similarity[joins])

    def clusters(self, threshold: float) -> I64:
        """For each node the index of the first node of its cluster at `threshold`."""
        take = self.similarity >= np.float32(threshold)
        return components(len(self.nodes), self.first[take], self.second[take])
