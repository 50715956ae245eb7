"""export: the order made real, as blocks of N tokens in training order.

Two passes. The first reads ids, positions and token counts only and finds where each block begins,
by sums over fine bins of the order. The second sends every use of a document, with its text, once,
to the task that writes its block. Blocks that were handed out before (`stages.mix.handed_out`) are linked
as they are, and the new ones go on behind them.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from pretrain_data.dataset import Dataset, read_shard
from pretrain_data.errors import AccountingError, InputError
from pretrain_data.formats.blocks import Block, BlockWriter, carry_over, output_schema, record_path, write_manifest
from pretrain_data.formats.cards import write_cards
from pretrain_data.kernels.mixture import hash_strings, mix
from pretrain_data.kernels.tokens import count_column
from pretrain_data.mixing import spread
from pretrain_data.mixing.history import VALIDATION, History
from pretrain_data.mixing.mixture import Tokens
from pretrain_data.mixing.plan import group_column
from pretrain_data.reader import read_manifest
from pretrain_data.stage import OrderStage, Shard, StageConfig, StageRun
from pretrain_data.tokenizers import load_saved, load_tokenizer

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Pieces of a phase's order in which tokens are summed; the sums of all are on the driver.
BINS = 1 << 16
MOST_BLOCKS = 1_000_000

#: What a reader of the blocks, the trace and the report want to know of a document.
COLUMNS = (
    "text", "channel", "title", "url", "source", "source_id", "origin", "crawl_date", "lang", "format",
    "signals", "quality_score", "domain", "domain_score", "cluster_id", "similar_group",
)  # fmt: skip


class ExportConfig(StageConfig):
    """Config of the stage `export`."""

    block_tokens: Tokens = Field(
        default=1_000_000_000, ge=1000, description="Tokens of a block; 1B, 1.5M and 1e9 are read."
    )
    megatron: bool = Field(default=False, description="Write token files for Megatron beside the text.")
    jsonl: bool = Field(default=False, description="Write the blocks as JSONL.zst as well.")
    spread_report: bool = Field(
        default=True, description="Measure how far apart similar documents are, beside a plain shuffle."
    )
    columns: list[str] = Field(
        default=list(COLUMNS), description="Columns to carry, where the input has them; text always is."
    )
    tokenizer: str | None = Field(
        default=None, description="Training tokenizer; default: the one that mix counted with."
    )
    end_of_document: str | None = Field(
        default=None, description="Token after each document; default: the one that mix was given."
    )
    name: str = Field(default="pretraining documents", description="What the dataset card calls the export.")
    license: str = Field(
        default="other", description="SPDX id that the dataset card names; `other` where the sources have their own."
    )


class ExportStage(OrderStage[ExportConfig]):
    """Blocks in training order, with token counts, channels and provenance."""

    name: ClassVar[str] = "export"
    config_class: ClassVar[type[StageConfig]] = ExportConfig
    needs: ClassVar[tuple[str, ...]] = ("doc_id", "text")

    def write(self, run: StageRun, out: Path) -> None:
        given = (run.source.manifest or {}).get("config", {})
        tokenizer = load_tokenizer(
            self.config.tokenizer or given.get("tokenizer") or "default",
            self.config.end_of_document or given.get("end_of_document"),
        )
        saved = out / "tokenizer" / "encoder.json"
        tokenizer.save(saved)
        schema = carried(run.source, ["text", *self.config.columns])
        phases = (run.source.manifest or {}).get("metrics", {}).get("sequence_length", {"main": None})

        history = _history(run)
        if history is not None:
            history.check_tokenizer(tokenizer)
        kept = history.records if history else ()
        run.carried = carry_over(kept, history.path, out) if history else []

        keys_path = str(run.scratch / "keys")
        wanted = list(NEEDED)
        explode = Explode(str(saved), run.seed, ())
        if "tokens" not in names_of(run.source):
            wanted.append("text")
        run.scan(wanted, explode, KEYS).write.mode("overwrite").parquet(keys_path)
        keys = run.spark.read.parquet(keys_path)
        blocks = find_blocks(keys, list(phases), self.config.block_tokens, history)
        if blocks and history is not None:
            kinds = {"documents", "index"} | ({"bin", "idx"} if self.config.megatron else set())
            history.check_blocks(output_schema(schema), kinds | ({"jsonl"} if self.config.jsonl else set()))

        (out / "documents").mkdir(parents=True, exist_ok=True)
        if not blocks and not kept:
            pq.write_table(output_schema(schema).empty_table(), out / "documents" / "part-empty.parquet")
        writer = BlockWriter(out, tuple(blocks), str(saved), self.config.megatron, self.config.jsonl, schema)
        if blocks:
            write_blocks(run, Explode(str(saved), run.seed, tuple(schema.names)), schema, writer)
        about = {
            "end_of_document": tokenizer.end_of_document,
            "vocabulary_size": tokenizer.vocabulary_size,
            "block_tokens": self.config.block_tokens,
            "sequence_length": phases,
        }
        whole = write_manifest(out, blocks, about, kept)
        write_cards(out, whole["blocks"], output_schema(schema), self.config.name, self.config.license)
        run.blocks, run.files = counted(whole["blocks"])
        run.metrics["blocks"] = len(whole["blocks"])
        run.metrics["blocks_carried_over"] = len(kept)
        if self.config.spread_report:
            run.metrics["spread"] = spread.report(
                placed(keys, list(phases), run.seed, history), _numbered(list(phases))
            )
            for line in spread.lines(run.metrics["spread"]):
                run.say(line)
        run.metrics["tokens"] = sum(block["tokens"] for block in whole["blocks"])


def counted(records: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """What the blocks' records tell the pipeline: see StageRun.blocks and StageRun.files."""
    blocks: list[dict[str, Any]] = []
    files: dict[str, dict[str, Any]] = {}
    for record in records:
        stamps = {f["path"]: {"bytes": f["bytes"], "xxh3": f["xxh3"]} for f in record["files"].values()}
        documents = stamps.pop(record["files"]["documents"]["path"])
        files |= stamps
        if "chars" in record:  # blocks that an older version made don't tell
            name = Path(record["files"]["documents"]["path"]).stem
            figures = {"rows": record["documents"], "chars": record["chars"], "tokens": record["tokens"]}
            blocks.append({"name": name, **figures, **documents})
    return blocks, files


