"""Lines, paragraphs and long substrings that many documents share: counted by hash over what stays, and taken out.

A shard's passages become (hash, documents, first) before anything is shuffled, so that a notice on every page costs a
row a shard. What is counted are documents that stay: the copies of a page, which go as a whole, don't make its text
a commonplace.

A substring is counted by a sample of its n-grams (`kernels.substrings`), each as if it were a passage, and what a
document's repeated grams cover is taken out. A document keeps the grams that it comes first with whole. So the texts
that go stand elsewhere: what goes from a document through one unit (line, paragraph, gram) is in the document that
comes first with it, which comes before, and the first of all that share some text loses none of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pretrain_data import schema
from pretrain_data.dataset import run_on_shards
from pretrain_data.dedup import withdrawn
from pretrain_data.dedup.index import sorted_keys
from pretrain_data.kernels import cuts, lsh, passages, substrings
from pretrain_data.mapped import load, save
from pretrain_data.stage import Shard, StageRun

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: `first` of a passage that an earlier day has kept: before every document.
BEFORE = -1
COUNTED = pa.schema([("hash", pa.int64()), ("documents", pa.int64()), ("first", pa.int64()), ("substring", pa.bool_())])
KINDS = ["line", "paragraph", "substring"]  # by the numbers that kernels give them
SUBSTRING = 2
FOLDER = "passages"  # below a day's index
RULE = "repeated_passages"

I64 = npt.NDArray[np.int64]


class PassagesConfig(BaseModel):
    """Which lines, paragraphs and substrings go because other documents have them too."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[Literal["paragraph", "line", "substring"], ...] = Field(
        default=("paragraph", "line"),
        min_length=1,
        description="What is looked at; substring: runs of tokens, wherever in a line or over several they stand.",
    )
    min_documents: Annotated[int, Field(ge=2)] = Field(
        default=20, description="Documents that a passage must be in to be a repeated one."
    )
    min_tokens: Annotated[int, Field(ge=1)] = Field(
        default=8,
        description="Words or Chinese characters that a line or paragraph must have; shorter ones always stay.",
    )
    substring_tokens: Annotated[int, Field(ge=2)] = Field(
        default=50, description="Words or Chinese characters that a substring must have; shorter ones always stay."
    )
    substring_window: Annotated[int, Field(ge=1)] = Field(
        default=50,
        description="Of so many runs of substring_tokens in a row one is counted: a substring of substring_tokens + "
        "this - 1 is found for sure, and less than this stays of it at either end. Smaller finds more and costs more: "
        "2 / (this + 1) of all tokens are counted.",
    )
    substring_documents: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="Documents that a substring must be in. Default: min_documents."
    )
    keep: Literal["one", "none"] = Field(
        default="one", description="one: a single document keeps it (by a hash of doc_id, an earlier day's first)."
    )
    drop_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.8,
        description=f"A document that loses this share of its characters or more is dropped as {RULE}.",
    )
    formats: tuple[str, ...] = Field(
        default=("prose",),
        description="Formats that passages are counted and taken out in; documents without a format are.",
    )

    @model_validator(mode="after")
    def _grams_touch(self) -> PassagesConfig:
        if self.substring_window > self.substring_tokens:
            raise ValueError("substring_window must not be above substring_tokens: a substring would go in pieces")
        return self

    @property
    def substrings(self) -> bool:
        return "substring" in self.kinds


