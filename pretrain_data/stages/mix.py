"""mix: the token budget met by the wanted mixture, and a place in the training order for every use.

Needs the whole corpus once (`prepare`): tokens are counted with the training tokenizer, the plan is
made from sums and histograms, and every use of a sampled document gets its place, similar documents
as far apart as can be. `process` then only looks up what was decided. No text is moved: the order
itself is made by `export`.

With `handed_out` the blocks of an earlier export stay: the plan is made for all that is there now, and
this run gives what those blocks don't hold yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pretrain_data.dataset import read_manifest
from pretrain_data.errors import InputError
from pretrain_data.kernels.mixture import KEY_BITS, Cut, hash_strings
from pretrain_data.mixing import counts, holdout, order, plan
from pretrain_data.mixing.history import History
from pretrain_data.mixing.holdout import Holdout
from pretrain_data.mixing.mixture import Part, Tokens, columns_used, distinct_names, leaves
from pretrain_data.reuse import shard_inputs
from pretrain_data.stage import Processed, Shard, Stage, StageConfig, StageRun
from pretrain_data.tokenizers import load_tokenizer, tokenizer_files

#: Leaves over all phases; each has histograms on the driver.
MOST_LEAVES = 256


class Phase(BaseModel):
    """One phase of training: its budget, its mixture, its sequence length."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="main", pattern=r"^[\w-]+$", description="Name of the phase; a folder bears it.")
    budget: Tokens | None = Field(
        default=None,
        gt=0,
        description="Tokens; default: as many as the corpus holds. 1.5M, 2B, 1e9 are read.",
    )
    mixture: list[Part] = Field(
        default_factory=list, description="Shares of the budget; default: as they come, by `by`."
    )
    by: str = Field(default="channel", description="Column whose values are the parts where no mixture is given.")
    max_epochs: float = Field(
        default=4.0, gt=0, le=100, description="Uses of a document at most; beyond 4 they are worth little."
    )
    sequence_length: int = Field(default=4096, ge=16, description="Tokens of a training sequence.")
    quality_exponent: float = Field(
        default=0.0, ge=0, le=10, description="Sample by quality_score to this power; 0: evenly."
    )

    @model_validator(mode="after")
    def _distinct(self) -> Phase:
        distinct_names(self.mixture)
        return self


class MixConfig(StageConfig):
    """Config of the stage `mix`."""

    tokenizer: str = Field(
        default="default",
        description="Training tokenizer: folder or file with tokenizer.json, hub id, or `default` (Qwen).",
    )
    end_of_document: str | None = Field(
        default=None, description="Token after each document; default: the tokenizer's end of sequence."
    )
    phases: list[Phase] = Field(
        default_factory=lambda: [Phase()], min_length=1, description="Phases, in training order."
    )
    on_shortage: Literal["redistribute", "accept", "fail"] = Field(
        default="redistribute",
        description="What a part cannot give: goes to its siblings, is left out, or stops the run.",
    )
    holdout: Holdout | None = Field(
        default=None, description="Validation documents, whole groups of similar ones, never trained on."
    )
    handed_out: str | None = Field(
        default=None,
        description="Export, below the workspace, whose blocks the trainer has: they stay as they are, and the budgets "
        "are met by them and by what this run adds. `export` for the stage of that name.",
    )
    handed_out_blocks: int | None = Field(
        default=None, ge=0, description="How many training blocks were handed out, the first ones; default: all."
    )
    subset: float = Field(
        default=1.0, gt=0, le=1, description="Share of the whole plan; smaller ones lie within larger ones."
    )
    quality_floor: float = Field(default=0.05, gt=0, le=1, description="Lowest quality that sampling sees.")
    quality_default: float = Field(default=0.5, gt=0, le=1, description="Quality of documents that have no score.")
    bins: int = Field(
        default=16_384, ge=64, le=1 << 20, description="Pieces of the order in which tokens are evened out."
    )

    @model_validator(mode="after")
    def _names(self) -> MixConfig:
        distinct_names(self.phases)  # type: ignore[arg-type]
        return self


