"""A rule expression tried on the signals that the last rules run kept: what it would drop, and at whose cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from pretrain_data.errors import ConfigError
from pretrain_data.report.samples import spread
from pretrain_data.report.shown import shown
from pretrain_data.rules import audit, auditfiles

MOST_SHARDS = 32
MOST_ROWS = 200_000
NAME = "tried"


def trial(folder: Path, expression: str) -> dict[str, Any]:
    """The bias table of `drop_if: expression` over a spread of the shards in `folder` (a rules output), and examples.

    Raises ConfigError where the expression can't be read or asks for what the audit doesn't hold, InputError
    where the run kept none.
    """
    from pretrain_data.stages.rules import Rules, RulesConfig

    try:
        config = RulesConfig.model_validate({"files": [], "rules": [{"name": NAME, "drop_if": expression}]})
    except ValidationError as error:
        raise ConfigError("; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())) from None
    rules = Rules(config).rule_set
    tally, near, rows = audit.Tally(), audit.EXAMPLES.empty_table(), 0
    files = spread(auditfiles.shard_files(folder, auditfiles.DOCUMENTS), MOST_SHARDS)
    for ids, view in auditfiles.stored_views(folder, files or None):
        lacking = sorted(rules.names - set(view))
        if lacking:
            raise ConfigError(f"the audit does not hold {lacking[0]}")
        verdict = rules.judge(view)
        tally.add(ids, view, rules, verdict)
        near = audit.nearest(pa.concat_tables([near, audit.examples(ids, view, rules, verdict)]))
        rows += len(ids)
        if rows >= MOST_ROWS:
            break
    found = audit.report(tally.table().to_pylist())
    rule = found["rules"].get(NAME, {"attributes": {}, "documents": 0})
    return {
        "documents": rows,
        "removed": rule["documents"],
        "attributes": {
            name: {
                "divergence": table["divergence"],
                "values": [v | {"value": shown(v["value"])} for v in table["values"]],
            }
            for name, table in rule["attributes"].items()
        },
        "examples": near.to_pylist(),
    }
