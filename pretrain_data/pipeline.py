"""Runs the configured stages in order: skips what is up to date, resumes what was cut off.

One stage, one run:  plan the shards → look at the whole (Stage.prepare) → shards, each committed on
its own under `<workspace>/.staging` → check the accounting → manifest → exchange with the old output.
A killed run leaves its staging folder; the next run with the same fingerprint goes on in it.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError

from pretrain_data import inventory, leftovers, lineage, passes, session
from pretrain_data.accounting import check, check_errors, entries_of, never_empty, sidecars
from pretrain_data.commit import publish
from pretrain_data.config import PipelineConfig
from pretrain_data.dataset import MANIFEST, Dataset, on_each, read_manifest
from pretrain_data.errors import (
    AccountingError,
    ConfigError,
    InputError,
    WorkerDied,
    errors_from_workers,
    storage,
)
from pretrain_data.fingerprint import maker_fingerprint, stage_fingerprint, stage_seed
from pretrain_data.hashing import digest
from pretrain_data.leftovers import STAGING, Leftover
from pretrain_data.lock import held
from pretrain_data.manifest import complete, describe
from pretrain_data.progress import Say, ShardProgress, TaskProgress
from pretrain_data.reuse import changes, linked, shard_inputs, take_over, write_shards
from pretrain_data.seal import sealed
from pretrain_data.shardrun import run_shard
from pretrain_data.stage import OrderStage, Shard, SourceStage, Stage, StageRun
from pretrain_data.usage import Meter
from pretrain_data.writer import write_atomically

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


#: Times that the shards left over are tried again after a worker has died; see `shardrun`.
SECOND_TRIES = 4
#: Shards that an error names; as many are at work as there are cores.
MOST_NAMED = 16


@dataclass(frozen=True)
class Outcome:
    """What a stage's run came to: `state` is "done" or "up to date"."""

    stage: str
    state: str
    manifest: dict[str, Any]


