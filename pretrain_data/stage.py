"""What a stage is: a name, a typed config, the columns it needs and adds, and one function.

A stage sees one shard at a time as a stream of Arrow record batches and says for every row whether
it is kept. Reading, sharding, writing, the ledger, accounting, skipping, resuming and metrics
happen around it, in `pipeline` and `dataset`. A stage that must look at the whole dataset first
(dedup, mix) does so in `prepare`, with Spark, and leaves small per-shard decisions for `process`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pretrain_data.dataset import Dataset


class StageConfig(BaseModel):
    """Keys that every stage has; a stage's own config derives from this."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: str | None = Field(
        default=None,
        description="Where this stage reads: a folder, file or glob. Default: the stage before it.",
    )
    max_error_rate: float = Field(
        default=0.001,
        ge=0,
        le=1,
        description="Share of the documents that may end in an error (Stage.errors) before the run is refused; "
        "ten are always let pass.",
    )
    stall_seconds: float = Field(
        default=1800,
        gt=0,
        description="Seconds without a batch in or out after which a worker counts as hanging and is ended.",
    )
    isolation_memory_mb: int = Field(
        default=4096,
        ge=64,
        description="MiB that a worker may take beyond its start when a shard that killed one is tried again.",
    )

    #: Keys that say how a run is watched, and change nothing in what it writes.
    OPERATIONAL: ClassVar[frozenset[str]] = frozenset(
        {"input", "max_error_rate", "stall_seconds", "isolation_memory_mb"}
    )


C = TypeVar("C", bound=StageConfig)
T = TypeVar("T")


@dataclass(frozen=True)
class Unit:
    """A piece of an input file: the whole of it, or the records that start in [start, end)."""

    path: str  # or URL
    format: str
    start: int = 0  # bytes, rows or row groups, as the format's reader counts
    end: int | None = None
    label: str = ""  # path relative to the input, part of the document's origin
    stamp: str = ""  # of a remote file: changes with it
    columns: tuple[tuple[str, str], ...] = ()  # of a table: ours and theirs


@dataclass(frozen=True)
class Shard:
    """The unit of work, of retry and of commit: some input pieces in, one Parquet file out."""

    name: str  # e.g. "part-00003" or "dt=2026-01-31/part-00003"; the file's stem in the output
    units: tuple[Unit, ...]
    rows: int | None = None  # documents, where known beforehand
    first_row: int | None = None  # number of its first document in the dataset, where known


@dataclass(frozen=True)
class Processed:
    """What a stage makes of one record batch: the same rows in the same order, and their fate.

    `rule` is null for a kept row and names the rule for a dropped one. The other arrays, where
    given, have one entry a row and are read only where `rule` is not null. `metrics` are summed
    over batches and shards and end in the manifest.
    """

    batch: pa.RecordBatch
    rule: pa.Array | None = None  # string
    value: pa.Array | None = None  # float64
    threshold: pa.Array | None = None  # float64
    kept_id: pa.Array | None = None  # string: source_id of the survivor
    kept_doc_id: pa.Array | None = None  # string: doc_id of the survivor
    detail: pa.Array | None = None  # string
    metrics: Mapping[str, float] = field(default_factory=dict)


ShardFunction = Callable[[Iterator[pa.RecordBatch], Shard], Iterable[pa.RecordBatch]]


