"""From a token budget to cuts: reads a run's curve, solves the cut of each group, and says what each one keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from rich.table import Table

from pretrain_data.errors import ConfigError, InputError
from pretrain_data.mixing.mixture import token_count
from pretrain_data.selection import calibrate, curve
from pretrain_data.selection.config import CutConfig

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """One group of documents, and what its cut keeps of it."""

    name: str
    cut: float
    documents: int
    chars: int
    tokens: float
    documents_kept: int
    chars_kept: int
    tokens_kept: float


@dataclass(frozen=True)
class Plan:
    """Cuts by group, their sums, and what to think of them."""

    stage: str
    by: list[str]
    other: float  # the cut of groups that the run had no document of
    groups: list[Group]
    total: Group
    target_tokens: int | None
    advice: list[str]

    def section(self) -> dict[str, Any]:
        """The cuts as a config that can be included."""
        cut = {"by": self.by, "at": self.other, "values": {g.name: g.cut for g in self.groups}}
        return {"stages": {self.stage: {"cut": cut}}}


class _Sums:
    """Documents, characters and tokens of a part of the curve that a cut of each step keeps."""

    def __init__(self, table: pa.Table) -> None:
        # Index 0 is what no cut keeps, index 1 + step what is kept up to that step, the last what is always kept.
        place = table["last"].to_numpy() + 1
        size = curve.ALWAYS + 2
        self.counts = np.bincount(place, table["documents"].to_numpy(), size)
        self.kept = [
            np.cumsum(np.bincount(place, table[c].to_numpy(), size)[::-1])[::-1][1:]
            for c in ("documents", "chars", "tokens")
        ]
        self.whole = [float(np.sum(table[c].to_numpy())) for c in ("documents", "chars", "tokens")]

    @property
    def always(self) -> float:
        """Tokens that are kept whatever the cut: without a score, or kept by the rest of keep_if."""
        return float(self.kept[2][-1])

    @property
    def open(self) -> float:
        """Tokens that some cut keeps and some cut drops."""
        return float(self.kept[2][0] - self.kept[2][-1])

    def strictest(self, tokens: float) -> int:
        """The highest step that a config can name and that leaves so many tokens."""
        kept = self.kept[2][: curve.STEPS + 1]
        enough = np.flatnonzero(kept >= tokens * (1 - 1e-12))
        return int(enough[-1]) if len(enough) else 0

    def group(self, name: str, step: int) -> Group:
        """What a cut at this step keeps."""
        documents, chars, tokens = (float(k[step]) for k in self.kept)
        whole = self.whole
        return Group(
            name, step / curve.STEPS, int(whole[0]), int(whole[1]), whole[2], int(documents), int(chars), tokens
        )


def plan(
    workspace: Path,
    stages: list[str],
    by: list[str] | None = None,
    target: str | None = None,
    quantile: float | None = None,
) -> Plan:
    """Solve the cuts over the curve that the last run of a stage left (the last of `stages` that has one).

    `target`: the tokens that must remain; every group keeps the same share of what a cut can drop, so that cuts
    don't change the make-up. `quantile`: the share of each group's scored documents that its cut leaves behind. Without
    either, what cuts of 0 keep. `by` defaults to language and, for selection, domain. Raises InputError where there is
    no curve, ConfigError where an amount can't be read.
    """
    stage = next((s for s in reversed(stages) if (workspace / s / curve.WHOLE).is_file()), None)
    if stage is None:
        where = " or ".join(stages)
        raise InputError(f"{workspace}: no curve of {where}; run it first: pretrain-data run CONFIG --to {stages[-1]}")
    by = by or (["lang", "domain"] if stage == "selection" else ["lang"])
    table = _with_tokens(pq.read_table(workspace / stage / curve.WHOLE))
    names = pc.binary_join_element_wise(*(table[name] for name in by), "/")
    parts = {name: _Sums(table.filter(pc.equal(names, name))) for name in sorted(pc.unique(names).to_pylist())}
    whole = _Sums(table)
    wanted, advice = None, []
    if target is not None:
        try:
            wanted = int(token_count(target))
        except ValueError as error:
            raise ConfigError(str(error)) from None
        share = (wanted - whole.always) / whole.open if whole.open else 0.0
        other = whole.strictest(wanted)
        steps = {n: p.strictest(p.always + share * p.open) if p.open else other for n, p in parts.items()}
    elif quantile is not None:
        rows = [(n, i, int(c)) for n, p in parts.items() for i, c in enumerate(p.counts[1 : curve.STEPS + 2]) if c]
        cuts = calibrate.cuts(CutConfig(by=tuple(by), quantile=quantile), rows)  # type: ignore[arg-type]
        steps = {name: round(cuts.values.get(name, cuts.other) * curve.STEPS) for name in parts}
        other = round(cuts.other * curve.STEPS)
    else:
        steps, other = dict.fromkeys(parts, 0), 0
    groups = [part.group(name, steps[name]) for name, part in parts.items()]
    total = _total(groups, other / curve.STEPS)
    if wanted is not None:
        advice = _advice(wanted, total, whole)
    return Plan(stage, by, other / curve.STEPS, groups, total, wanted, advice)


def _with_tokens(table: pa.Table) -> pa.Table:
    """The curve with `tokens`: counted, or by the tokens a character of a sample of the language, else of all."""
    chars, counted = table["chars"].to_numpy(), table["counted_chars"].to_numpy()
    found = table["counted_tokens"].to_numpy()
    if (chars == counted).all():
        return table.append_column("tokens", pa.array(found.astype(np.float64)))
    ratio = found.sum() / counted.sum() if counted.sum() else 0.0
    if not ratio:
        raise InputError("no tokens were counted: set count_tokens of the stage higher and run it again")
    lang = table["lang"].to_numpy(zero_copy_only=False)
    tokens = chars * ratio
    for name in np.unique(lang):
        rows = lang == name
        if counted[rows].sum():
            tokens[rows] = chars[rows] * (found[rows].sum() / counted[rows].sum())
    return table.append_column("tokens", pa.array(tokens))


def _total(groups: list[Group], cut: float) -> Group:
    sums = [sum(getattr(g, name) for g in groups) for name in list(Group.__dataclass_fields__)[2:]]
    return Group("all", cut, *sums)


def _advice(wanted: int, total: Group, whole: _Sums) -> list[str]:
    lines = [f"These cuts leave {total.tokens_kept:,.0f} tokens of the {wanted:,} wanted."]
    most, least = whole.always + whole.open, whole.always
    if most < wanted:
        lines = [f"No cut leaves {wanted:,} tokens: with none at all {wanted - most:,.0f} are missing."]
    elif least > wanted:
        lines.append(f"{least:,.0f} tokens are kept whatever the cut: they have no score, or keep_if keeps them.")
    return lines


def table(found: Plan) -> Table:
    """What each cut keeps."""
    out = Table(*found.by, "cut", "documents", "kept", "tokens", "kept", "share", box=None)
    for group in [*found.groups, found.total]:
        names = group.name.split("/", len(found.by) - 1) if group is not found.total else ["all"]
        names += [""] * (len(found.by) - len(names))
        share = group.tokens_kept / group.tokens if group.tokens else 1.0
        counts = (group.documents, group.documents_kept, group.tokens, group.tokens_kept)
        out.add_row(*names, f"{group.cut:.4f}", *(f"{n:,.0f}" for n in counts), f"{share:.1%}")
    return out


def write(found: Plan, path: Path) -> None:
    """The cuts as YAML, to be named under `include` of a config."""
    what = f"{found.target_tokens:,} tokens" if found.target_tokens is not None else "a quantile"
    text = yaml.safe_dump(found.section(), allow_unicode=True, sort_keys=False)
    path.write_text(f"# Cuts by pretrain-data plan quality, for {what}.\n{text}", encoding="utf-8")
