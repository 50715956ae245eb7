"""Samples of what the pii stage found, masked, with the text around: to judge it without reading anybody's data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from pretrain_data.dataset import Dataset, read_shard
from pretrain_data.errors import InputError

AROUND = 40  # characters shown on each side


def mask(value: str) -> str:
    """The form of a value: 9 for digits, x and X for letters, 某 for characters of scripts without case."""
    return "".join(_masked(char) for char in value)


def _masked(char: str) -> str:
    if char.isdigit():
        return "9"
    if not char.isalpha():
        return char
    return "X" if char.isupper() else "x" if char.islower() else "某"


def samples(
    before: Dataset, after: Dataset, limit: int, kind: str | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """At most `limit` spans (of one type): doc_id, type, masked value, text before and after, all spans in it masked.

    `before` is the input of the stage and `after` what it wrote. Shards are looked through in an order that the seed
    makes, until there are enough; within a shard spans are chosen by hash, so the same call gives the same samples.
    Raises InputError where the two don't belong together.
    """
    read = {shard.name: shard for shard in before.shards}
    found: list[dict[str, Any]] = []
    for shard in sorted(after.shards, key=lambda shard: _rank(seed, shard.name)):
        if len(found) >= limit:
            break
        if shard.name not in read:
            raise InputError(f"{shard.name} is not in the input of pii: run the stage again")
        spans: dict[str, list[dict[str, Any]]] = {}
        for batch in read_shard(shard, ["doc_id", "pii_spans"]):
            for row in batch.select(["doc_id", "pii_spans"]).to_pylist():
                if row["pii_spans"]:
                    spans[row["doc_id"]] = row["pii_spans"]
        chosen = sorted(
            (_rank(seed, f"{doc}/{i}"), doc, i)
            for doc, all_spans in spans.items()
            for i, span in enumerate(all_spans)
            if kind is None or span["type"] == kind
        )[: limit - len(found)]
        wanted: dict[str, list[int]] = {}
        for _, doc, i in chosen:
            wanted.setdefault(doc, []).append(i)
        for batch in read_shard(read[shard.name], ["doc_id", "text"]) if wanted else ():
            for row in batch.select(["doc_id", "text"]).to_pylist():
                for i in wanted.get(row["doc_id"], ()):
                    found.append(_sample(row["doc_id"], row["text"], spans[row["doc_id"]], i))
    return found


def _rank(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()


def _sample(doc_id: str, text: str, spans: list[dict[str, Any]], i: int) -> dict[str, Any]:
    span = spans[i]
    low, high = max(0, span["start"] - AROUND), min(len(text), span["end"] + AROUND)
    return {
        "doc_id": doc_id,
        "type": span["type"],
        "start": span["start"],
        "before": "".join(_pieces(text, spans, low, span["start"])),
        "value": mask(text[span["start"] : span["end"]]),
        "after": "".join(_pieces(text, spans, span["end"], high)),
    }


def _pieces(text: str, spans: list[dict[str, Any]], low: int, high: int) -> Iterator[str]:
    """[low, high) of the text with what lies in a span masked."""
    for span in spans:
        start, end = max(span["start"], low), min(span["end"], high)
        if start < end:
            yield text[low:start]
            yield mask(text[start:end])
            low = end
    yield text[low:high]
