"""What share of labelled documents a set of rules drops, by label, language and source.

    python scripts/bench/rules_calibration.py ../shared/data/text [--files web] [--only high]

Reads quality/docs.parquet, domain/docs.parquet and quality/formatted.parquet. The language is given, the
format is what the domain says: code, markdown, or latex for the Stacks project.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain_data.stage import Shard
from pretrain_data.stages.rules import Rules, RulesConfig


def judged(path: Path, stage: Rules) -> tuple[pa.Table, list[str | None]]:
    """The documents of one file and the rule that drops each."""
    table = pq.read_table(path)
    if "domain" in table.schema.names:
        latex = pc.equal(table["source"], "stacks-project")
        known = pc.is_in(table["domain"], pa.array(["code", "markdown"]))
        form = pc.if_else(latex, "latex", pc.if_else(known, table["domain"], "prose"))
        table = table.append_column("format", form)
    table = table.set_column(table.schema.get_field_index("text"), "text", table["text"].cast(pa.large_string()))
    rules: list[str | None] = []
    for batch in table.combine_chunks().to_batches(4096):
        for processed in stage.process(iter([batch]), Shard("part", ())):
            assert processed.rule is not None
            rules += processed.rule.to_pylist()
    return table, rules


def main() -> None:
    """Print one line a group with the rules that drop most of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", nargs="*", default=["web"])
    args = parser.parse_args()
    stage = Rules(RulesConfig(files=[Path(f) for f in args.files]))
    for name, keys in (
        ("quality/docs", ("label", "lang")),
        ("quality/docs", ("label", "source", "lang")),
        ("domain/docs", ("lang", "domain", "source")),
        ("quality/formatted", ("domain", "source")),
    ):
        table, rules = judged(args.folder / f"{name}.parquet", stage)
        print(f"{name} by {', '.join(keys)}")
        groups = list(zip(*(table[k].to_pylist() for k in keys), strict=True))
        size = Counter(groups)
        for group in sorted(size, key=str):
            by_rule = Counter(r for g, r in zip(groups, rules, strict=True) if g == group and r)
            dropped = sum(by_rule.values())
            most = ", ".join(f"{r} {n}" for r, n in by_rule.most_common(5))
            print(f"  {' '.join(map(str, group))}: {dropped / size[group]:.1%} of {size[group]:,}  {most}")


if __name__ == "__main__":
    main()