class MixStage(Stage[MixConfig]):
    """Adds `tokens`, `positions` and `uses_before`; drops what the mixture does not use now."""

    name: ClassVar[str] = "mix"
    config_class: ClassVar[type[StageConfig]] = MixConfig
    needs: ClassVar[tuple[str, ...]] = ("doc_id", "text")
    adds: ClassVar[tuple[str, ...]] = ("tokens", "positions", "uses_before")

    def __init__(self, config: MixConfig) -> None:
        super().__init__(config)
        self.measure: plan.Measure | None = None
        self.plans: list[plan.LeafPlan] = []
        self.places = Path()

    def resources(self) -> list[Path]:
        return tokenizer_files(self.config.tokenizer)

    def prepare(self, run: StageRun) -> None:
        self._keep_promise(run.workspace / self.name)
        items, aside, history = self.decide(run)
        for line in table(self.plans):
            run.say(line)
        lined_path = str(run.scratch / "lined")
        order.line_up(order.choose(items, self.plans)).write.mode("overwrite").parquet(lined_path)
        lined = run.spark.read.parquet(lined_path)
        ranks = order.rank_groups(lined, run.seed, self._stretch(history))
        placed = order.place(lined, ranks, len(self.plans), self.config.bins, run.scratch)
        self.places = run.scratch
        if lined.count() <= order.EVENED:
            placed = order.evened(placed, run.scratch)
        self._write_places(order.positions(placed), items, aside, history, run)

    def _keep_promise(self, before: Path) -> None:
        """Raise InputError where a config that says nothing of blocks that were to stay would write them anew."""
        promised = (read_manifest(before) or {}).get("config", {}).get("handed_out")
        if promised and "handed_out" not in self.config.model_fields_set:
            raise InputError(
                f"{before}: the run before left the blocks of {promised} as they were, and this one would write them "
                "anew; run with --append, or begin a new order with stages.mix.handed_out: null"
            )

    def decide(self, run: StageRun) -> tuple[Any, Any, History | None]:
        """Count tokens and decide how often the documents of each part are used: `self.plans`.

        Returns the items to train on, those set aside, and what was handed out before.
        """
        tokenizer = load_tokenizer(self.config.tokenizer, self.config.end_of_document)
        history = None
        if self.config.handed_out is not None:
            history = History.of(run.workspace / self.config.handed_out, self.config.handed_out_blocks)
        if history is not None:
            history.check_tokenizer(tokenizer)
        saved = run.scratch / "tokenizer.json"
        tokenizer.save(saved)
        parts = [phase.mixture or self._found_parts(phase.by, run) for phase in self.config.phases]
        phases = self._phases(parts)
        inputs, before = shard_inputs(run.source), run.workspace / self.name / counts.FOLDER
        known = counts.known(before, tokenizer.fingerprint, inputs)
        run.metrics["shards_counted_before"] = len(known)
        self.measure = plan.Measure(
            phases,
            str(saved),
            run.output / counts.FOLDER,
            before,
            known,
            run.seed,
            self.config.quality_floor,
            self.config.quality_default,
        )
        columns = {"doc_id", "similar_group", "cluster_id", "quality_score"}
        columns.update(*(columns_used(phase.leaves) for phase in phases))
        items_path = str(run.scratch / "items")
        for new in (True, False):  # text is read where tokens are still to be counted
            shards = tuple(shard for shard in run.source.shards if (shard.name not in known) == new)
            part = replace(run, source=replace(run.source, shards=shards))
            wanted = sorted(columns | {"text"} if new else columns)
            part.scan(wanted, self.measure, plan.ITEM).write.mode("overwrite" if new else "append").parquet(items_path)
        counts.note(run.output / counts.FOLDER, tokenizer.fingerprint, inputs)
        items = run.spark.read.parquet(items_path)
        items, aside = self._set_aside(items, history, phases, run)

        self.plans = plan.trimmed(items, self._plan(items, parts, phases, history))
        run.metrics["mixture"] = [leaf.record() for leaf in self.plans]
        run.metrics["sequence_length"] = {phase.name: phase.sequence_length for phase in self.config.phases}
        return items, aside, history

    def _set_aside(
        self, items: Any, history: History | None, phases: tuple[plan.PhaseLeaves, ...], run: StageRun
    ) -> tuple[Any, Any]:
        """(items to train on with `used` and `last`, `shard, row, position` of what is held out).

        Position is null for what isn't validation itself but too like it, and for validation that was
        handed out already.
        """
        from pyspark.sql import Window
        from pyspark.sql import functions as F

        if history is None and self.config.holdout is None:
            return items.withColumn("used", F.lit(0)).withColumn("last", F.lit(None).cast("double")), None
        aside = None
        if history is not None:
            uses = history.uses(run.spark, [phase.name for phase in phases])
            run.metrics["handed_out"] = history.record()
            validation = uses.where("phase = -1").select("id")
            held = items.join(validation, "id", "left_semi").select("group").distinct()
            aside = items.join(held, "group", "left_semi").select("shard", "row").distinct()
            aside = aside.withColumn("position", F.lit(None).cast("double"))
            items = (
                items.join(held, "group", "left_anti")
                .join(uses, ["phase", "id"], "left")
                .withColumn("used", F.coalesce("used", F.lit(0)))
                .withColumn("last", F.max("last").over(Window.partitionBy("phase", "group")))
            )
            if self.config.holdout is not None and not any(r["phase"] == "validation" for r in history.records):
                run.warn("no validation was held out before blocks were handed out, and none can be now")
        else:
            assert self.config.holdout is not None
            leaves_ = len(phases[0].leaves)
            held = holdout.held_groups(items, leaves_, self.config.holdout, run.seed)
            held.write.mode("overwrite").parquet(str(run.scratch / "held"))
            held = run.spark.read.parquet(str(run.scratch / "held"))
            names = [leaf.path for leaf in phases[0].leaves]
            run.metrics["holdout"] = holdout.record(items, held, names)
            aside = holdout.places(items, held)
            items = items.join(held, "group", "left_anti").withColumn("used", F.lit(0))
            items = items.withColumn("last", F.lit(None).cast("double"))
        path = str(run.scratch / "stock")
        items.write.mode("overwrite").parquet(path)
        return run.spark.read.parquet(path), aside

    def _stretch(self, history: History | None) -> list[float]:
        """For each phase, the length of its order so far over that of the order made now."""
        if history is None:
            return []
        names = [phase.name for phase in self.config.phases]
        new = {name: sum(leaf.given for leaf in self.plans if leaf.phase == name) for name in names}
        return [history.tokens(name) / max(1, new[name]) for name in names]

    def _write_places(self, placed: Any, items: Any, aside: Any, history: History | None, run: StageRun) -> None:
        from pyspark.sql import functions as F

        rows = placed.withColumn("mark", F.lit(None).cast("string"))
        if aside is not None:
            rows = rows.unionByName(aside.withColumn("mark", F.lit("held_out")))
        if history is None:
            rows = rows.withColumn("used", F.lit(0))
        else:
            before = items.groupBy("shard", "row").agg(F.sum("used").cast("int").alias("used")).where("used > 0")
            rows = rows.join(before, ["shard", "row"], "full").withColumn("used", F.coalesce("used", F.lit(0)))
            rows = rows.withColumn("mark", F.coalesce("mark", F.expr("if(position is null, 'handed_out', null)")))
        order.write_places(rows, run.scratch, run.partitions)

    def _found_parts(self, by: str, run: StageRun) -> list[Part]:
        """One part for each value of the column `by`, and one for documents that have none."""

        def distinct(batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[pa.RecordBatch]:
            seen: set[str | None] = set()
            for batch in batches:
                if by in batch.schema.names:
                    seen.update(pc.unique(batch.column(by).cast(pa.string())).to_pylist())
                else:
                    seen.add(None)
            yield pa.RecordBatch.from_pydict({"value": pa.array(sorted(seen, key=str), pa.string())})

        rows = run.scan(["doc_id", by], distinct, pa.schema([("value", pa.string())]))
        values = [row["value"] for row in rows.distinct().limit(MOST_LEAVES + 1).collect()]
        named = sorted(value for value in values if value is not None)
        parts = [Part(name=value, weight=1, where={by: value}) for value in named]
        return parts if len(named) == len(values) > 0 else [*parts, Part(name=f"no {by}", weight=1)]

    def _phases(self, parts: list[list[Part]]) -> tuple[plan.PhaseLeaves, ...]:
        phases, first = [], 0
        for phase, tree in zip(self.config.phases, parts, strict=True):
            found = tuple(leaves(tree, phase.max_epochs))
            phases.append(plan.PhaseLeaves(phase.name, found, first, phase.quality_exponent))
            first += len(found)
        if first > MOST_LEAVES:
            raise InputError(f"{first} parts over all phases; at most {MOST_LEAVES} can be planned")
        return tuple(phases)

    def _plan(
        self, items: Any, parts: list[list[Part]], phases: tuple[plan.PhaseLeaves, ...], history: History | None
    ) -> list[plan.LeafPlan]:
        total = sum(len(phase.leaves) for phase in phases)
        stocks = plan.stocks(items, total)
        cuts: dict[int, Cut] = {}
        drafts: list[plan.LeafPlan] = []
        for config, tree, phase in zip(self.config.phases, parts, phases, strict=True):
            available = {leaf.path: stocks[phase.first + i].available for i, leaf in enumerate(phase.leaves)}
            if not config.mixture:
                tree = [part.model_copy(update={"weight": available[part.name]}) for part in tree]
            want, target = plan.targets(tree, available, config.max_epochs, config.budget, self.config.on_shortage)
            ours = stocks[phase.first : phase.first + len(phase.leaves)]
            goals = [
                max(0.0, target[leaf.path] * self.config.subset - stock.handed_out)
                for leaf, stock in zip(phase.leaves, ours, strict=True)
            ]
            if history is not None:
                # What parts have had beyond their share can't be taken back: the others get less.
                left = sum(target.values()) * self.config.subset - history.tokens(config.name)
                goals = [goal * min(1.0, max(0.0, left) / max(1.0, sum(goals))) for goal in goals]
            for leaf, stock, goal in zip(phase.leaves, ours, goals, strict=True):
                whole = stock.whole(goal, int(leaf.max_epochs))
                cuts[len(drafts)] = Cut(goal - stock.given(whole), tolerance=max(goal * 1e-5, 1.0))
                draft = plan.LeafPlan(
                    phase.name, leaf.path, stock.documents, stock.available, want[leaf.path], goal, stock.given(whole),
                    whole, 0, stock.handed_out,
                )  # fmt: skip
                drafts.append(draft)
        sampled = plan.open_to_cut(items, [draft.whole for draft in drafts])
        plan.search_cuts(sampled, plan.histogram(sampled, {leaf: plan.whole_keys() for leaf in cuts}), cuts)
        return [
            replace(draft, given=draft.given + cuts[i].reached, cut=cuts[i].found or 0)
            for i, draft in enumerate(drafts)
        ]

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        if self.measure is None:
            raise RuntimeError("mix decides over the whole corpus: call prepare first")
        tokens = np.load(counts.count_file(self.measure.counts, shard), mmap_mode="r")
        places = _Places.read(order.places_file(self.places, shard.name))
        row = 0
        for batch in batches:
            yield self._judge(batch, np.asarray(tokens[row : row + batch.num_rows]), places, row)
            row += batch.num_rows

    def _judge(self, batch: pa.RecordBatch, tokens: np.ndarray, places: _Places, first: int) -> Processed:
        assert self.measure is not None
        positions, uses, before, mark = places.of(first, batch.num_rows)
        value = np.full(batch.num_rows, np.nan)
        threshold = np.full(batch.num_rows, np.nan)
        unused = uses == 0
        rule = np.full(batch.num_rows, None, object)
        rule[unused] = "not_in_mixture"
        if unused.any():
            ids = hash_strings(batch.column("doc_id"))
            for number in range(len(self.measure.phases) - 1, -1, -1):
                phase = self.measure.phases[number]
                leaf = self.measure.leaf(batch, tokens, phase)
                at = np.flatnonzero(unused & (leaf >= 0))
                rule[at] = "not_sampled"
                value[at] = self.measure.key(batch, ids, phase, number)[at] / 2.0**KEY_BITS
                cuts = np.array([self.plans[phase.first + int(i)].cut for i in leaf[at]], float)
                threshold[at] = cuts / 2.0**KEY_BITS
            # Left out beside the cut, so that the part's tokens come out right (plan.trimmed).
            rule[unused & (value < threshold)] = "trimmed"
            rule[unused & (tokens == 0)] = "no_tokens"
            marked = unused & (mark != None)  # noqa: E711 - an array of objects
            rule[marked] = mark[marked]
            value[marked] = np.where(mark[marked] == "handed_out", before[marked], np.nan)
            threshold[marked] = np.nan
        metrics = {
            "tokens_in": float(tokens.sum(dtype=np.int64)),
            "tokens_out": float((tokens.astype(np.int64) * uses).sum()),
            "uses_out": float(uses.sum()),
        }
        result = batch
        added = (
            ("tokens", pa.array(tokens, pa.int32())),
            ("positions", positions),
            ("uses_before", pa.array(before, pa.int32())),
        )
        for name, column in added:
            at_ = result.schema.get_field_index(name)
            result = result.append_column(name, column) if at_ < 0 else result.set_column(at_, name, column)
        return Processed(
            result,
            rule=pa.array(rule, pa.string()),
            value=pa.array(value, from_pandas=True),
            threshold=pa.array(threshold, from_pandas=True),
            metrics=metrics,
        )


@dataclass(frozen=True)
class _Places:
    """What was decided about a shard; entries by row. See `order.PLACES`."""

    row: np.ndarray
    position: np.ndarray  # NaN where there is none
    used: np.ndarray
    mark: np.ndarray  # objects: str or None

    @classmethod
    def read(cls, path: Path) -> _Places:
        if not path.exists():  # nothing of the shard is used
            return cls(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int32), np.empty(0, object))
        table = pq.read_table(path)
        position = table["position"].to_numpy()  # nulls become NaN
        return cls(table["row"].to_numpy(), position, table["used"].to_numpy(), table["mark"].to_numpy())

    def of(self, first: int, rows: int) -> tuple[pa.ListArray, np.ndarray, np.ndarray, np.ndarray]:
        """(positions, how many, uses before, mark) of `rows` rows from `first` on."""
        low, high = np.searchsorted(self.row, [first, first + rows])
        row, position = self.row[low:high] - first, self.position[low:high]
        placed = ~np.isnan(position)
        uses = np.bincount(row[placed], minlength=rows)
        ends = np.concatenate(([0], np.cumsum(uses)))
        lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(position[placed]))
        before, mark = np.zeros(rows, np.int32), np.full(rows, None, object)
        before[row], mark[row] = self.used[low:high], self.mark[low:high]
        return lists, uses, before, mark


def table(plans: list[plan.LeafPlan]) -> list[str]:
    """The plan as lines of text: available, wanted, epochs, given."""
    lines = [f"{'phase':<12}{'part':<32}{'documents':>12}{'available':>16}{'wanted':>16}{'epochs':>8}{'given':>16}"]
    for leaf in plans:
        lines.append(
            f"{leaf.phase:<12}{leaf.path:<32}{leaf.documents:>12,}{leaf.available:>16,}"
            f"{round(leaf.wanted):>16,}{leaf.epochs:>8.2f}{leaf.given:>16,}"
        )
    return lines
