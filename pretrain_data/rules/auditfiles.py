"""The audit on disk: beside a rules run's documents, three folders with one Parquet file a shard.

`audit/` holds every document that came in, dropped ones too: its attributes and signals as the rules
saw them, so that other thresholds can be judged without the text (`what_if`). `audit_counts/` holds the
shard's tally and `audit_examples/` its cases near the thresholds. Each file is written under another
name and then renamed, so that a retry leaves nothing half done.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.errors import ConfigError, InputError
from pretrain_data.rules import audit
from pretrain_data.rules.expression import Batch
from pretrain_data.rules.lines import REMOVED
from pretrain_data.rules.ruleset import RuleSet, Verdict

DOCUMENTS, COUNTS, EXAMPLES = "audit", "audit_counts", "audit_examples"
STRINGS = ("lang", "format", "source", "domain")
NUMBERS = ("lang_score", "quality_score", "domain_score")
NOT_KEPT = ("url", "title")  # what rules may read but the audit does not hold


class AuditWriter:
    """Writes the three files of one shard; nothing appears before `close`."""

    def __init__(self, output: Path, shard: str) -> None:
        self.output, self.shard = output, shard
        self.tally = audit.Tally()
        self.examples = audit.EXAMPLES.empty_table()
        self.documents: pq.ParquetWriter | None = None
        for folder in (DOCUMENTS, COUNTS, EXAMPLES):
            self._path(folder).parent.mkdir(parents=True, exist_ok=True)

    def _path(self, folder: str) -> Path:
        return self.output / folder / f"{self.shard}.parquet"

    def _temporary(self, folder: str) -> Path:
        path = self._path(folder)
        return path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def add(self, ids: pa.Array, view: Batch, rules: RuleSet, verdict: Verdict) -> None:
        """Take in one batch with what the rules make of it."""
        self.tally.add(ids, view, rules, verdict)
        near = audit.examples(ids, view, rules, verdict)
        self.examples = audit.nearest(pa.concat_tables([self.examples, near]))
        table = document_table(ids, view, verdict)
        if self.documents is None:
            self.documents = pq.ParquetWriter(self._temporary(DOCUMENTS), table.schema, compression="zstd")
        self.documents.write_table(table)

    def close(self) -> None:
        """Put the files in their place; a shard without documents gets none."""
        if self.documents is None:
            return
        self.documents.close()
        pq.write_table(self.tally.table(), self._temporary(COUNTS), compression="zstd")
        pq.write_table(self.examples, self._temporary(EXAMPLES), compression="zstd")
        for folder in (COUNTS, EXAMPLES, DOCUMENTS):
            os.replace(self._temporary(folder), self._path(folder))

    def abandon(self) -> None:
        """Remove what was begun; without effect after `close`."""
        for folder in (COUNTS, EXAMPLES, DOCUMENTS):
            self._temporary(folder).unlink(missing_ok=True)


def document_table(ids: pa.Array, view: Batch, verdict: Verdict) -> pa.Table:
    """One row a document: id, what the rules read of it, whether they drop it."""
    columns: dict[str, Any] = {"doc_id": ids.cast(pa.string())}
    columns |= {name: view[name].cast(pa.string()) for name in STRINGS}
    columns["host"] = audit.host_of(view["url"])
    columns |= {name: pa.array(np.asarray(view[name], np.float32)) for name in NUMBERS}
    columns |= {name: pa.array(view[name]) for name in view if name.startswith(("signals.", "urls."))}
    if REMOVED in view:
        columns[REMOVED] = pa.array(view[REMOVED])
    columns["dropped"] = pa.array(verdict.drops)
    return pa.table(columns)


def shard_files(output: Path, folder: str) -> list[Path]:
    """The files of one of the three folders, in order."""
    return sorted(p for p in (output / folder).rglob("*.parquet") if not p.name.startswith("."))


def stored_views(output: Path, files: list[Path] | None = None) -> Iterator[tuple[pa.Array, Batch]]:
    """The stored documents in batches, as (ids, view); of `files` alone where given.

    Raises InputError where a run left none.
    """
    files = files or shard_files(output, DOCUMENTS)
    if not files:
        raise InputError(f"{output / DOCUMENTS}: no audit; run the rules stage with audit on")
    for path in files:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=65_536):
            view: dict[str, Any] = {}
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                plain = pa.types.is_string(column.type)
                view[name] = column if plain else column.to_numpy(zero_copy_only=False)
            yield batch.column("doc_id"), view


def what_if(output: Path, rules: RuleSet) -> dict[str, Any]:
    """The audit that `rules` would have had over the documents of the run in `output`.

    One pass over the stored signals, no text is read; memory follows the distinct attribute values.
    Raises ConfigError where a rule reads what the audit does not hold.
    """
    for rule in rules.rules:
        missing = sorted(rule.names.intersection(NOT_KEPT))
        if missing:
            raise ConfigError(f"rule {rule.name} reads {missing[0]}, which the audit does not hold; run the stage")
    tally = audit.Tally()
    for ids, view in stored_views(output):
        lacking = sorted(rules.names - set(view))
        if lacking:
            raise ConfigError(f"{output / DOCUMENTS} has no {lacking[0]}; run the rules stage anew")
        tally.add(ids, view, rules, rules.judge(view))
    return audit.report(tally.table().to_pylist())


def nearest_examples(output: Path, rule: str) -> list[dict[str, Any]]:
    """The examples nearest to one rule's threshold, over all shards."""
    table = audit.EXAMPLES.empty_table()
    for path in shard_files(output, EXAMPLES):
        found = pq.read_table(path, filters=[("rule", "=", rule)])
        table = audit.nearest(pa.concat_tables([table, found.cast(audit.EXAMPLES)]))
    return table.to_pylist()
