"""dedup: exact and near-duplicates, verified, with a survivor that can be explained.

The whole is seen in `prepare`: one pass writes a signature and a content hash for each document and sends its
band keys through one shuffle; documents that meet in a bucket are compared (by signature, or exactly by their
shingle sets after a second pass over those documents alone); the edges that pass make a similarity forest on
the driver. `process` then joins small per-shard decisions by row number: no text is ever shuffled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from pretrain_data.dedup import curve
from pretrain_data.dedup.guard import Guard, giant, losses
from pretrain_data.dedup.members import Clusters, measured, members, sums
from pretrain_data.dedup.store import CONTENT, Store, numbered
from pretrain_data.dedup.survivors import RankBy
from pretrain_data.errors import PretrainDataError
from pretrain_data.graph.forest import Forest
from pretrain_data.kernels import lsh, minhash, normalize
from pretrain_data.mixing.mixture import Tokens
from pretrain_data.stage import Processed, Shard, Stage, StageConfig, StageRun
from pretrain_data.tokenizers import load_tokenizer, tokenizer_files

#: Edges the driver holds at most (28 bytes each while the forest is made).
MAX_EDGES = 40_000_000
#: Where the search for a threshold begins when the config names a token target alone.
LOWEST_WITH_TARGET = 0.5
#: Documents that the driver marks for exact verification at most (one byte each).
MAX_EXACT_DOCUMENTS = 2_000_000_000


class DedupConfig(StageConfig):
    """What counts as a duplicate, and which copy stays."""

    threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.8, description="Jaccard similarity of shingle sets from which two documents are duplicates."
    )
    verify: Literal["signature", "exact"] = Field(
        default="signature",
        description="How candidates are compared: by their signatures, or by their shingle sets.",
    )
    spacing_threshold: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Similarity from which documents share a similar_group. Default: threshold."
    )
    target_tokens: Tokens | None = Field(
        default=None,
        description="Tokens that must remain; the run then takes the strictest threshold of its curve that leaves "
        "them, in place of `threshold`.",
    )
    lowest_threshold: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Where the curve over thresholds begins; lower costs more candidates. Default: the lower of "
        "spacing_threshold and threshold, or 0.5 with target_tokens.",
    )
    curve_step: Annotated[float, Field(ge=0.001, le=0.5)] = Field(
        default=0.02, description="Step between the thresholds of the curve, which ends at 1."
    )
    tokenizer: str = Field(
        default="default",
        description="What the curve counts tokens with where documents have none yet: on a sample of them.",
    )
    token_sample: Annotated[int, Field(ge=1)] = Field(
        default=20_000, description="Documents in that sample, about; all of them where there are fewer."
    )
    shingle: Annotated[int, Field(ge=1, le=64)] = Field(default=5, description="Tokens in a shingle.")
    tokens: Literal["by_language", "unified"] = Field(
        default="by_language",
        description="unified: a Chinese character or a run of letters; by_language: single letters in languages of "
        "character_languages too.",
    )
    character_languages: tuple[str, ...] = Field(
        default=("zh", "ja"), description="Languages compared by characters rather than by words."
    )
    permutations: Annotated[int, Field(ge=16, le=512)] = Field(default=128, description="Length of a signature.")
    miss_probability: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.005, description="Probability that a pair at the lowest threshold is not even compared."
    )
    anchors: Annotated[int, Field(ge=1)] = Field(
        default=8, description="In a bucket each document is compared with this many first ones"
    )
    window: Annotated[int, Field(ge=1)] = Field(default=24, description="and with this many before it.")
    chain: Literal["split", "keep"] = Field(
        default="split",
        description="split: a member too unlike its survivor stays too; keep: a cluster has one survivor.",
    )
    margin: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="A member may be this much under the threshold to its survivor."
    )
    survivor: tuple[RankBy, ...] = Field(
        default=(
            RankBy(column="quality_score", order="desc"),
            RankBy(column="chars", order="desc"),
            RankBy(column="crawl_date", order="asc"),
        ),
        description="Who stays in a cluster: criteria in order; the last tie is broken by doc_id.",
    )

    guard: Guard = Field(default=Guard(), description="Bounds on what may be deleted.")

    @model_validator(mode="after")
    def _spacing_is_looser(self) -> DedupConfig:
        fixed = self.target_tokens is None
        if fixed and self.spacing_threshold is not None and self.spacing_threshold > self.threshold:
            raise ValueError("spacing_threshold must not be above threshold")
        return self

    @property
    def lowest(self) -> float:
        """The lowest similarity that pairs are looked for at."""
        asked = [t for t in (self.spacing_threshold, self.lowest_threshold) if t is not None]
        if self.target_tokens is None:
            return min([self.threshold, *asked])
        return min(asked, default=LOWEST_WITH_TARGET)

    @property
    def thresholds(self) -> list[float]:
        """Thresholds of the curve, from the lowest to 1, among them `threshold`."""
        low = max(self.lowest, self.spacing_threshold or 0.0)
        steps = int((1 - low) / self.curve_step + 1e-9)
        found = {round(1 - i * self.curve_step, 6) for i in range(steps + 1)} | {low}
        return sorted(found | ({self.threshold} if self.target_tokens is None else set()))


class DedupStage(Stage[DedupConfig]):
    """Drops exact and near-duplicates; groups what stays similar."""

    name: ClassVar[str] = "dedup"
    config_class = DedupConfig
    needs = ("doc_id", "text")
    adds = ("cluster_id", "similar_group")

    def __init__(self, config: DedupConfig) -> None:
        super().__init__(config)
        self.decisions: Path | None = None
        self.giant: str | None = None  # what `prepare` has to say about the largest cluster
        self.threshold = config.threshold  # the one in force; `prepare` sets it where target_tokens decides

    def resources(self) -> list[Path]:
        return tokenizer_files(self.config.tokenizer)

    # --- the whole dataset ----------------------------------------------------------------------

    def prepare(self, run: StageRun) -> None:
        config = self.config
        shards = numbered(run)
        documents = sum(shard.rows or 0 for shard in shards)
        bands = lsh.choose_bands(config.permutations, config.lowest, config.miss_probability)
        store = Store(run.scratch / "store", documents, config.permutations)
        store.create()
        candidates = self._candidates(run, shards, store, bands)
        exact = config.verify == "exact"
        if exact and documents > MAX_EXACT_DOCUMENTS:
            raise PretrainDataError(
                f"{documents:,} documents are more than `verify: exact` marks on the driver ({MAX_EXACT_DOCUMENTS:,}); "
                "use `verify: signature`"
            )
        if exact:
            self._write_sets(run, shards, store, candidates)
        forest, edges = self._forest(run, store, candidates, exact)
        (run.output / "graph").mkdir(parents=True, exist_ok=True)
        table = members(run.scratch / "meta", shards, forest.nodes)
        clusters = Clusters(store, forest, table, config.survivor, exact, config.chain == "split", config.margin)
        self._decide(run, shards, clusters, documents)
        run.metrics |= {
            "bands": bands.number,
            "band_rows": bands.rows,
            "miss_probability": lsh.miss_probability(bands, config.lowest),
            "edges": edges,
            "seed": minhash.SEED,
            "signature_version": minhash.VERSION,
            "normalization_version": normalize.VERSION,
        }

    def _characters(self, batch: pa.RecordBatch) -> Any:
        """For which documents every letter is a token."""
        if self.config.tokens == "unified" or "lang" not in batch.schema.names:
            return np.zeros(batch.num_rows, np.bool_)
        found = pc.is_in(batch.column("lang"), pa.array(self.config.character_languages))
        return found.to_numpy(zero_copy_only=False).astype(np.bool_)

    def _candidates(self, run: StageRun, shards: tuple[Shard, ...], store: Store, bands: lsh.Bands) -> Path:
        """Write signatures and contents to the store, and the distinct candidate pairs to Parquet."""
        first_rows = {shard.name: shard.first_row or 0 for shard in shards}
        criteria = [c.column for c in self.config.survivor]
        k, n, meta = self.config.permutations, self.config.shingle, run.scratch / "meta"
        meta.mkdir(exist_ok=True)
        saved = run.scratch / "tokenizer.json"
        load_tokenizer(self.config.tokenizer).save(saved)
        share = self.config.token_sample / max(1, store.documents)

        def sign(batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
            at = first_rows[shard.name]
            signatures, contents = store.signatures("r+"), store.contents("r+")
            kept = []
            for batch in batches:
                text, flags = batch.column("text"), self._characters(batch)
                made, shingles, hashes = minhash.sign(text, flags, k, n)
                rows = slice(at, at + batch.num_rows)
                signatures[rows] = made
                contents[rows] = np.ascontiguousarray(hashes).view(CONTENT).reshape(-1)
                kept.append(measured(batch, str(saved), share))
                numbers = np.arange(at, at + batch.num_rows)
                at += batch.num_rows
                # A text without tokens has no signature; it can only equal another by its content.
                whole = numbers[shingles == 0]
                keys = lsh.band_keys(made[shingles > 0], bands.number, bands.rows)
                yield _keyed(np.repeat(numbers[shingles > 0], bands.number), keys.reshape(-1))
                yield _keyed(whole, hashes[shingles == 0, 0].view(np.int64))
            signatures.flush()  # type: ignore[attr-defined]
            contents.flush()  # type: ignore[attr-defined]
            if kept:
                pq.write_table(pa.Table.from_batches(kept), meta / f"{shard.name.replace('/', '--')}.parquet")

        from pyspark.sql import Observation
        from pyspark.sql import functions as F

        columns = ["doc_id", "source_id", "text", "lang", "format", "channel", "tokens", *criteria]
        keyed = run.scan(list(dict.fromkeys(columns)), sign, _KEYED)
        pairs = _pairs_in_buckets(
            keyed.repartition(run.partitions, "key").sortWithinPartitions("key", "document"), self.config
        )
        path = run.scratch / "candidates"
        left_out = Observation("left out")
        pairs = pairs.observe(left_out, F.sum(F.expr(f"if(first = {LEFT_OUT}, second, 0)")).alias("pairs"))
        pairs = pairs.where(f"first <> {LEFT_OUT}").dropDuplicates(["first", "second"])
        pairs.write.mode("overwrite").parquet(str(path))
        run.metrics["pairs_left_out_of_large_buckets"] = left_out.get["pairs"] or 0
        return path

    def _write_sets(self, run: StageRun, shards: tuple[Shard, ...], store: Store, candidates: Path) -> None:
        """Second pass: the shingle sets of the documents that are in a candidate pair, and of no others."""
        wanted = np.zeros(store.documents + 1, np.bool_)
        for batch in _pairs(candidates):
            wanted[batch.column("first").to_numpy()] = True
            wanted[batch.column("second").to_numpy()] = True
        flags = store.folder / "wanted.npy"
        np.save(flags, wanted)
        first_rows = {shard.name: shard.first_row or 0 for shard in shards}
        n = self.config.shingle

        def write(batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
            marked = np.load(flags, mmap_mode="r")
            at, numbers, values, sizes = first_rows[shard.name], [], [], [np.zeros(1, np.int64)]
            for batch in batches:
                mask = np.array(marked[at : at + batch.num_rows])
                numbers.append(np.flatnonzero(mask) + at)
                part = batch.filter(pa.array(mask))
                found, offsets = minhash.shingle_sets(part.column("text"), self._characters(part), n)
                values.append(found)
                sizes.append(np.diff(offsets))
                at += batch.num_rows
            if numbers:
                store.write_sets(
                    shard, np.concatenate(numbers), np.concatenate(values), np.cumsum(np.concatenate(sizes))
                )
            yield pa.RecordBatch.from_pydict({"shard": [shard.name]})

        run.scan(["text", "lang"], write, pa.schema([("shard", pa.string())])).count()
        store.join_sets(shards)

    def _forest(self, run: StageRun, store: Store, candidates: Path, exact: bool) -> tuple[Forest, int]:
        """Compare the candidates; the edges that pass become the forest."""
        lowest = np.float32(self.config.lowest)

        def compare(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                first, second = batch.column("first").to_numpy(), batch.column("second").to_numpy()
                found = store.similarities(first, second, exact)
                keep = found >= lowest
                yield pa.RecordBatch.from_pydict(
                    {"first": first[keep], "second": second[keep], "similarity": found[keep]}
                )

        path = run.scratch / "edges"
        pairs = run.spark.read.parquet(str(candidates)).select("first", "second")
        pairs.mapInArrow(compare, "first long, second long, similarity float").write.mode("overwrite").parquet(
            str(path)
        )
        files = sorted(path.glob("*.parquet"))
        edges = sum(pq.ParquetFile(file).metadata.num_rows for file in files)
        if edges > MAX_EDGES:
            raise PretrainDataError(
                f"{edges:,} edges at {self.config.lowest} are more than the driver holds ({MAX_EDGES:,}); "
                "raise spacing_threshold or threshold"
            )
        table = pa.concat_tables([pq.read_table(file) for file in files]) if files else _EDGES.empty_table()
        first, second = table["first"].to_numpy(), table["second"].to_numpy()
        return Forest.of(first, second, table["similarity"].to_numpy()), edges

    def _decide(self, run: StageRun, shards: tuple[Shard, ...], clusters: Clusters, documents: int) -> None:
        """Survivors and groups of all documents that have a similar one; one small file a shard."""
        config, forest = self.config, clusters.forest
        nodes, table = forest.nodes, clusters.table
        self._plan(run, clusters)
        cluster = forest.clusters(self.threshold)
        survivor, value = clusters.survivors(self.threshold)
        contents = clusters.store.contents()
        same = contents[nodes] == contents[nodes[survivor]]
        ids, sources = table["doc_id"].combine_chunks(), table["source_id"].combine_chunks()
        group = forest.clusters(config.spacing_threshold or self.threshold)
        decided = pa.table(
            {
                "number": nodes,
                "gone": survivor != np.arange(len(nodes)),
                "exact": same,
                "similarity": value,
                "kept_doc_id": ids.take(pa.array(survivor)),
                "kept_id": sources.take(pa.array(survivor)),
                "similar_group": ids.take(pa.array(group)),
            }
        )
        self.decisions = run.scratch / "decisions"
        self.decisions.mkdir(exist_ok=True)
        edges = np.searchsorted(nodes, [s.first_row or 0 for s in shards] + [documents])
        for shard, low, high in zip(shards, edges[:-1], edges[1:], strict=True):
            part = decided.slice(low, high - low)
            rows = pc.subtract(part["number"], shard.first_row or 0)
            pq.write_table(part.set_column(0, "row", rows), self.decisions / f"{shard.name.replace('/', '--')}.parquet")
        gone = decided["gone"].to_numpy(zero_copy_only=False)
        self.giant = giant(cluster, survivor, ids, documents, config.guard)
        sizes = np.bincount(cluster, minlength=1) if len(cluster) else np.zeros(1, np.int64)
        run.metrics |= {
            "clusters": int((sizes > 1).sum()),
            "largest_cluster": int(sizes.max()),
            "split_survivors": int((~gone).sum() - len(np.unique(cluster))) if len(cluster) else 0,
        }
        kept = pa.table(
            {
                "first": ids.take(pa.array(forest.first)),
                "second": ids.take(pa.array(forest.second)),
                "similarity": forest.similarity,
            }
        )
        pq.write_table(kept, run.output / "graph" / "forest.parquet", compression="zstd")
        versions = {"permutations": config.permutations, "shingle": config.shingle, "lowest": config.lowest}
        (run.output / "graph" / "forest.json").write_text(json.dumps(versions, indent=1))

    def _plan(self, run: StageRun, clusters: Clusters) -> None:
        """Write the curve over thresholds, and take the threshold from it where a target says so."""
        config = self.config
        totals = curve.Totals.of(sums(run.spark, run.scratch / "meta"))
        table = curve.curve(totals, clusters.table, config.thresholds, clusters.gone, clusters.forest.clusters)
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
        assert self.decisions is not None, "prepare runs first"
        decided = pq.read_table(self.decisions / f"{shard.name.replace('/', '--')}.parquet")
        rows = decided["row"].to_numpy()
        at = 0
        for batch in batches:
            low, high = np.searchsorted(rows, [at, at + batch.num_rows])
            part = decided.slice(low, high - low)
            place = np.full(batch.num_rows, -1, np.int64)
            place[rows[low:high] - at] = np.arange(high - low)
            at += batch.num_rows
            yield self._processed(batch, part, pa.array(place, mask=place < 0))

    def _processed(self, batch: pa.RecordBatch, part: pa.Table, place: pa.Array) -> Processed:
        def column(name: str) -> pa.Array:
            return part[name].combine_chunks().take(place)

        ids = batch.column("doc_id")
        gone = pc.fill_null(column("gone"), False)
        label = pc.if_else(pc.fill_null(column("exact"), False), "exact_duplicate", "near_duplicate")
        rule = pc.if_else(gone, label, pa.scalar(None, pa.string()))
        out = batch
        for name, values in (
            ("cluster_id", column("kept_doc_id")),
            ("similar_group", column("similar_group")),
        ):
            values = pc.coalesce(values, ids)
            known = out.schema.get_field_index(name)
            out = out.set_column(known, name, values) if known >= 0 else out.append_column(name, values)
        return Processed(
            out,
            rule=rule,
            value=column("similarity").cast(pa.float64()),
            threshold=pa.array([self.threshold] * batch.num_rows, pa.float64()),
            kept_id=column("kept_id"),
            kept_doc_id=column("kept_doc_id"),
        )


#: Stands in a pair's place before a count of pairs that were left out.
LEFT_OUT = -1
_KEYED = pa.schema([("key", pa.int64()), ("document", pa.int64())])
_EDGES = pa.schema([("first", pa.int64()), ("second", pa.int64()), ("similarity", pa.float32())])


def _keyed(documents: Any, keys: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(keys), pa.array(documents)], schema=_KEYED)


def _pairs_in_buckets(keyed: Any, config: DedupConfig) -> Any:
    """Candidate pairs of rows that are sorted by key within each partition.

    A row whose `first` is LEFT_OUT is no pair: it says how many were left out of large buckets.
    """

    def pair(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rest_keys, rest = np.zeros(0, np.int64), np.zeros(0, np.int64)
        for batch in batches:
            keys = np.concatenate([rest_keys, batch.column("key").to_numpy()])
            documents = np.concatenate([rest, batch.column("document").to_numpy()])
            # The last bucket may go on in the next batch: it waits.
            whole = int(np.searchsorted(keys, keys[-1])) if len(keys) else 0
            yield _paired(keys[:whole], documents[:whole], config)
            rest_keys, rest = keys[whole:], documents[whole:]
        yield _paired(rest_keys, rest, config)

    return keyed.mapInArrow(pair, "first long, second long")


def _paired(keys: Any, documents: Any, config: DedupConfig) -> pa.RecordBatch:
    first, second, capped = lsh.bucket_pairs(keys, documents, config.anchors, config.window)
    if capped:
        first, second = np.append(first, LEFT_OUT), np.append(second, capped)
    return pa.RecordBatch.from_pydict({"first": first, "second": second})


def _pairs(path: Path) -> Iterator[pa.RecordBatch]:
    for file in sorted(path.glob("*.parquet")):
        with pq.ParquetFile(file) as parquet:
            yield from parquet.iter_batches(batch_size=1 << 20)