def _history(run: StageRun) -> History | None:
    """The blocks that mix counted as handed out. Raises InputError where they aren't as mix saw them."""
    record = (run.source.manifest or {}).get("metrics", {}).get("handed_out")
    if record is None:
        return None
    records = read_manifest(Path(record["path"]))["blocks"][: record["blocks"]]
    history = History(Path(record["path"]), tuple(records))
    if history.fingerprint != record["fingerprint"]:
        raise InputError(
            f"{record['path']}: its first {record['blocks']} blocks aren't those that the mix was made for; "
            "run the stage mix again, with --force"
        )
    return history


def _numbered(phases: Sequence[str]) -> dict[int, str]:
    return {-1: VALIDATION, **dict(enumerate(phases))}


def names_of(source: Dataset) -> list[str]:
    """Columns of the input, from its first shard."""
    return first_schema(source).names


def first_schema(source: Dataset) -> pa.Schema:
    for shard in source.shards:
        for batch in read_shard(shard):
            return batch.schema
    return pa.schema([("doc_id", pa.string()), ("text", pa.large_string())])


def carried(source: Dataset, columns: Sequence[str]) -> pa.Schema:
    """Those of `columns` that the input has, in the order asked for."""
    there = first_schema(source)
    fields = [there.field(name) for name in dict.fromkeys(columns) if name in there.names]
    return pa.schema([field.remove_metadata() for field in fields if not pa.types.is_null(field.type)])


