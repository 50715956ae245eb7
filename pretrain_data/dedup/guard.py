"""What looks wrong before anything is deleted: a source that nearly vanishes, a cluster that swallows the rest."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from pretrain_data.writer import Counts, merge_counts


class Guard(BaseModel):
    """What looks wrong before anything is deleted: a run over a bound warns, or fails before its commit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source_loss: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.8, description="Share of its documents that a source may lose."
    )
    cluster_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.05, description="Share of all documents that one cluster may hold."
    )
    min_documents: Annotated[int, Field(ge=1)] = Field(
        default=100, description="Sources and clusters with fewer documents are not looked at."
    )
    then: Literal["warn", "fail"] = Field(default="warn", description="What a run over a bound does.")


def losses(shards: list[dict[str, Any]], guard: Guard) -> list[str]:
    """Sources that lose more than the guard allows, in words, the worst first."""
    kept: dict[str, Counts] = {}
    dropped: dict[str, Counts] = {}
    for entry in shards:
        merge_counts(kept, entry["kept_by"])
        merge_counts(dropped, entry["dropped_by"])
    worst = []
    for source, (gone, _) in dropped.get("source", {}).items():
        whole = gone + kept.get("source", {}).get(source, [0, 0])[0]
        if whole >= guard.min_documents and gone > guard.source_loss * whole:
            worst.append((gone / whole, source, gone, whole))
    return [
        f"source {source} loses {gone:,} of {whole:,} documents ({share:.1%}; guard.source_loss {guard.source_loss:g})"
        for share, source, gone, whole in sorted(worst, reverse=True)
    ]


def giant(cluster: Any, survivor: Any, ids: pa.Array, documents: int, guard: Guard) -> str | None:
    """What to say about the largest cluster where it is larger than the guard allows; examples are by doc_id."""
    sizes = np.bincount(cluster, minlength=1)
    largest = int(sizes.argmax())
    if sizes[largest] < max(guard.min_documents, guard.cluster_share * documents):
        return None
    members = np.flatnonzero(cluster == largest)
    examples = ", ".join(ids.take(pa.array(members[:: max(1, len(members) // 3)][:3])).to_pylist())
    kept = len(np.unique(survivor[members]))
    return (
        f"one cluster holds {sizes[largest]:,} of {documents:,} documents and keeps {kept:,} "
        f"(guard.cluster_share {guard.cluster_share:g}); of them {examples}"
    )
