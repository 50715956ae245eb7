"""The documents of one run that have a similar one: what decisions need to know of them, and who stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.dedup import curve
from pretrain_data.dedup.index import Index
from pretrain_data.dedup.store import Store
from pretrain_data.dedup.survivors import Alike, RankBy, choose, gone, ranks
from pretrain_data.graph.forest import Forest
from pretrain_data.kernels.tokens import count_column
from pretrain_data.stage import Shard
from pretrain_data.tokenizers import load_saved

#: By lang and channel: documents, chars, and of documents with tokens n, x (chars), y (tokens), xx, xy, yy.
Sums = dict[tuple[str, str], "Counter[str]"]


def measured(batch: pa.RecordBatch, tokenizer: str, share: float) -> pa.RecordBatch:
    """The columns that decisions need, without the text: chars, lang, channel, and tokens (null where not counted).

    Tokens are counted for the documents whose id begins below `share`, unless the batch has them already. Before
    classify there is no channel; the format stands in for it.
    """
    text = batch.column("text")
    names = batch.schema.names
    unknown = pa.array(["unknown"] * batch.num_rows)
    columns = {n: batch.column(n) for n in names if n not in ("text", "lang", "format", "channel", "tokens")}
    columns["chars"] = pc.utf8_length(text).cast(pa.int64())
    columns["lang"] = pc.fill_null(batch.column("lang").cast(pa.string()), "unknown") if "lang" in names else unknown
    kind = next((n for n in ("channel", "format") if n in names), None)
    columns["channel"] = pc.fill_null(batch.column(kind).cast(pa.string()), "unknown") if kind else unknown
    if "tokens" in names:
        columns["tokens"] = batch.column("tokens").cast(pa.int64())
    else:
        # doc_id is a hash in hex digits: those below a bound are a random sample, the same in every run.
        taken = pc.less(batch.column("doc_id").cast(pa.string()), _hex(share))
        counts = np.full(batch.num_rows, -1, np.int64)
        rows = np.flatnonzero(taken.to_numpy(zero_copy_only=False))
        counts[rows] = count_column(text.take(pa.array(rows)), load_saved(tokenizer))
        columns["tokens"] = pa.array(counts, mask=counts < 0)
    return pa.RecordBatch.from_pydict(columns)


def _hex(share: float) -> str:
    """The bound below which `share` of all hex ids lie."""
    return "g" if share >= 1 else f"{int(share * 16**8):08x}"


def sums(about: pa.RecordBatch, into: Sums) -> None:
    """Add a batch, as `measured` makes it, to the sums by lang and channel that `curve.Totals` wants."""
    codes = [about.column(name).dictionary_encode() for name in curve.GROUP]
    code = codes[0].indices.to_numpy() * np.int64(len(codes[1].dictionary)) + codes[1].indices.to_numpy()
    chars, counted = about.column("chars").to_numpy(), about.column("tokens").is_valid()
    tokens, counted = pc.fill_null(about.column("tokens"), 0).to_numpy(), counted.to_numpy(zero_copy_only=False)
    for group in np.unique(code):
        lang, channel = divmod(int(group), len(codes[1].dictionary))
        name = codes[0].dictionary[lang].as_py(), codes[1].dictionary[channel].as_py()
        mask = code == group
        x, y = chars[mask & counted], tokens[mask & counted]
        entry = into.setdefault(name, Counter())
        entry.update(documents=int(mask.sum()), chars=int(chars[mask].sum()), n=len(x), x=int(x.sum()), y=int(y.sum()))
        entry.update(xx=_dot(x, x), xy=_dot(x, y), yy=_dot(y, y))


def total(parts: Iterable[Sums]) -> list[dict[str, Any]]:
    """The sums of all shards, a row a group."""
    whole: Sums = {}
    for part in parts:
        for name, entry in part.items():
            whole.setdefault(name, Counter()).update(entry)
    return [dict(zip(curve.GROUP, name, strict=True)) | dict(entry) for name, entry in whole.items()]


def _dot(x: Any, y: Any) -> int:
    """The sum of products of a batch, exactly: of counts under 2^31 the products with half of one fit 64 bits."""
    return int(x @ (y & 0xFFFF)) + (int(x @ (y >> 16)) << 16)


def members(meta: Path, shards: tuple[Shard, ...], nodes: Any, index: Index, before: tuple[Shard, ...]) -> pa.Table:
    """Ids, groups and ranking columns of the documents `nodes`, in their order; those of `before` from the index."""
    parts = []
    every = before + shards
    edges = np.searchsorted(nodes, [s.first_row or 0 for s in every] + [np.iinfo(np.int64).max])
    for i, (shard, low, high) in enumerate(zip(every, edges[:-1], edges[1:], strict=True)):
        rows = nodes[low:high] - (shard.first_row or 0)
        if high > low and i < len(before):
            parts.append(index.members(shard, rows))
        elif high > low:
            part = pq.read_table(meta / f"{shard.name.replace('/', '--')}.parquet").take(pa.array(rows))
            parts.append(part.append_column("similar_group", part["doc_id"]))
    if parts:
        return pa.concat_tables(parts, promote_options="permissive")
    text, number = pa.array([], pa.string()), pa.array([], pa.int64())
    return pa.table(
        {"doc_id": text, "source_id": text, "lang": text, "channel": text, "chars": number, "tokens": number}
        | {"similar_group": text}
    )


class Clusters:
    """The documents that have a similar one, and who of them stays at any threshold."""

    def __init__(
        self,
        store: Store,
        forest: Forest,
        table: pa.Table,
        criteria: tuple[RankBy, ...],
        exact: bool,
        split: bool,
        margin: float,
        fixed: int = 0,
    ) -> None:
        """The first `fixed` nodes were kept by an earlier day: they rank first, by their number, and stay."""
        self.store, self.forest, self.table = store, forest, table
        self.exact, self.split, self.margin = exact, split, margin
        self.fixed = fixed
        new = ranks(table.slice(fixed), criteria) if len(forest.nodes) > fixed else np.zeros(0, np.int64)
        self.rank = np.concatenate([np.arange(fixed), fixed + new])

    def survivors(self, threshold: float) -> tuple[Any, Any]:
        """For each member the index of its survivor, itself where it stays, and its similarity to it."""
        cluster = self.forest.clusters(threshold)
        return choose(cluster, self.rank, self._alike, threshold - self.margin, self.split, self.fixed)

    @cached_property
    def _alike(self) -> Alike:
        forest, contents = self.forest, np.asarray(self.store.contents())[self.forest.nodes]
        tied = np.zeros(len(forest.nodes), np.float32)
        for ends in (forest.first, forest.second):
            np.maximum.at(tied, ends, forest.similarity)
        low, high = (np.ascontiguousarray(contents[name]) for name in ("low", "high"))
        sets = self.store.sets(forest.nodes, self.exact)
        return Alike(forest.nodes, low, high, tied, *sets, np.asarray(self.store.signatures()))

    def gone(self, thresholds: list[float]) -> Iterator[Any]:
        """Which members a run drops, at each of the rising thresholds."""
        return gone(self.forest.clusters, self.rank, self._alike, thresholds, self.margin, self.split, self.fixed)
