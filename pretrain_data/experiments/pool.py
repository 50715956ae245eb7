"""The documents of an export as a pool that experiments draw from.

Each document has a key from its id and the seed; a run that wants t tokens of a channel takes the documents with the
smallest keys. So the subset of a smaller share or budget lies within that of a larger one, and runs differ by
what they add. A channel that is too small for a share is used again, whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.errors import InputError
from pretrain_data.kernels.mixture import hash_strings, mix
from pretrain_data.mixing.history import VALIDATION
from pretrain_data.mixing.plan import group_column
from pretrain_data.reader import document_file, read_manifest

#: Documents that may be held on the driver, some 60 bytes each.
MOST_DOCUMENTS = 30_000_000

Order = Literal["shuffled", "spaced", "quality", "length"]
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True)
class Pool:
    """Distinct documents; arrays have one entry each. `block` and `row` say where the tokens stand."""

    export: Path
    block: np.ndarray
    row: np.ndarray
    tokens: np.ndarray  # with the end-of-document token
    channel: np.ndarray  # number in `channels`
    channels: list[str]
    key: np.ndarray  # uint64
    quality: np.ndarray  # float64, NaN where there is no score

    def __len__(self) -> int:
        return len(self.block)

    def take(self, rows: np.ndarray) -> Pool:
        arrays = ("block", "row", "tokens", "channel", "key", "quality")
        return replace(self, **{name: getattr(self, name)[rows] for name in arrays})

    def available(self) -> np.ndarray:
        """Tokens by channel."""
        return np.bincount(self.channel, self.tokens, minlength=len(self.channels)).astype(np.int64)


def read_pool(export: Path, seed: int, holdout_share: float, phase: str | None = None) -> tuple[Pool, Pool]:
    """(documents to train on, documents to validate on).

    Validation is the export's own, where `mix` held some out; else a `holdout_share` of the similar groups, by hash.

    Raises:
        InputError: no export, no channels, or more documents than can be held.
    """
    manifest = read_manifest(export)
    blocks = manifest["blocks"]
    trained = [b for b in blocks if b["phase"] != VALIDATION and phase in (None, b["phase"])]
    if not trained:
        raise InputError(f"{export}: no training blocks" + (f" of phase {phase!r}" if phase else ""))
    held = [b for b in blocks if b["phase"] == VALIDATION]
    total = sum(b["documents"] for b in trained + held)
    if total > MOST_DOCUMENTS:
        raise InputError(
            f"{export}: {total:,} documents; experiments hold at most {MOST_DOCUMENTS:,}: make a smaller export with "
            "stages.mix.subset"
        )
    train, groups = _read(export, trained, seed)
    if held:
        return train, _aligned(_read(export, held, seed)[0], train.channels)
    aside = (mix(groups, seed + 11) >> np.uint64(11)).astype(np.float64) / 2.0**53 < holdout_share
    return train.take(np.flatnonzero(~aside)), train.take(np.flatnonzero(aside))


def _read(export: Path, blocks: list[dict[str, int]], seed: int) -> tuple[Pool, np.ndarray]:
    """The distinct documents of some blocks, and the hash of each one's group of similar documents."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("block", "row", "tokens", "id", "group", "quality")}
    names: list[pa.Array] = []
    for block in blocks:
        file = document_file(export, block["block"])
        there = pq.read_schema(file).names
        if "channel" not in there:
            raise InputError(f"{file}: no column `channel`; run the stage classify before mix")
        wanted = ("doc_id", "tokens", "channel", "quality_score", "similar_group", "cluster_id")
        table = pq.read_table(file, columns=[n for n in wanted if n in there]).combine_chunks()
        for batch in table.to_batches():
            names.append(batch.column("channel").cast(pa.string()))
            parts["id"].append(hash_strings(batch.column("doc_id")))
            parts["group"].append(hash_strings(group_column(batch)))
            parts["tokens"].append(batch.column("tokens").to_numpy(zero_copy_only=False).astype(np.int64) + 1)
            score = batch.column("quality_score") if "quality_score" in there else pa.nulls(batch.num_rows)
            parts["quality"].append(score.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(float))
        parts["block"].append(np.full(table.num_rows, block["block"], np.int32))
        parts["row"].append(np.arange(table.num_rows, dtype=np.int32))
    column = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    channel = pc.fill_null(pa.chunked_array(names, pa.string()).combine_chunks(), "")
    channels = sorted(pc.unique(channel).to_pylist())
    number = pc.index_in(channel, pa.array(channels)).to_numpy(zero_copy_only=False).astype(np.int16)
    # A document may be used several times; the first use in training order stands for it.
    _, first = np.unique(column["id"], return_index=True)
    first = np.sort(first)
    pool = Pool(
        export,
        column["block"][first],
        column["row"][first],
        column["tokens"][first],
        number[first],
        channels,
        mix(column["id"][first], seed + 7),
        column["quality"][first],
    )
    return pool, column["group"][first]