class Pipeline:
    """The stages of one config over one workspace."""

    def __init__(
        self,
        config: PipelineConfig,
        stages: dict[str, type[Stage[Any]]],
        root: Path,
        spark: SparkSession | None = None,
        say: Callable[[str], None] = lambda line: None,
        note: Say = lambda line, **about: None,
    ) -> None:
        """`say` is for what a person should see while it runs, `note` for what only a log wants as well.

        `note` gets by name what a line is about: `partition`, a shard's name.
        """
        self.config, self.root, self.say, self.note = config, root, say, note
        self.stages = {name: stages[name](config.stage_config(name)) for name in config.configured()}
        self.workspace = config.workspace
        self._spark = spark
        self._own_spark = False
        self._held = False
        self.lineage = lineage.of_environment(self.say)

    # --- what a user calls ----------------------------------------------------------------------

    def run(
        self, first: str | None = None, last: str | None = None, force: bool = False, wait: float = 0.0
    ) -> Iterator[Outcome]:
        """Run the stages from `first` to `last`, both included; yields an Outcome after each.

        Raises Busy where another run still holds the workspace after `wait` seconds.
        """
        names = self._between(first, last)
        with storage(self.workspace), self.holding(wait):
            try:
                for name in names:
                    with self.lineage.stage(name):
                        outcome = self._run_stage(name, force)
                    yield outcome
            finally:
                self._stop()

    @contextmanager
    def holding(self, wait: float = 0.0) -> Iterator[None]:
        """Hold the workspace over several calls of this pipeline, so that no other run comes between them.

        Raises Busy where another run still holds it after `wait` seconds.
        """
        if self._held:
            yield
            return
        with held(self.workspace, wait, self.say):
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def status(self) -> list[dict[str, Any]]:
        """State of each configured stage: "up to date", "out of date" or "missing"."""
        rows: list[dict[str, Any]] = []
        stale = False
        for name, stage in self.stages.items():
            manifest = read_manifest(self.workspace / name)
            row: dict[str, Any] = {"stage": name, "state": "missing", "manifest": manifest}
            if stale and stage.config.input is None and name != next(iter(self.stages)):
                row["state"] = "missing" if manifest is None else "out of date"
            elif manifest is not None:
                try:
                    fresh = manifest.get("fingerprint") == self._fingerprint(name, self.source(name))
                    row["state"] = "up to date" if fresh else "out of date"
                except InputError as error:
                    row["state"], row["error"] = "out of date", str(error)
            stale = row["state"] != "up to date"
            rows.append(row)
        return rows

    def leftovers(self, older_than: float, delete: bool, strays: bool = False) -> list[Leftover]:
        """What dead runs left in the workspace; deleted where asked. See `leftovers.find`.

        With `strays` also what lies in the outputs of the configured stages and isn't in their manifests, whoever put
        it there.
        """
        if not self.workspace.is_dir():
            return []
        with self.holding():
            outputs = [self.workspace / name for name in self.stages] if strays else []
            found = leftovers.find(self.workspace, self._resumable(), older_than, outputs)
            if delete:
                leftovers.remove(found)
        return found

    @contextmanager
    def looking(self, name: str) -> Iterator[StageRun]:
        """A StageRun over the input of a stage for a command that only looks; what it writes is removed."""
        staging = self.workspace / STAGING / f"plan-{name}-{uuid.uuid4().hex}"
        try:
            with storage(self.workspace), errors_from_workers():
                yield self._stage_run(name, self.source(name), staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            self._stop()

    def _resumable(self) -> set[str]:
        """Names of the staging folders that a run with this config and the input of now would go on in."""
        names = set()
        for name in self.stages:
            try:
                names.add(_staging_name(name, self._fingerprint(name, self.source(name))))
            except InputError:
                break  # not run yet, and so neither are those behind it
        return names

    # --- one stage ------------------------------------------------------------------------------

    def _run_stage(self, name: str, force: bool) -> Outcome:
        stage = self.stages[name]
        source = self.source(name)
        fingerprint = self._fingerprint(name, source)
        maker = maker_fingerprint(stage, self.config.seed)
        final = self.workspace / name
        manifest = read_manifest(final) if not force else None
        if manifest is not None and manifest.get("fingerprint") == fingerprint and complete(final, manifest):
            return Outcome(name, "up to date", manifest)

        started, clock = datetime.now(UTC), time.monotonic()
        self.note(f"{name}: begins, {len(source.shards):,} shards")
        self.lineage.begins(source.path or stage.config.input or "", final)
        staging = self.workspace / STAGING / _staging_name(name, fingerprint)
        self._clear(staging, keep=not force)
        run = self._stage_run(name, source, staging)
        meter = Meter(self.spark, f"pretrain-data {name}")
        inputs: dict[str, str] = {}
        if not isinstance(stage, OrderStage):
            inputs = shard_inputs(source)
            if not force:
                run.unchanged, run.gone = changes(final, maker, inputs)
                run.take_over = lambda names: take_over(final, staging, maker, inputs, names)
        with self._over_all(stage, run):
            stage.prepare(run)
        if isinstance(stage, OrderStage):
            with self._over_all(stage, run):
                stage.write(run, staging)
            entries = entries_of(self._blocks(run, staging))
        else:
            if stage.shardwise and not force:
                run.metrics["shards_taken_over"] = run.take_over(stage.reusable(run))
            self._run_shards(stage, source, staging)
            entries = sidecars(source.shards, staging)
            check(name, source, entries)
            check_errors(stage, entries)
            never_empty(stage, source, staging, entries)
            write_shards(staging, entries, inputs)
        run.shards = entries
        with errors_from_workers():
            stage.conclude(run)
        for warning in run.warnings:
            self.say(f"warning: {name}: {warning}")
        manifest = describe(stage, source, fingerprint, self.config.seed, entries, run, staging)
        if isinstance(stage, OrderStage):
            made = [entry for entry in entries if entry["name"] not in set(run.carried)]
            manifest |= self._used(name, source, staging, made)
        shutil.rmtree(staging / "shards", ignore_errors=True)
        shutil.rmtree(staging / "scratch", ignore_errors=True)
        shutil.rmtree(staging / "attempts", ignore_errors=True)
        _remove_temporary(staging)
        manifest["started"] = started.isoformat(timespec="seconds")
        manifest["seconds"] = round(time.monotonic() - clock, 3)
        manifest["files"] = self._other_files(staging, entries, run, final)
        manifest["usage"] = meter.read()
        write_atomically(staging / MANIFEST, sealed(json.dumps(manifest, ensure_ascii=False, indent=1)))
        publish(staging, final)
        self.lineage.done(manifest)
        kept, dropped = manifest["documents"], manifest["dropped"]
        self.note(f"{name}: done in {manifest['seconds']:.1f} s, {kept:,} documents kept, {dropped:,} dropped")
        return Outcome(name, "done", manifest)

    @contextmanager
    def _over_all(self, stage: Stage[Any], run: StageRun) -> Iterator[None]:
        """Around what a stage does with all of its input; a worker's death there names the shards at work."""
        shutil.rmtree(run.scratch / passes.FOLDER, ignore_errors=True)  # of an earlier run that died
        try:
            with errors_from_workers(), TaskProgress(stage.name, self.spark, self.say):
                yield
        except WorkerDied as error:
            if not (begun := passes.at_work(run.scratch)):
                raise
            raise WorkerDied(
                f"stage {stage.name}: {error}; at work were {', '.join(begun[:MOST_NAMED])} of "
                f"{run.source.path}. Run again; if it ends there again, a document of these is at fault"
            ) from error

    def _stage_run(self, name: str, source: Dataset, staging: Path) -> StageRun:
        run = StageRun(
            spark=self.spark,
            source=source,
            scratch=staging / "scratch",
            output=staging,
            workspace=self.workspace,
            seed=stage_seed(self.config.seed, name),
            partitions=self.config.spark.partitions or max(2, min(len(source.shards), 2000)),
            tasks=self.config.spark.partitions,
            stall_seconds=self.stages[name].config.stall_seconds,
            say=lambda line: self.say(f"{name}: {line}"),
        )
        run.scratch.mkdir(parents=True, exist_ok=True)
        return run

    def _run_shards(self, stage: Stage[Any], source: Dataset, staging: Path) -> None:
        """Process all shards that have no sidecar yet, one Spark task each.

        Where a worker dies, the shards that aren't done are tried again, and with care those that had it.
        """
        done = staging / "shards"

        def work(shard: Shard) -> str:
            run_shard(stage, shard, staging)
            return shard.name

        tasks = self.config.spark.partitions
        for tries_left in range(SECOND_TRIES if stage.shardwise else 0, -1, -1):
            todo = tuple(s for s in source.shards if not (done / f"{s.name}.json").exists())
            if not todo:
                return
            try:
                progress = ShardProgress(stage.name, len(source.shards), done, self.say, self.note)
                with progress, errors_from_workers():
                    finished = on_each(self.spark, todo, work, tasks)
            except WorkerDied:
                if not tries_left:
                    raise
                self.say(
                    f"warning: {stage.name}: a worker died; its shard is done again, document by document if need be"
                )
                continue
            if len(finished) != len(todo):
                raise AccountingError(f"stage {stage.name}: {len(finished)} of {len(todo)} shards came back")
            return

    def _used(self, name: str, source: Dataset, staging: Path, entries: list[dict[str, Any]]) -> dict[str, Any]:
        """Documents in and out of an order, in which one may stand several times; none may be missing."""
        paths = [str(staging / "documents" / f"{e['name']}.parquet") for e in entries]
        used = self.spark.read.parquet(*paths).select("doc_id").distinct().count() if paths else 0
        documents = sum(shard.rows or 0 for shard in source.shards)
        if source.manifest is not None and used != documents:
            raise AccountingError(f"stage {name}: {documents} documents in, {used} in the order")
        return {"documents_in": used, "documents": used, "uses": sum(e["rows"] for e in entries)}

    def _blocks(self, run: StageRun, staging: Path) -> list[dict[str, Any]]:
        """Counts and checksum of each file of an order; read are those alone that the stage doesn't know."""
        there = [n for n in inventory.files(staging / "documents") if n.endswith(".parquet")]
        known = {f"{block['name']}.parquet": block for block in run.blocks}
        counted = inventory.count_documents(
            self.spark, staging / "documents", [n for n in there if n not in known], run.tasks
        )
        return sorted([*(known[n] for n in there if n in known), *counted], key=lambda block: str(block["name"]))

    def _other_files(self, staging: Path, entries: list[dict[str, Any]], run: StageRun, final: Path) -> dict[str, Any]:
        """Size and checksum of what lies in the output beside its shards; of what is linked from `final`, as known."""
        shards = {f"{kind}/{e['name']}.parquet" for e in entries for kind in ("documents", "dropped")}
        others = [name for name in inventory.files(staging) if name not in shards]
        known = linked(final, staging, others) | {name: run.files[name] for name in others if name in run.files}
        fresh = inventory.stamps(self.spark, staging, [name for name in others if name not in known], run.tasks)
        return dict(sorted((known | fresh).items()))

    # --- helpers --------------------------------------------------------------------------------

    @property
    def spark(self) -> SparkSession:
        """The session, started when first needed: a run that skips everything needs no JVM."""
        if self._spark is None:
            self._spark = session.start(self.config.spark, "pretrain-data", self.stages)
            self._own_spark = True
        return self._spark

    def _stop(self) -> None:
        if self._own_spark and self._spark is not None and "PYSPARK_GATEWAY_PORT" not in os.environ:
            with suppress(Py4JError, OSError):  # a JVM that died has nothing left to stop
                self._spark.stop()
            self._spark, self._own_spark = None, False

    def _between(self, first: str | None, last: str | None) -> list[str]:
        names = list(self.stages)
        for name in (first, last):
            if name is not None and name not in names:
                near = difflib.get_close_matches(name, names, 1)
                hint = f"did you mean {near[0]}?" if near else f"configured: {', '.join(names)}"
                raise ConfigError(f"{name}: not a configured stage; {hint}")
        start = names.index(first) if first else 0
        end = names.index(last) + 1 if last else len(names)
        if start >= end:
            raise ConfigError(f"--from {first} comes after --to {last}; the order is {', '.join(names)}")
        return names[start:end]

    def source(self, name: str) -> Dataset:
        """What a configured stage reads."""
        stage = self.stages[name]
        if isinstance(stage, SourceStage):
            shards = tuple(stage.plan(self.root))
            unread = Dataset("", shards, "")
            return replace(unread, fingerprint=digest(list(shard_inputs(unread).items())))
        if stage.config.input is not None:
            return Dataset.open_input(stage.config.input, self.root)
        names = list(self.stages)
        return Dataset.open(self.workspace / names[names.index(name) - 1])

    def _fingerprint(self, name: str, source: Dataset) -> str:
        return stage_fingerprint(self.stages[name], self.config.seed, source.fingerprint)

    def _clear(self, staging: Path, keep: bool) -> None:
        """Remove staging folders of this stage that can't be gone on with."""
        stage = staging.name.rpartition("-")[0]
        for old in staging.parent.glob(f"{stage}-*"):
            if old != staging or not keep:
                shutil.rmtree(old)
        staging.mkdir(parents=True, exist_ok=True)


def _staging_name(stage: str, fingerprint: str) -> str:
    return f"{stage}-{fingerprint[:16]}"


def _remove_temporary(staging: Path) -> None:
    """Remove what attempts that were killed left behind."""
    for path in staging.rglob(".*"):
        if path.is_file():
            path.unlink()
