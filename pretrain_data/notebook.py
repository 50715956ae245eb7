"""One stage over a table in memory: for notebooks, and for trying a config before a run.

    >>> from pretrain_data import run_stage
    >>> run_stage("pii", ["Write to li.lei@example.com"]).kept["text"][0]
    'Write to <|email|>'

Stages that judge each document by itself (rules, quality, pii, classify) run in this process, without Spark and
without files. Those that look at all documents (dedup, mix, decontaminate) need a session and a temporary folder, which
is gone when the call returns.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import ValidationError

from pretrain_data import schema
from pretrain_data.errors import ConfigError
from pretrain_data.formats.foreign import from_table
from pretrain_data.stage import Processed, Shard, Stage
from pretrain_data.writer import ledger_rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LABEL = "memory"
#: Rows that a Spark DataFrame may have: it is brought to the driver.
MOST_ROWS = 1_000_000
_NOT_HERE = {"ingest": "it reads files: use the command line or Pipeline", "export": "it writes files"}


@dataclass(frozen=True)
class Result:
    """What a stage made of the documents.

    `kept` and `dropped` are of the kind that was given: pandas for pandas and lists, Arrow for Arrow, Spark for Spark.
    `dropped` has the columns of the ledger (`schema.DROPPED`); `metrics` are sums over all documents.
    """

    kept: Any
    dropped: Any
    metrics: dict[str, Any]


def run_stage(
    name: str, documents: Any, /, *, spark: SparkSession | None = None, seed: int = 1, **config: Any
) -> Result:
    """Run the stage `name` with `config` (the keys of its section in a YAML config) over some documents.

    `documents`: a pandas DataFrame, Arrow table, Spark DataFrame (of at most MOST_ROWS rows) or list of dicts with a
    column `text`, or a list of texts. Columns of ours (`schema.COLUMNS`) are taken as they are; where language and
    format are missing, they are judged from the text. `spark` is used where the stage needs a session; by default the
    active one, or a local one. Raises ConfigError where a key is unknown or a value doesn't fit, InputError where
    there is no `text`.
    """
    stage = _stage(name, config)
    table, back = _table(documents)
    table = _with_basics(table)
    if stage.shardwise:
        return _in_memory(stage, table, back)
    return _with_session(name, config, table, back, spark, seed)


def _stage(name: str, config: dict[str, Any]) -> Stage[Any]:
    from pretrain_data.stages import registry

    stages = registry()
    if name in _NOT_HERE:
        raise ConfigError(f"{name} can't run over a table: {_NOT_HERE[name]}")
    if name not in stages:
        raise ConfigError(f"no stage {name}; stages: {', '.join(n for n in stages if n not in _NOT_HERE)}")
    try:
        return stages[name](stages[name].config_class(**config))
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{name}: {told}") from None


def _table(documents: Any) -> tuple[pa.Table, Callable[[pa.Table], Any]]:
    """The documents as an Arrow table, and the way back to the kind that was given."""
    import pandas as pd

    if isinstance(documents, pa.Table):
        return documents, lambda table: table
    if isinstance(documents, pd.DataFrame):
        return pa.Table.from_pandas(documents, preserve_index=False), lambda table: table.to_pandas()
    if hasattr(documents, "sparkSession"):
        session, rows = documents.sparkSession, documents.limit(MOST_ROWS + 1).toArrow()
        if rows.num_rows > MOST_ROWS:
            raise ConfigError(f"more than {MOST_ROWS:,} rows: run the stage from a config, or take a sample first")
        return rows, partial(_to_spark, session)
    rows = list(documents)
    if all(isinstance(row, str) or row is None for row in rows):
        return pa.table({"text": pa.array(rows, pa.large_string())}), lambda table: table.to_pandas()
    return pa.Table.from_pylist(rows), lambda table: table.to_pandas()


def _to_spark(session: SparkSession, table: pa.Table) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return session.createDataFrame(table.to_pylist(), from_arrow_schema(table.schema))


def _with_basics(table: pa.Table) -> pa.Table:
    """The table with language and format, as ingest would have given them, where they are missing."""
    from pretrain_data import texts

    if "text" not in table.schema.names or {"lang", "format"} <= set(table.schema.names):
        return table
    found = texts.languages(table["text"]) if "lang" not in table.schema.names else None
    for name in ("lang", "lang_score", "zh_share", "en_share"):
        if found is not None and name not in table.schema.names:
            table = table.append_column(name, pa.array(found[name], schema.BY_NAME[name].type))
    if "format" not in table.schema.names:
        table = table.append_column("format", pa.array(texts.formats(table["text"]), pa.string()))
    return table


def _in_memory(stage: Stage[Any], table: pa.Table, back: Callable[[pa.Table], Any]) -> Result:
    kept: list[pa.Table] = []
    gone = [schema.DROPPED.empty_table()]
    metrics = Counter[str]()

    def split(step: str, processed: Processed) -> pa.RecordBatch:
        """The rows that stay; the others go to the ledger."""
        if processed.rule is None:
            return processed.batch
        gone.append(pa.Table.from_batches([ledger_rows(step, processed, processed.rule)]))
        return processed.batch.filter(processed.rule.is_null())

    def documents() -> Iterator[pa.RecordBatch]:
        for read in from_table(table, LABEL):
            batch = split("read", read)
            if batch.num_rows:
                yield batch

    for processed in stage.process(documents(), Shard(LABEL, ())):
        metrics.update(processed.metrics)
        kept.append(pa.Table.from_batches([split(stage.name, processed)]))
    whole = pa.concat_tables(kept, promote_options="default") if kept else table.slice(0, 0)
    return Result(back(whole), back(pa.concat_tables(gone)), dict(metrics))


def _with_session(
    name: str,
    config: dict[str, Any],
    table: pa.Table,
    back: Callable[[pa.Table], Any],
    spark: SparkSession | None,
    seed: int,
) -> Result:
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq
    from pyspark.sql import SparkSession

    from pretrain_data.config import load_config
    from pretrain_data.pipeline import Pipeline
    from pretrain_data.stages import registry

    with tempfile.TemporaryDirectory(prefix="pretrain_data-") as folder:
        root = Path(folder)
        pq.write_table(table, root / "documents.parquet")
        section = config | {"input": str(root / "documents.parquet")}
        text = json.dumps({"workspace": str(root / "work"), "seed": seed, "stages": {name: section}}, default=str)
        (root / "config.yaml").write_text(text, encoding="utf-8")  # JSON is YAML
        pipeline = Pipeline(
            load_config(root / "config.yaml", registry()), registry(), root, spark or SparkSession.getActiveSession()
        )
        manifest = next(iter(pipeline.run())).manifest
        output = root / "work" / name
        kept, dropped = (ds.dataset(output / kind, format="parquet").to_table() for kind in ("documents", "dropped"))
        return Result(back(kept), back(dropped), manifest["metrics"])
