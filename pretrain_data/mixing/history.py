"""What earlier exports have handed to the trainer: blocks that stay, and how often each document is in them.

A later run makes a plan for all that is there now and gives what the handed-out blocks don't hold yet.
Uses are counted over all blocks, so that no document is used more often than its phase allows; the
documents of a group go on from where the group was last used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data.errors import InputError
from pretrain_data.hashing import digest
from pretrain_data.kernels.mixture import hash_strings
from pretrain_data.reader import read_manifest
from pretrain_data.tokenizers import TrainingTokenizer, load_saved

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

VALIDATION = "validation"

#: What to do about blocks of two versions in one order.
_WAY_OUT = "set it back, or begin a new order: in another workspace, or with stages.mix.handed_out: null"

USED = "phase int, id long, used int, last double"
_ROWS = "phase int, id long, offset long"


@dataclass(frozen=True)
class History:
    """The blocks of an export that stay: its first `blocks`, validation among them."""

    path: Path
    records: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, path: Path, training_blocks: int | None) -> History | None:
        """The first `training_blocks` (None: all) of the export at `path`; None where nothing was exported yet.

        Validation blocks come first and always stay. Raises InputError where there are fewer blocks.
        """
        if not (path / "blocks.json").is_file():
            if training_blocks:
                raise InputError(f"{path}: {training_blocks} blocks were handed out, but there is no export")
            return None
        records = read_manifest(path)["blocks"]
        training = [record for record in records if record["phase"] != VALIDATION]
        if training_blocks is not None and training_blocks > len(training):
            raise InputError(f"{path}: {training_blocks} blocks were handed out, but the export has {len(training)}")
        count = len(records) - len(training) + (len(training) if training_blocks is None else training_blocks)
        return cls(path, tuple(records[:count]))

    @property
    def fingerprint(self) -> str:
        """Changes when any of the blocks does."""
        return digest([[record["block"], record["files"]["documents"]["xxh3"]] for record in self.records])

    def check_tokenizer(self, tokenizer: TrainingTokenizer) -> None:
        """Raise InputError where the blocks hold the tokens of another tokenizer."""
        if (
            self.records
            and load_saved(str(self.path / "tokenizer" / "encoder.json")).fingerprint != tokenizer.fingerprint
        ):
            raise InputError(f"{self.path}: the blocks that were handed out have another tokenizer; {_WAY_OUT}")

    def check_blocks(self, schema: pa.Schema, kinds: set[str]) -> None:
        """Raise InputError where new blocks would have other columns, or files of other kinds, than those that stay."""
        if not self.records:
            return
        first = self.records[0]["files"]
        there = {field.name: field.type for field in pq.read_schema(self.path / first["documents"]["path"])}
        new = {field.name: field.type for field in schema}
        other = sorted(n for n in there.keys() | new.keys() if there.get(n) != new.get(n))
        if other:
            what = f"the columns {', '.join(other)}, or not of the same type"
            raise InputError(
                f"{self.path}: new blocks and those that were handed out don't both have {what}; choose with "
                f"stages.export.columns what both have, or {_WAY_OUT}"
            )
        if kinds != first.keys():
            names = ", ".join(sorted(kinds ^ first.keys()))
            raise InputError(
                f"{self.path}: new blocks and those that were handed out don't both have files of the kinds {names} "
                f"(stages.export.megatron, stages.export.jsonl); {_WAY_OUT}"
            )

    def stream_tokens(self, phase: str) -> int:
        """Length of a phase's stream so far: tokens, and one end-of-document token a document."""
        return sum(r["tokens"] + r["documents"] for r in self.records if r["phase"] == phase)

    def tokens(self, phase: str) -> int:
        """Tokens of documents handed out in a phase."""
        return sum(record["tokens"] for record in self.records if record["phase"] == phase)

    def uses(self, spark: SparkSession, phases: list[str]) -> DataFrame:
        """`phase, id, used, last`: how often each document was used, and where last, as a share of the stream.

        Validation is phase −1. Raises InputError for a phase that isn't configured any more.
        """
        from pyspark.sql import functions as F

        number = {VALIDATION: -1, **{name: i for i, name in enumerate(phases)}}
        for record in self.records:
            if record["phase"] not in number:
                raise InputError(
                    f"{self.path}: blocks of phase {record['phase']} were handed out, which stages.mix.phases "
                    "does not name any more; name it, if only with the budget that it has had"
                )
        paths = [str(self.path / record["files"]["documents"]["path"]) for record in self.records]
        if not paths:
            return spark.createDataFrame([], USED)
        lengths = {number[name]: max(1, self.stream_tokens(name)) for name in number}

        def hashed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                phase = [number[name] for name in batch.column("phase").to_pylist()]
                ids = hash_strings(batch.column("doc_id")).view(np.int64)
                columns = [pa.array(phase, pa.int32()), pa.array(ids), batch.column("offset").cast(pa.int64())]
                yield pa.RecordBatch.from_arrays(columns, names=["phase", "id", "offset"])

        rows = spark.read.parquet(*paths).select("phase", "doc_id", "offset").mapInArrow(hashed, _ROWS)
        length = F.create_map(*(F.lit(x) for pair in lengths.items() for x in pair))
        return rows.groupBy("phase", "id").agg(
            F.count("*").cast("int").alias("used"), (F.max("offset") / length[F.col("phase")]).alias("last")
        )

    def record(self) -> dict[str, Any]:
        """For the manifest, and for export to know what stays."""
        return {"path": str(self.path), "blocks": len(self.records), "fingerprint": self.fingerprint}