class Repeated(NamedTuple):
    """The repeated passages and grams, by ascending hash: how many documents have each, and which may keep it."""

    hash: I64
    documents: I64
    first: I64

    @classmethod
    def load(cls, folder: Path) -> Repeated:
        """Mapped, not read."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls._fields))


def count(
    run: StageRun,
    shards: tuple[Shard, ...],
    before: tuple[Shard, ...],
    decisions: Path | None,
    config: PassagesConfig,
    simplified: bool,
    index: bool,
    gone: frozenset[str],
) -> None:
    """Find the repeated passages of `shards` (a day), counted with those of `before`; `folder_of` says where they lie.

    `index` says whether the counts of `shards` are kept with the output, for days to come; documents whose id is in
    `gone` aren't counted.
    """
    from pyspark.sql import functions as F

    counts = (run.output / "index" if index else run.scratch) / FOLDER

    def work(batches: Iterator[pa.RecordBatch], shard: Shard) -> None:
        kept = _kept(decisions, shard)
        parts, at = [], 0
        for batch in batches:
            mask = kept(at, batch.num_rows) & editable(batch, config) & ~withdrawn.among(batch, gone)
            at += batch.num_rows
            part = batch.filter(pa.array(mask))
            own = passages.keys(part.column("doc_id"))
            found = _find(part, config, simplified)
            parts.append(np.stack([found.hash, own[found.row], np.zeros_like(found.hash)]))
            grams = _grams(part, config, simplified)
            parts.append(np.stack([grams.hash, own[grams.row], np.ones_like(grams.hash)]))
        if parts:
            save(counts / f"{shard.name}.arrow", _grouped(np.concatenate(parts, axis=1)))

    run.each(["doc_id", "source_id", "text", "format"], work, shards)
    rows = _counted(run, shards, counts)
    if before:
        rows = rows.unionByName(_met(run, shards, before, counts))
    repeated = rows.groupBy("hash").agg(
        F.sum("documents").alias("documents"), F.min("first").alias("first"), F.max("substring").alias("substring")
    )
    least = F.when(F.col("substring"), config.substring_documents or config.min_documents)
    # What no document of the day has is no matter of this day; `_met` looked for no other.
    repeated = repeated.where(F.col("documents") >= least.otherwise(config.min_documents))
    repeated = repeated.repartitionByRange(run.partitions, "hash")
    path = run.scratch / "repeated.parquet"
    repeated.sortWithinPartitions("hash").write.mode("overwrite").parquet(str(path))
    found, grams = _laid_out(path, folder_of(run.scratch, shards))
    for name, number in (("repeated_passages", found - grams), ("repeated_grams", grams)):
        run.metrics[name] = run.metrics.get(name, 0) + number


def folder_of(scratch: Path, shards: tuple[Shard, ...]) -> Path:
    """Where the repeated passages of a day lie, by its first shard."""
    return scratch / "repeated" / shards[0].name.replace("/", "--") if shards else scratch / "repeated" / "none"


def editable(batch: pa.RecordBatch, config: PassagesConfig) -> npt.NDArray[np.bool_]:
    """Documents whose format lets passages go: code and formulae repeat lines and mean them."""
    if "format" not in batch.schema.names:
        return np.ones(batch.num_rows, np.bool_)
    known = batch.column("format").cast(pa.string())
    allowed = pc.fill_null(pc.is_in(known, pa.array(config.formats, pa.string())), False)
    return np.asarray(pc.or_(allowed, pc.is_null(known)).to_numpy(zero_copy_only=False), np.bool_)


class Edited(NamedTuple):
    """A batch without repeated passages; `share` of each text that went; `gone` says which documents go with it."""

    batch: pa.RecordBatch
    share: npt.NDArray[np.float64]
    gone: npt.NDArray[np.bool_]
    metrics: dict[str, float]


def take_out(
    batch: pa.RecordBatch,
    staying: npt.NDArray[np.bool_],
    repeated: Repeated,
    config: PassagesConfig,
    simplified: bool,
) -> Edited:
    """Take the repeated passages out of the documents that `staying` is true for, and say where they were."""
    text = batch.column("text").cast(pa.large_string()).fill_null("")
    batch = batch.set_column(batch.schema.get_field_index("text"), "text", text)
    wanted = np.flatnonzero(staying & editable(batch, config))
    found = _find(batch.take(pa.array(wanted)), config, simplified)
    found = found._replace(row=wanted[found.row])
    place, hit = _looked_up(repeated, found.hash)
    if config.keep == "one" and hit.any():
        own = passages.keys(batch.column("doc_id"))
        hit &= repeated.first[place] != own[found.row]
    order = np.flatnonzero(hit)[passages.outermost(found.where(hit))]
    outer = found.where(order)
    documents = repeated.documents[place[order]] if len(order) else np.zeros(0, np.int64)
    if config.substrings:
        outer, documents = _with_substrings(batch, wanted, outer, documents, repeated, config, simplified)
    start, end = passages.places(text, outer)
    lengths = pc.utf8_length(text).to_numpy(zero_copy_only=False)
    went = np.bincount(outer.row, weights=end - start, minlength=batch.num_rows)
    share = went / np.maximum(lengths, 1)
    spans = _spans(outer, start, end, documents, batch.num_rows)
    new = cuts.without(text, outer.row, outer.start, outer.end) if config.substrings else passages.without(text, outer)
    left = pc.utf8_length(pc.utf8_trim_whitespace(new)).to_numpy(zero_copy_only=False)
    gone = (share >= config.drop_share) | ((went > 0) & (left == 0))
    edited = (went > 0) & ~gone
    batch = batch.set_column(batch.schema.get_field_index("text"), "text", pc.if_else(pa.array(edited), new, text))
    at = batch.schema.get_field_index("repeated_spans")
    batch = batch.set_column(at, "repeated_spans", spans) if at >= 0 else batch.append_column("repeated_spans", spans)
    stays = edited[outer.row]
    metrics = {
        "passages.documents": float(edited.sum()),
        "passages.chars": float(went[edited].sum()),
        "passages.lines": float((outer.kind[stays] == passages.LINE).sum()),
        "passages.paragraphs": float((outer.kind[stays] == passages.PARAGRAPH).sum()),
        "passages.substrings": float((outer.kind[stays] == SUBSTRING).sum()),
    }
    return Edited(batch, share, gone, metrics)


def _looked_up(repeated: Repeated, hashes: I64) -> tuple[I64, npt.NDArray[np.bool_]]:
    """The place of each hash among the repeated ones (0 where it is none), and whether it is one."""
    if not len(repeated.hash):
        return np.zeros(len(hashes), np.int64), np.zeros(len(hashes), np.bool_)
    place = np.searchsorted(repeated.hash, hashes)
    place[place == len(repeated.hash)] = 0
    return place, np.asarray(repeated.hash[place] == hashes)


def _find(batch: pa.RecordBatch, config: PassagesConfig, simplified: bool) -> passages.Passages:
    lines, paragraphs = "line" in config.kinds, "paragraph" in config.kinds
    if not (lines or paragraphs):
        batch = batch.slice(0, 0)
    return passages.find(batch.column("text"), lines, paragraphs, config.min_tokens, simplified)


def _grams(batch: pa.RecordBatch, config: PassagesConfig, simplified: bool) -> substrings.Grams:
    if not config.substrings:
        batch = batch.slice(0, 0)
    return substrings.grams(batch.column("text"), config.substring_tokens, config.substring_window, simplified)


def _with_substrings(
    batch: pa.RecordBatch,
    wanted: I64,
    outer: passages.Passages,
    documents: I64,
    repeated: Repeated,
    config: PassagesConfig,
    simplified: bool,
) -> tuple[passages.Passages, I64]:
    """`outer`, and what the repeated grams of the rows `wanted` cover beside it; how many documents have each."""
    some = batch.take(pa.array(wanted))
    grams = _grams(some, config, simplified)
    place, gone = _looked_up(repeated, grams.hash)
    kept = np.zeros_like(gone)
    if config.keep == "one" and gone.any():
        own = passages.keys(some.column("doc_id"))
        kept = gone & (repeated.first[place] == own[grams.row])
        gone &= ~kept
    counts = repeated.documents[place] if gone.any() else np.zeros(len(place), np.int64)
    runs = substrings.runs(grams, gone, kept, counts, config.substring_tokens)
    start, end = substrings.places(some.column("text"), runs, simplified)
    both = passages.Passages(
        np.r_[outer.row, wanted[runs.row]],
        np.r_[outer.start, start],
        np.r_[outer.end, end],
        np.r_[outer.hash, np.zeros_like(start)],
        np.r_[outer.kind, np.full(len(start), SUBSTRING, np.uint8)],
    )
    which, start, end = cuts.apart(batch.column("text"), both.row, both.start, both.end, both.kind != SUBSTRING)
    return both.where(which)._replace(start=start, end=end), np.r_[documents, runs.documents][which]


def _spans(found: passages.Passages, start: I64, end: I64, documents: I64, rows: int) -> pa.Array:
    kinds = pa.DictionaryArray.from_arrays(found.kind, KINDS).cast(pa.string())
    values = pa.StructArray.from_arrays(
        [pa.array(start, pa.int32()), pa.array(end, pa.int32()), kinds, pa.array(documents)],
        fields=list(schema.REPEATED_SPANS.value_type),
    )
    offsets = np.searchsorted(found.row, np.arange(rows + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values).cast(schema.REPEATED_SPANS)


def _kept(decisions: Path | None, shard: Shard) -> Any:
    """A function (first row, rows) -> which of them stay."""
    gone = np.zeros(0, np.int64)
    if decisions is not None:
        table = pq.read_table(decisions / f"{shard.name.replace('/', '--')}.parquet", columns=["row", "gone"])
        gone = table["row"].to_numpy()[table["gone"].to_numpy(zero_copy_only=False)]

    def kept(at: int, rows: int) -> npt.NDArray[np.bool_]:
        low, high = np.searchsorted(gone, [at, at + rows])
        mask = np.ones(rows, np.bool_)
        mask[gone[low:high] - at] = False
        return mask

    return kept


def _grouped(pairs: I64) -> pa.Table:
    """(hash, document key, whether of a substring), with repeats, as the rows of COUNTED, by hash."""
    pairs = pairs[:, np.lexsort((pairs[1], pairs[0]))]
    pairs = pairs[:, np.r_[True, (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)][: pairs.shape[1]]]
    first = np.flatnonzero(np.r_[True, pairs[0, 1:] != pairs[0, :-1]][: pairs.shape[1]])
    sizes = np.diff(np.r_[first, pairs.shape[1]])
    return pa.table([pairs[0, first], sizes, pairs[1, first], pairs[2, first] > 0], schema=COUNTED)


def _counted(run: StageRun, shards: tuple[Shard, ...], counts: Path) -> DataFrame:
    def work(shard: Shard) -> Iterator[pa.RecordBatch]:
        yield from load(counts / f"{shard.name}.arrow").to_batches()

    return run_on_shards(run.spark, shards, work, COUNTED, run.tasks)


def _met(run: StageRun, shards: tuple[Shard, ...], before: tuple[Shard, ...], counts: Path) -> DataFrame:
    """Rows of earlier days for passages that this day has too."""
    wanted = run.scratch / "passages.npy"
    sorted_keys([load(counts / f"{shard.name}.arrow")["hash"].to_numpy() for shard in shards], wanted)

    def work(shard: Shard) -> Iterator[pa.RecordBatch]:
        table = load(counts / f"{shard.name}.arrow")
        met = lsh.meeting(table["hash"].to_numpy(), np.load(wanted, mmap_mode="r"), 1)
        rows = table.take(pa.array(met)).set_column(2, "first", pa.array(np.full(len(met), BEFORE)))
        yield from rows.to_batches()

    return run_on_shards(run.spark, before, work, COUNTED, run.tasks)


def _laid_out(path: Path, folder: Path) -> tuple[int, int]:
    """The parts of a Parquet folder end to end as .npy files that tasks map; returns how many rows, and grams."""
    files = sorted(path.glob("*.parquet"))
    sizes = [pq.read_metadata(file).num_rows for file in files]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    order = np.argsort([_lowest(file) for file in files]).tolist()
    for name in Repeated._fields:
        out = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.int64, (sum(sizes),))
        at = 0
        for i in order:
            out[at : at + sizes[i]] = pq.read_table(files[i], columns=[name])[name].to_numpy()
            at += sizes[i]
        out.flush()
    grams = sum(pc.sum(pq.read_table(file, columns=["substring"])["substring"]).as_py() or 0 for file in files)
    return sum(sizes), grams


def _lowest(file: Path) -> int:
    table = pq.read_table(file, columns=["hash"])
    return table["hash"][0].as_py() if table.num_rows else -(2**63)