def _aligned(pool: Pool, channels: list[str]) -> Pool:
    """The pool with another list of channels; documents of channels that aren't in it are left out."""
    places = np.array([channels.index(c) if c in channels else -1 for c in pool.channels], np.int16)
    kept = np.flatnonzero(places[pool.channel] >= 0)
    found = pool.take(kept)
    return replace(found, channel=places[found.channel], channels=channels)


def draw(pool: Pool, wanted: np.ndarray, max_epochs: float) -> tuple[np.ndarray, np.ndarray]:
    """(index of each use in the pool, number of its pass over the channel) for `wanted` tokens by channel.

    Raises:
        InputError: a channel would be used more than `max_epochs` times.
    """
    rows, passes = [], []
    for channel, tokens in enumerate(wanted.tolist()):
        mine = np.flatnonzero(pool.channel == channel)
        mine = mine[np.argsort(pool.key[mine], kind="stable")]
        sizes = np.cumsum(pool.tokens[mine])
        have = int(sizes[-1]) if len(sizes) else 0
        if tokens > max_epochs * have:
            raise InputError(
                f"{tokens:,.0f} tokens of {pool.channels[channel]} are wanted and there are {have:,}: more than "
                f"{max_epochs:g} epochs; lower tokens or this channel's `most`, or raise max_epochs"
            )
        whole = int(tokens // have) if have else 0
        for number in range(whole + 1):
            left = tokens - number * have if number == whole else have
            # The document nearest to the goal is the last one.
            count = int(np.searchsorted(sizes, left, side="left"))
            if count < len(mine) and left - (sizes[count - 1] if count else 0) >= sizes[count] - left:
                count += 1
            rows.append(mine[:count])
            passes.append(np.full(count, number, np.int16))
    return np.concatenate(rows), np.concatenate(passes)


def arrange(pool: Pool, rows: np.ndarray, passes: np.ndarray, order: str, seed: int) -> np.ndarray:
    """The training order of some uses, as indices into `rows`.

    `shuffled`: as drawn from the seed. `spaced`: as the export has it, similar documents far apart, pass after pass.
    `quality`, `length`: a curriculum, from low scores to high (no score: the middle), from short to long.
    """
    chance = mix(mix(pool.key[rows], seed + 13) + passes.astype(np.uint64), seed + 17)
    if order == "shuffled":
        return np.argsort(chance, kind="stable")
    if order == "spaced":
        return np.lexsort((pool.row[rows], pool.block[rows], passes))
    if order == "quality":
        score = pool.quality[rows]
        middle = float(np.nanmedian(score)) if np.isfinite(score).any() else 0.0
        return np.lexsort((chance, np.where(np.isfinite(score), score, middle)))
    if order == "length":
        return np.lexsort((chance, pool.tokens[rows]))
    raise InputError(f"no order {order!r}; there are {', '.join(ORDERS)}")