@dataclass
class StageRun:
    """The driver's side of one run of a stage, handed to `Stage.prepare`."""

    spark: SparkSession
    source: Dataset
    scratch: Path  # visible to executors, removed after the commit
    output: Path  # the folder that becomes the output; for what belongs beside documents/
    workspace: Path  # where the outputs of all stages lie
    seed: int  # derives from the config's seed and the stage's name
    partitions: int  # Spark partitions for shuffles; must not change any output
    tasks: int | None = None  # most tasks in one pass over the shards; None: one a shard
    stall_seconds: float = 1800.0  # without a batch, after which a worker in such a pass counts as hanging
    metrics: dict[str, Any] = field(default_factory=dict)  # goes into the manifest as given (JSON)
    shards: list[dict[str, Any]] = field(default_factory=list)  # what came of each shard; for `conclude`
    warnings: list[str] = field(default_factory=list)
    #: Shards of an OrderStage's output that an earlier run made and that stay; their documents aren't counted in.
    carried: list[str] = field(default_factory=list)
    #: What an OrderStage counted while it wrote: name, rows, chars, tokens, bytes and xxh3 of a file of documents ...
    blocks: list[dict[str, Any]] = field(default_factory=list)
    #: ... and bytes and xxh3 of files beside them, by path; so that nothing is read again to be counted.
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Tells whoever watches the run one line; the pipeline puts the stage's name before it.
    say: Callable[[str], None] = lambda line: None
    #: Shards whose input and maker are those of the last commit, and shards of it that are gone from the input.
    unchanged: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    #: Takes over the named ones of `unchanged` with all their files; `process` then never sees them.
    take_over: Callable[[Container[str]], int] = field(default=lambda names: 0)

    def warn(self, text: str) -> None:
        """Say something that a person should look at; it is printed and kept in the manifest."""
        self.warnings.append(text)

    def scan(
        self,
        columns: list[str],
        function: ShardFunction,
        schema: pa.Schema,
        shards: tuple[Shard, ...] | None = None,
    ) -> DataFrame:
        """A DataFrame made by `function(batches, shard)` over every input shard (or `shards`), one task a shard.

        Only `columns` are read. `batches` holds the shard's rows in order, so that (shard, row
        number) names a document densely and for good.
        """
        from pretrain_data.dataset import scan
        from pretrain_data.passes import watched_scan

        source = self.source if shards is None else replace(self.source, shards=shards)
        watched = watched_scan(function, self.scratch, self.stall_seconds)
        return scan(self.spark, source, columns, watched, schema, self.tasks)

    def each(
        self,
        columns: list[str],
        function: Callable[[Iterator[pa.RecordBatch], Shard], T],
        shards: tuple[Shard, ...] | None = None,
    ) -> list[T]:
        """What `function(batches, shard)` returns for every input shard (or `shards`), in their order.

        As `scan` reads; what comes back is held by the driver.
        """
        from pretrain_data.dataset import on_each, read_shard
        from pretrain_data.passes import watched_each

        every = self.source.shards if shards is None else shards
        watched = watched_each(function, self.scratch, self.stall_seconds)
        return on_each(self.spark, every, lambda shard: watched(read_shard(shard, columns), shard), self.tasks)


class Stage(Generic[C]):
    """Base of all stages. Instances are pickled to executors: keep heavy state out of them."""

    name: ClassVar[str]
    config_class: ClassVar[type[StageConfig]] = StageConfig
    needs: ClassVar[tuple[str, ...]] = ()
    adds: ClassVar[tuple[str, ...]] = ()
    #: Whether a shard's output depends on that shard alone (and config, seed, resources, code), so that
    #: it is taken over from an earlier run when nothing of that has changed. A `prepare` that looks at other
    #: shards must say by `reusable` which shards that leaves as they were.
    shardwise: ClassVar[bool] = False
    #: Rules that stand for an error and not for a judgement; `max_error_rate` bounds them.
    errors: ClassVar[frozenset[str]] = frozenset({"poison"})

    def __init__(self, config: C) -> None:
        self.config = config

    @classmethod
    def warm(cls) -> None:
        """Make what workers need whatever the config: tables, compiled kernels. Runs once, before they are forked.

        Must start no thread and touch no GPU (see `daemon`); must be quick, since workers wait for it.
        """

    def resources(self) -> list[Path]:
        """Files whose content belongs to this stage's fingerprint: word lists, models, rules."""
        return []

    def asked(self) -> list[str]:
        """What besides config, resources and input puts an output out of date, though not each of its shards.

        A stage that names something here finds out itself which shards of the last output still hold.
        """
        return []

    def prepare(self, run: StageRun) -> None:
        """Look at the whole dataset before the shards are processed. Runs on the driver."""

    def reusable(self, run: StageRun) -> Container[str]:
        """Of a `shardwise` stage, the shards of `run.unchanged` that come out as before; asked after `prepare`."""
        return run.unchanged

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        """Judge one shard, on an executor. Every row that comes in must come out, in order."""
        raise NotImplementedError

    def conclude(self, run: StageRun) -> None:
        """Look at what came of it, on the driver, after the last shard and before the commit.

        `run.shards` holds each shard's counts (rows, dropped, rules, kept_by, dropped_by, metrics), and
        `run.output` what was written. Figures go into `run.metrics`, worries into `run.warn`; raise a
        PretrainDataError to refuse the commit.
        """


class OrderStage(Stage[C]):
    """A stage whose output is not shard by shard but in an order of its own (export)."""

    def write(self, run: StageRun, out: Path) -> None:
        """Write `out/documents/*.parquet` (and whatever else belongs to the output) with Spark.

        Every document of `run.source` must be there, as often as its order says. The same bytes
        whatever the partitioning; figures go into `run.metrics`.
        """
        raise NotImplementedError


class SourceStage(Stage[C]):
    """A stage that creates documents (ingest): it plans its own shards and reads them itself.

    `process` then gets an empty stream of batches, and yields rows that did not exist before; an
    input record that gives no document is yielded as a row that is dropped at once.
    """

    def plan(self, root: Path) -> list[Shard]:
        """The shards to make, in a fixed order that depends on the input alone.

        `root` is the folder that relative input paths start from (the config file's folder).
        """
        raise NotImplementedError
