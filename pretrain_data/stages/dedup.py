"""dedup: exact and near-duplicates, verified, with a survivor that can be explained; and passages that many share.

The whole is seen in `prepare`: one pass writes a signature and a content hash for each document and sends its
band keys through one shuffle; documents that meet in a bucket are compared (by signature, or exactly by their
shingle sets after a second pass over those documents alone); the edges that pass make a similarity forest on
the driver. Where passages are asked for, one more pass counts the lines and paragraphs of what stays. `process` then
joins small per-shard decisions by row number, and takes the passages out: no text is ever shuffled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.dataset import on_each
from pretrain_data.dedup import curve, decisions, passages, withdrawn
from pretrain_data.dedup.candidates import candidates, edges, sign, write_sets
from pretrain_data.dedup.config import DedupConfig
from pretrain_data.dedup.days import Day, days, settled
from pretrain_data.dedup.guard import giant, losses
from pretrain_data.dedup.index import Index, kept_of
from pretrain_data.dedup.members import Clusters, members
from pretrain_data.dedup.store import Store, numbered
from pretrain_data.errors import PretrainDataError
from pretrain_data.graph import distributed
from pretrain_data.graph.forest import Forest
from pretrain_data.kernels import lsh, minhash, normalize
from pretrain_data.stage import Processed, Shard, Stage, StageRun
from pretrain_data.tokenizers import tokenizer_files

#: Edges the driver holds at most (28 bytes each while the forest is made); more become a forest part by part first.
MAX_EDGES = 40_000_000
#: Documents that the driver marks for exact verification at most (one byte each).
MAX_EXACT_DOCUMENTS = 2_000_000_000


class DedupStage(Stage[DedupConfig]):
    """Drops exact and near-duplicates; groups what stays similar."""

    name: ClassVar[str] = "dedup"
    config_class = DedupConfig
    needs = ("doc_id", "text")
    adds = ("cluster_id", "similar_group", "repeated_spans")

    def __init__(self, config: DedupConfig) -> None:
        super().__init__(config)
        self.decisions: Path | None = None
        self.giant: str | None = None  # what `prepare` has to say about the largest cluster
        self.threshold = config.cut  # the one in force; `prepare` sets it where target_tokens decides
        self.most_edges = MAX_EDGES  # a test sets fewer
        self.withdrawn = withdrawn.read(config.withdrawn)
        self.groups: list[dict[str, Any]] = []  # documents, characters and tokens by language and channel
        self.repeated: dict[str, Path] = {}  # by shard: where the repeated passages of its day lie

    def resources(self) -> list[Path]:
        return tokenizer_files(self.config.tokenizer)

    def asked(self) -> list[str]:
        return sorted(self.withdrawn)

    # --- the whole dataset ----------------------------------------------------------------------

    def prepare(self, run: StageRun) -> None:
        config = self.config
        shards = numbered(run)
        documents = sum(shard.rows or 0 for shard in shards)
        near = config.documents == "near"
        bands = lsh.choose_bands(config.permutations, config.lowest, config.miss_probability) if near else lsh.NO_BANDS
        if config.by_sets and documents > MAX_EXACT_DOCUMENTS:
            raise PretrainDataError(
                f"{documents:,} documents are more than `verify: exact` marks on the driver ({MAX_EXACT_DOCUMENTS:,}); "
                "use `verify: signature`"
            )
        store = Store(run.scratch / "store", documents, config.signature)
        store.create()
        if config.documents != "off":
            self.decisions = run.scratch / "decisions"
            for folder in (self.decisions, run.output / "graph"):
                folder.mkdir(parents=True, exist_ok=True)
        batches = days(shards) if config.incremental else [Day("", shards)]
        decided = 0
        if config.incremental:
            touched = withdrawn.touched(run, self.name, shards, self.withdrawn)
            decided = settled(batches, run.unchanged - touched, run.gone)
        if self.withdrawn:
            (run.output / withdrawn.FILE).write_text("".join(f"{i}\n" for i in sorted(self.withdrawn)))
        before = tuple(shard for day in batches[:decided] for shard in day.shards)
        new = tuple(shard for day in batches[decided:] for shard in day.shards)
        run.metrics["shards_taken_over"] = run.take_over({shard.name for shard in before})
        if self.decisions is not None and (new or not batches):
            self.groups = sign(run, new, store, config, bands, self.withdrawn)
            run.metrics |= {"edges": 0, "clusters": 0, "largest_cluster": 0, "split_survivors": 0}
        for day in batches[decided:]:
            if self.decisions is not None:
                self._day(run, day.shards, before, store, bands)
            if config.passages is not None:
                self._passages(run, day.shards, before, config.passages)
            before += day.shards
        if near:
            run.metrics |= {
                "bands": bands.number,
                "band_rows": bands.rows,
                "miss_probability": lsh.miss_probability(bands, config.lowest),
                "seed": minhash.SEED,
                "signature_version": f"{config.backend}-{minhash.VERSION}",
            }
        run.metrics["normalization_version"] = normalize.name(config.simplified)

    def _passages(
        self, run: StageRun, shards: tuple[Shard, ...], before: tuple[Shard, ...], settings: passages.PassagesConfig
    ) -> None:
        """Count the lines and paragraphs of what stays of `shards`."""
        config = self.config
        passages.count(
            run, shards, before, self.decisions, settings, config.simplified, config.incremental, self.withdrawn
        )
        self.repeated |= {shard.name: passages.folder_of(run.scratch, shards) for shard in shards}

    def _day(
        self, run: StageRun, shards: tuple[Shard, ...], before: tuple[Shard, ...], store: Store, bands: lsh.Bands
    ) -> None:
        """Find and decide the duplicates among `shards`, and of them to what the index holds of `before`."""
        config, exact = self.config, self.config.by_sets
        pairs = candidates(run, shards, before, store, config, bands)
        if exact:
            write_sets(run, before + shards, store, config, pairs)
        forest = self._forest(run, edges(run, store, config, pairs))
        table = members(run.scratch / "meta", shards, forest.nodes, Index(run.output), before)
        fixed = int(np.searchsorted(forest.nodes, shards[0].first_row or 0)) if shards else 0
        clusters = Clusters(store, forest, table, config.survivor, exact, config.chain == "split", config.margin, fixed)
        self._decide(run, shards, clusters)
        if config.incremental:
            self._keep(run, shards, store, bands)

    def _forest(self, run: StageRun, path: Path) -> Forest:
        """The similarity forest of the edges at `path`; of more than the driver takes in, by forests of parts."""
        found = distributed.count(path)
        run.metrics["edges"] += found
        if found <= self.most_edges:
            return Forest.of(*distributed.read(path))
        left = distributed.reduce(run.spark, path, run.scratch, self.most_edges)
        if (needed := distributed.count(left)) > self.most_edges:
            raise PretrainDataError(
                f"the forest of {found:,} edges at {self.config.lowest} has {needed:,}, more than the driver holds "
                f"({self.most_edges:,}); raise spacing_threshold or threshold"
            )
        forest = Forest.of(*distributed.read(left))
        distributed.check(run.spark, path, forest, run.scratch)
        run.metrics["edges_left_by_parts"] = run.metrics.get("edges_left_by_parts", 0) + needed
        return forest

    def _keep(self, run: StageRun, shards: tuple[Shard, ...], store: Store, bands: lsh.Bands) -> None:
        """Put what was not dropped into the index."""
        index, meta, decisions = Index(run.output), run.scratch / "meta", self.decisions
        assert decisions is not None

        def work(shard: Shard) -> None:
            name = f"{shard.name.replace('/', '--')}.parquet"
            index.write(shard, kept_of(shard, meta / name, decisions / name), store, bands)

        on_each(run.spark, shards, work, run.tasks)

    def _decide(self, run: StageRun, shards: tuple[Shard, ...], clusters: Clusters) -> None:
        """Survivors and groups of all documents that have a similar one; one small file a shard."""
        config = self.config
        if not config.incremental:
            self._plan(run, clusters)
        decided, cluster, survivor = decisions.decide(
            clusters, self.threshold, config.spacing_threshold or self.threshold
        )
        assert self.decisions is not None
        decisions.write(decided, shards, self.decisions)
        ids = clusters.table["doc_id"].combine_chunks()
        gone = decided["gone"].to_numpy(zero_copy_only=False)
        documents = sum(shard.rows or 0 for shard in shards)
        self.giant = giant(cluster, survivor, ids, documents, config.guard) or self.giant
        sizes = np.bincount(cluster, minlength=1) if len(cluster) else np.zeros(1, np.int64)
        run.metrics["clusters"] += int((sizes > 1).sum())
        run.metrics["largest_cluster"] = max(run.metrics["largest_cluster"], int(sizes.max()))
        run.metrics["split_survivors"] += int((~gone).sum() - len(np.unique(cluster))) if len(cluster) else 0
        versions = {"permutations": config.permutations, "shingle": config.shingle, "lowest": config.lowest}
        (run.output / "graph" / "forest.json").write_text(json.dumps(versions, indent=1))
        decisions.write_forest(clusters, shards if config.incremental else None, run.output / "graph")

    def _plan(self, run: StageRun, clusters: Clusters) -> None:
        """Write the curve over thresholds, and take the threshold from it where a target says so."""
        config = self.config
        totals = curve.Totals.of(self.groups)
        gone = clusters.gone(config.thresholds)
        table = curve.curve(totals, clusters.table, config.thresholds, gone, clusters.forest.clusters)
        pq.write_table(table, run.output / "graph" / "curve.parquet", compression="zstd")
        if config.target_tokens is None:
            return
        found = curve.points(table)
        chosen = curve.strictest(found, config.target_tokens)
        if chosen is None:
            most = next(point for point in reversed(found) if point.threshold <= 1)
            run.warn(
                f"target_tokens: {config.target_tokens:,} tokens are wanted; without identical documents "
                f"{most.tokens:,.0f} are there, without any deduplication {found[-1].tokens:,.0f}. Threshold 1 is "
                "taken, which drops identical documents alone; more data is needed, or repeats in the mix"
            )
            chosen = most
        self.threshold = chosen.threshold
        run.metrics |= {
            "target_tokens": config.target_tokens,
            "threshold": chosen.threshold,
            "expected_tokens": round(chosen.tokens),
        }

    def conclude(self, run: StageRun) -> None:
        """Hold what is about to be deleted against the guard."""
        guard = self.config.guard
        found = losses(run.shards, guard)
        if self.giant is not None:
            found.append(self.giant)
        if found and guard.then == "fail":
            raise PretrainDataError(
                "\n".join(found) + "\nLook at them, then raise the threshold or the bounds under stages.dedup.guard."
            )
        for line in found:
            run.warn(line)

    # --- shard by shard -------------------------------------------------------------------------

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        if self.decisions is None:
            for batch in batches:
                yield self._without_passages(self._without_withdrawn(Processed(_alone(batch))), shard)
            return
        decided = pq.read_table(self.decisions / f"{shard.name.replace('/', '--')}.parquet")
        rows = decided["row"].to_numpy()
        at = 0
        for batch in batches:
            low, high = np.searchsorted(rows, [at, at + batch.num_rows])
            part = decided.slice(low, high - low)
            place = np.full(batch.num_rows, -1, np.int64)
            place[rows[low:high] - at] = np.arange(high - low)
            at += batch.num_rows
            judged = self._processed(batch, part, pa.array(place, mask=place < 0))
            yield self._without_passages(self._without_withdrawn(judged), shard)

    def _processed(self, batch: pa.RecordBatch, part: pa.Table, place: pa.Array) -> Processed:
        def column(name: str) -> pa.Array:
            return part[name].combine_chunks().take(place)

        gone = pc.fill_null(column("gone"), False)
        label = pc.if_else(pc.fill_null(column("exact"), False), "exact_duplicate", "near_duplicate")
        return Processed(
            _alone(batch, column("kept_doc_id"), column("similar_group")),
            rule=pc.if_else(gone, label, pa.scalar(None, pa.string())),
            value=column("similarity").cast(pa.float64()),
            threshold=pa.array([self.threshold] * batch.num_rows, pa.float64()),
            kept_id=column("kept_id"),
            kept_doc_id=column("kept_doc_id"),
            detail=column("detail"),
        )

    def _without_withdrawn(self, judged: Processed) -> Processed:
        """Documents on the list go whatever they are like."""
        gone = withdrawn.among(judged.batch, self.withdrawn)
        return _also(judged, gone, withdrawn.RULE) if gone.any() else judged

    def _without_passages(self, judged: Processed, shard: Shard) -> Processed:
        """What stays, without its repeated passages; a document that is little else goes too."""
        settings = self.config.passages
        if settings is None:
            return judged
        stays = np.ones(judged.batch.num_rows, np.bool_)
        if judged.rule is not None:
            stays = np.asarray(pc.is_null(judged.rule).to_numpy(zero_copy_only=False), np.bool_)
        repeated = passages.Repeated.load(self.repeated[shard.name])
        edited = passages.take_out(judged.batch, stays, repeated, settings, self.config.simplified)
        judged = replace(judged, batch=edited.batch, metrics=edited.metrics)
        return _also(judged, edited.gone, passages.RULE, pa.array(edited.share), settings.drop_share)


def _also(judged: Processed, gone: Any, rule: str, value: Any = None, threshold: float | None = None) -> Processed:
    """Drop the rows of `gone` too, by `rule`; nothing is kept in their place."""
    rows, mask = judged.batch.num_rows, pa.array(gone)

    def over(known: pa.Array | None, other: Any, kind: pa.DataType) -> pa.Array:
        return pc.if_else(mask, pa.scalar(None, kind) if other is None else other, _or_null(known, rows, kind))

    text, number = pa.string(), pa.float64()
    return replace(
        judged,
        rule=over(judged.rule, rule, text),
        value=over(judged.value, value, number),
        threshold=over(judged.threshold, threshold, number),
        kept_id=over(judged.kept_id, None, text),
        kept_doc_id=over(judged.kept_doc_id, None, text),
        detail=over(judged.detail, None, text),
    )


def _or_null(known: pa.Array | None, rows: int, kind: pa.DataType) -> pa.Array:
    return pa.nulls(rows, kind) if known is None else known


def _alone(batch: pa.RecordBatch, cluster: pa.Array | None = None, group: pa.Array | None = None) -> pa.RecordBatch:
    """The batch with cluster_id and similar_group, its own doc_id where there is none."""
    ids = batch.column("doc_id")
    for name, values in (("cluster_id", cluster), ("similar_group", group)):
        filled = ids if values is None else pc.coalesce(values, ids)
        known = batch.schema.get_field_index(name)
        batch = batch.set_column(known, name, filled) if known >= 0 else batch.append_column(name, filled)
    return batch
