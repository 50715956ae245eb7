"""The bundled `web` rules on labelled documents: what edited sources lose and boilerplate does not survive."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretrain_data.stage import Shard
from pretrain_data.stages.rules import Rules, RulesConfig


def dropped(table: pa.Table, files: list[Path], by: list[str]) -> dict[tuple[str, ...], float]:
    """Share of the documents dropped, by the values of `by`."""
    stage = Rules(RulesConfig(files=files))
    texts = table.set_column(table.schema.get_field_index("text"), "text", table["text"].cast(pa.large_string()))
    size: Counter[tuple[str, ...]] = Counter()
    gone: Counter[tuple[str, ...]] = Counter()
    for batch in texts.combine_chunks().to_batches(4096):
        (processed,) = stage.process(iter([batch]), Shard("part", ()))
        assert processed.rule is not None
        groups = list(zip(*(batch.column(c).to_pylist() for c in by), strict=True))
        size.update(groups)
        gone.update(g for g, rule in zip(groups, processed.rule.to_pylist(), strict=True) if rule)
    return {group: gone[group] / size[group] for group in size}


def test_high_is_kept_and_low_dropped_in_both_languages(shared_data: Path) -> None:
    table = pq.read_table(shared_data / "text/quality/docs.parquet")
    share = dropped(table, [Path("web")], ["label", "lang"])
    assert share["high", "en"] <= 0.05
    assert share["high", "zh"] <= 0.05
    assert share["low", "en"] >= 0.7
    assert share["low", "zh"] >= 0.7


@pytest.mark.parametrize("name", ["zh_web", "zh_books", "web"])
def test_edited_chinese_passes(name: str, shared_data: Path) -> None:
    table = pq.read_table(shared_data / "text/domain/docs.parquet", filters=[("lang", "=", "zh")])
    share = dropped(table.take(list(range(0, table.num_rows, 3))), [Path(name)], ["domain"])
    for domain in ("news", "encyclopedia", "legal", "literature"):
        assert share[domain,] <= 0.03, domain