@dataclass(frozen=True)
class Explode:
    """One row for each use of a document: `position`, `use`, `tokens` and the columns asked for.

    Without `positions` every document is used once, at a place drawn from its id; without `tokens`
    they are counted.
    """

    tokenizer: str
    seed: int
    columns: tuple[str, ...]

    def __call__(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
        row = 0
        for batch in batches:
            yield self.explode(batch, shard, row)
            row += batch.num_rows

    def explode(self, batch: pa.RecordBatch, shard: Shard, first_row: int) -> pa.RecordBatch:
        names = batch.schema.names
        if "positions" in names:
            lists = batch.column("positions")
            uses = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
            position = lists.flatten()
        else:
            uses = np.ones(batch.num_rows, np.int64)
            spread = mix(hash_strings(batch.column("doc_id")), self.seed) >> np.uint64(11)
            position = pa.array(spread.astype(np.float64) / 2.0**53)
        if "tokens" in names:
            tokens = batch.column("tokens").cast(pa.int64())
        else:
            tokens = pa.array(count_column(batch.column("text"), load_saved(self.tokenizer)), pa.int64())
        row = np.repeat(np.arange(batch.num_rows), uses)
        use = np.arange(len(row)) - np.repeat(np.cumsum(uses) - uses, uses)
        before = np.zeros(batch.num_rows, np.int32)
        if "uses_before" in names:
            before = pc.fill_null(batch.column("uses_before"), 0).to_numpy(zero_copy_only=False)
        take = pa.array(row)
        columns = {
            "position": position,
            "doc_id": batch.column("doc_id").take(take),
            "use": pa.array(use + before[row], pa.int32()),
            "tokens": tokens.take(take),
            "group": pa.array(hash_strings(group_column(batch)).view(np.int64)[row]),
            "shard": pa.array([shard.name] * len(row), pa.string()),
            "row": pa.array(first_row + row, pa.int64()),
        }
        for name in self.columns:
            columns[name] = batch.column(name).take(take) if name in names else pa.nulls(len(row))
        return pa.RecordBatch.from_pydict(columns)


#: What `Explode` reads beside the columns that it carries.
NEEDED = ("doc_id", "positions", "tokens", "uses_before", "similar_group", "cluster_id")

KEYS = pa.schema(
    [
        ("position", pa.float64()),
        ("doc_id", pa.string()),
        ("use", pa.int32()),
        ("tokens", pa.int64()),
        ("group", pa.int64()),
        ("shard", pa.string()),
        ("row", pa.int64()),
    ]
)


def streams(keys: DataFrame) -> DataFrame:
    """`keys` with `phase`, `size` and `start`: the use's first token in the stream of its phase.

    `keys` has position, doc_id, use, tokens; see `Explode`.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    keys = (
        keys.withColumn("phase", F.floor("position").cast("int"))
        .withColumn("bin", F.floor((F.col("position") - F.col("phase")) * BINS).cast("int"))
        .withColumn("size", F.col("tokens") + 1)  # each document is followed by an end-of-document token
    )
    bins = keys.groupBy("phase", "bin").agg(F.sum("size").alias("size")).collect()  # phases * BINS at most
    before: list[tuple[int, int, int]] = []
    running: dict[int, int] = {}
    for row in sorted(bins, key=lambda r: (r["phase"], r["bin"])):
        before.append((row["phase"], row["bin"], running.get(row["phase"], 0)))
        running[row["phase"]] = running.get(row["phase"], 0) + row["size"]
    offsets = keys.sparkSession.createDataFrame(before, "phase int, bin int, before long")
    inside = Window.partitionBy("phase", "bin").orderBy("position", "doc_id", "use")
    start = F.col("before") + F.sum("size").over(inside) - F.col("size")
    return keys.join(F.broadcast(offsets), ["phase", "bin"]).withColumn("start", start).drop("bin", "before")


def find_blocks(
    keys: DataFrame, phases: Sequence[str], block_tokens: int, history: History | None = None
) -> list[Block]:
    """Where each block begins, validation first; numbers and offsets go on from those handed out before."""
    from pyspark.sql import functions as F

    firsts = (
        streams(keys)
        .withColumn("nth", F.floor(F.col("start") / block_tokens))
        .groupBy("phase", "nth")
        .agg(F.min(F.struct("position", "doc_id", "use", "start")).alias("first"))
        .limit(MOST_BLOCKS + 1)
        .collect()  # one row a block
    )
    if len(firsts) > MOST_BLOCKS:
        raise InputError(f"more than {MOST_BLOCKS} blocks: make block_tokens larger than {block_tokens}")
    firsts.sort(key=lambda row: (row["phase"], row["nth"]))
    blocks = []
    for number, row in enumerate(firsts, len(history.records) if history else 0):
        name = phase_name(phases, row["phase"])
        offset = row["first"]["start"] + (history.stream_tokens(name) if history else 0)
        first = row["first"]
        blocks.append(Block(number, name, offset, (first["position"], first["doc_id"], first["use"])))
    return blocks


def placed(keys: DataFrame, phases: Sequence[str], seed: int, history: History | None) -> DataFrame:
    """What `spread.report` looks at, over all blocks: those handed out before and those made now."""
    from pyspark.sql import functions as F

    uses = streams(keys).select("phase", "doc_id", "use", "group", "start", "size")
    if history is not None and history.records:
        names = _numbered(phases)
        behind = F.create_map(*(F.lit(x) for i, name in names.items() for x in (i, history.stream_tokens(name))))
        paths = [str(history.path / record["files"]["documents"]["path"]) for record in history.records]
        number = {name: i for i, name in names.items()}

        def row(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                columns = {
                    "phase": pa.array([number[name] for name in batch.column("phase").to_pylist()], pa.int32()),
                    "doc_id": batch.column("doc_id"),
                    "use": batch.column("use"),
                    "group": pa.array(hash_strings(group_column(batch)).view(np.int64)),
                    "start": batch.column("offset"),
                    "size": pc.add(batch.column("tokens").cast(pa.int64()), 1),
                }
                yield pa.RecordBatch.from_pydict(columns)

        old = keys.sparkSession.read.parquet(*paths)
        there = ("phase", "doc_id", "use", "offset", "tokens", "similar_group", "cluster_id")
        old = old.select(*(name for name in there if name in old.columns))
        old = old.mapInArrow(row, "phase int, doc_id string, use int, group long, start long, size long")
        uses = uses.withColumn("start", F.col("start") + behind[F.col("phase")]).unionByName(old)
    drawn = F.shiftrightunsigned(F.xxhash64(F.lit(seed), "doc_id", "use"), 11) / F.lit(float(1 << 53))
    shuffled = uses.withColumnRenamed("start", "at").withColumn("position", F.col("phase") + drawn)
    shuffled = streams(shuffled.withColumn("tokens", F.col("size") - 1))
    return shuffled.select("phase", "group", F.col("at").alias("start"), F.col("start").alias("shuffled"), "size")


def phase_name(phases: Sequence[str], number: int) -> str:
    if number < 0:
        return "validation"
    return phases[number] if number < len(phases) else f"phase-{number}"


def block_numbers(blocks: Sequence[Block], position: np.ndarray, doc_id: pa.Array, use: np.ndarray) -> np.ndarray:
    """Number of the block that each use belongs to."""
    ordered = sorted(blocks, key=lambda block: block.first)
    firsts = [block.first for block in ordered]
    starts = np.array([first[0] for first in firsts])
    at = np.searchsorted(starts, position, side="right") - 1
    # A use at exactly the place where a block begins: the ids decide.
    for i in np.flatnonzero(starts[at] == position):
        at[i] = bisect.bisect_right(firsts, (float(position[i]), doc_id[int(i)].as_py(), int(use[i]))) - 1
    return np.array([block.number for block in ordered], np.int32)[at]


def write_blocks(run: StageRun, explode: Explode, schema: pa.Schema, writer: BlockWriter) -> None:
    """Send each use to its block's task and write the blocks that are not there yet."""
    from pyspark.sql import functions as F

    blocks, out = writer.blocks, writer.out
    first = blocks[0].number
    done = np.array([record_path(out, block).exists() for block in blocks])

    def numbered(batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
        for batch in explode(batches, shard):
            number = block_numbers(
                blocks,
                batch.column("position").to_numpy(),
                batch.column("doc_id"),
                batch.column("use").to_numpy(),
            )
            todo = pa.array(~done[number - first])
            yield batch.append_column("block", pa.array(number, pa.int32())).filter(todo)

    columns = pa.schema([*KEYS, *(f for f in schema if f.name not in KEYS.names), ("block", pa.int32())])
    wanted = [*NEEDED, "text", *schema.names]
    written = (
        run.scan(list(dict.fromkeys(wanted)), numbered, columns)
        .repartitionById(len(blocks), F.col("block") - first)
        .sortWithinPartitions("block", "position", "doc_id", "use")
        .mapInArrow(writer, "block int")
        .count()
    )
    if written != int((~done).sum()):
        raise AccountingError(f"{written} of {int((~done).sum())} blocks were written")
