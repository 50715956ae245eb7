"""mix: the token budget met by the wanted mixture, and a place in the training order for every use.

Needs the whole corpus once (`prepare`): tokens are counted with the training tokenizer, the plan is
made from sums and histograms, and every use of a sampled document gets its place, similar documents
as far apart as can be. `process` then only looks up what was decided. No text is moved: the order
itself is made by `export`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pretrain_data.errors import InputError
from pretrain_data.kernels.mixture import KEY_BITS, Cut, hash_strings
from pretrain_data.mixing import order, plan
from pretrain_data.mixing.mixture import Part, Tokens, columns_used, distinct_names, leaves
from pretrain_data.stage import Processed, Shard, Stage, StageConfig, StageRun
from pretrain_data.tokenizers import load_tokenizer, tokenizer_files

log = logging.getLogger(__name__)

#: Leaves over all phases; each has histograms on the driver.
MOST_LEAVES = 256


class Phase(BaseModel):
    """One phase of training: its budget, its mixture, its sequence length."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="main", description="Name of the phase.")
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
    """Adds `tokens` and `positions`; drops what the mixture does not use."""

    name: ClassVar[str] = "mix"
    config_class: ClassVar[type[StageConfig]] = MixConfig
    needs: ClassVar[tuple[str, ...]] = ("doc_id", "text")
    adds: ClassVar[tuple[str, ...]] = ("tokens", "positions")

    def __init__(self, config: MixConfig) -> None:
        super().__init__(config)
        self.measure: plan.Measure | None = None
        self.plans: list[plan.LeafPlan] = []

    def resources(self) -> list[Path]:
        return tokenizer_files(self.config.tokenizer)

    def prepare(self, run: StageRun) -> None:
        tokenizer = load_tokenizer(self.config.tokenizer, self.config.end_of_document)
        saved = run.scratch / "tokenizer.json"
        tokenizer.save(saved)
        parts = [phase.mixture or self._found_parts(phase.by, run) for phase in self.config.phases]
        phases = self._phases(parts)
        self.measure = plan.Measure(
            phases, str(saved), run.scratch, run.seed, self.config.quality_floor, self.config.quality_default
        )
        columns = {"doc_id", "text", "similar_group", "cluster_id", "quality_score"}
        columns.update(*(columns_used(phase.leaves) for phase in phases))
        items_path = str(run.scratch / "items")
        run.scan(sorted(columns), self.measure, plan.ITEM).write.mode("overwrite").parquet(items_path)
        items = run.spark.read.parquet(items_path)

        self.plans = plan.trimmed(items, self._plan(items, parts, phases))
        run.metrics["mixture"] = [leaf.record() for leaf in self.plans]
        run.metrics["sequence_length"] = {phase.name: phase.sequence_length for phase in self.config.phases}
        for line in table(self.plans):
            log.info("%s", line)

        lined_path = str(run.scratch / "lined")
        order.line_up(order.choose(items, self.plans)).write.mode("overwrite").parquet(lined_path)
        lined = run.spark.read.parquet(lined_path)
        ranks = order.rank_groups(lined, run.seed)
        places = order.place(lined, ranks, len(self.plans), self.config.bins, run.scratch)
        order.write_places(places, run.scratch, run.partitions)

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

    def _plan(self, items: Any, parts: list[list[Part]], phases: tuple[plan.PhaseLeaves, ...]) -> list[plan.LeafPlan]:
        total = sum(len(phase.leaves) for phase in phases)
        first = plan.histogram(items, {leaf: plan.whole_keys() for leaf in range(total)})
        cuts: dict[int, Cut] = {}
        drafts = []
        for config, tree, phase in zip(self.config.phases, parts, phases, strict=True):
            available = {leaf.path: int(first[phase.first + i][1].sum()) for i, leaf in enumerate(phase.leaves)}
            if not config.mixture:
                tree = [part.model_copy(update={"weight": available[part.name]}) for part in tree]
            want, target = plan.targets(tree, available, config.max_epochs, config.budget, self.config.on_shortage)
            for i, leaf in enumerate(phase.leaves):
                number, there = phase.first + i, available[leaf.path]
                goal = target[leaf.path] * self.config.subset
                whole = min(int(goal // there), int(leaf.max_epochs)) if there else 0
                cuts[number] = Cut(goal - whole * there, tolerance=max(goal * 1e-5, 1.0))
                documents = int(first[number][2].sum())
                drafts.append((phase.name, leaf.path, documents, there, want[leaf.path], goal, whole))
        plan.search_cuts(items, first, cuts)
        return [
            plan.LeafPlan(
                name,
                path,
                documents,
                there,
                want,
                goal,
                whole * there + cuts[i].reached,
                whole,
                cuts[i].found or 0,
            )
            for i, (name, path, documents, there, want, goal, whole) in enumerate(drafts)
        ]

    def process(self, batches: Iterator[pa.RecordBatch], shard: Shard) -> Iterator[Processed]:
        if self.measure is None:
            raise RuntimeError("mix decides over the whole corpus: call prepare first")
        tokens = np.load(plan.token_file(self.measure.scratch, shard), mmap_mode="r")
        path = order.places_file(self.measure.scratch, shard.name)
        rows, positions = np.empty(0, np.int64), np.empty(0)
        if path.exists():
            places = pq.read_table(path)
            rows, positions = places["row"].to_numpy(), places["position"].to_numpy()
        row = 0
        for batch in batches:
            end = row + batch.num_rows
            ends = np.searchsorted(rows, np.arange(row, end + 1))
            lists = pa.ListArray.from_arrays(
                pa.array(ends - ends[0], pa.int32()), pa.array(positions[ends[0] : ends[-1]])
            )
            yield self._judge(batch, np.asarray(tokens[row:end]), lists, np.diff(ends))
            row = end

    def _judge(self, batch: pa.RecordBatch, tokens: np.ndarray, positions: pa.ListArray, uses: np.ndarray) -> Processed:
        assert self.measure is not None
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
        metrics = {
            "tokens_in": float(tokens.sum(dtype=np.int64)),
            "tokens_out": float((tokens.astype(np.int64) * uses).sum()),
            "uses_out": float(uses.sum()),
        }
        result = batch
        for name, column in (("tokens", pa.array(tokens, pa.int32())), ("positions", positions)):
            at_ = result.schema.get_field_index(name)
            result = result.append_column(name, column) if at_ < 0 else result.set_column(at_, name, column)
        return Processed(
            result,
            rule=pa.array(rule, pa.string()),
            value=pa.array(value, from_pandas=True),
            threshold=pa.array(threshold, from_pandas=True),
            metrics=metrics,
        )


def table(plans: list[plan.LeafPlan]) -> list[str]:
    """The plan as lines of text: available, wanted, epochs, given."""
    lines = [f"{'phase':<12}{'part':<32}{'documents':>12}{'available':>16}{'wanted':>16}{'epochs':>8}{'given':>16}"]
    for leaf in plans:
        lines.append(
            f"{leaf.phase:<12}{leaf.path:<32}{leaf.documents:>12,}{leaf.available:>16,}"
            f"{round(leaf.wanted):>16,}{leaf.epochs:>8.2f}{leaf.given:>16,}"
        )
    return lines
