"""What rules do to the make-up of a dataset: removals, shifts of shares, and cases near a threshold.

`Tally` counts one shard, in memory that follows its distinct values and not its documents; its rows add
up over shards. `report` makes lift tables of the sums. A lift is a value's share after the rule over its
share before: above 1 the rule favours it. Its 95 % interval is the wider of two: that of documents drawn one by
one (delta method on the logarithm under multinomial sampling), and that of hosts drawn as a whole, whose pages
resemble each other (delete-a-group jackknife over GROUPS groups of hosts: Kott 2001, J. Official Statistics 17(4)).
A document without a host is a host of its own. The divergence is Jensen-Shannon's with base 2:
0 where the make-up stays, 1 where nothing is left in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data.kernels.bytes8 import hash_each
from pretrain_data.kernels.textscan import text_buffers
from pretrain_data.rules.expression import Batch
from pretrain_data.rules.ruleset import RuleSet, Verdict
from pretrain_data.rules.urls import split

ATTRIBUTES = ("lang", "domain", "source", "format", "length", "host")
NONE = "(none)"
MORE = "(more)"
BEFORE = ""  # stands for a rule where all documents are counted
ALL_RULES = "*"  # the whole set
PENALTY = "penalty"
TOTAL = "(all)"  # stands for an attribute where all documents are one
LENGTHS = (200, 1_000, 5_000, 20_000, 100_000)  # upper ends of length buckets, in code points
MOST_VALUES = 50  # values of one attribute in a report; the rest is summed as MORE
NEAREST = 5  # examples on either side of a threshold
Z95 = 1.959964

SUMS = ("documents", "tokens", "alone_documents", "alone_tokens")
GROUPS = 32  # of hosts, by hash
LEAST_GROUPS = 8  # that a value's documents lie in, for an interval over groups
T95 = 2.0395  # Student's t with GROUPS - 1 degrees of freedom
COUNTS = (*SUMS, *(f"group_{g:02d}" for g in range(GROUPS)))  # the latter: documents of each group
TALLY = pa.schema([(n, pa.string()) for n in ("rule", "attribute", "value")] + [(n, pa.int64()) for n in COUNTS])
EXAMPLES = pa.schema(
    [
        ("rule", pa.string()),
        ("side", pa.string()),
        ("doc_id", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("distance", pa.float64()),
    ]
)


def host_of(url: pa.Array) -> pa.Array:
    """The host of each URL, lower case, without port and user; null where there is none."""
    return split(url)[0]


def host_groups(host: pa.Array, ids: pa.Array) -> npt.NDArray[np.int64]:
    """The group of each document: by hash of its host, or of its id where it has none."""
    names = pc.if_else(pc.equal(host, NONE), pc.fill_null(ids.cast(pa.string()), ""), host)
    return (hash_each(*text_buffers(names)) % GROUPS).astype(np.int64)


def length_bucket(chars: npt.NDArray[np.generic]) -> pa.Array:
    """The bucket of each length in code points, named so that names sort by length."""
    ends = ["0", *(str(n) for n in LENGTHS)]
    names = [f"{i}: {a} to {b}" for i, (a, b) in enumerate(zip(ends, [*ends[1:], "more"], strict=True))]
    return pa.array(names).take(pa.array(np.searchsorted(LENGTHS, chars, side="right")))


def attributes(view: Batch) -> dict[str, pa.Array]:
    """The audited attributes of a batch as rules see it."""
    found = {name: view[name] for name in ("lang", "domain", "source", "format")}
    found["length"] = length_bucket(view["signals.chars"])
    found["host"] = view["host"] if "host" in view else host_of(view["url"])
    return {name: pc.fill_null(found[name].cast(pa.string()), NONE) for name in ATTRIBUTES}


def removals(rules: RuleSet, verdict: Verdict) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """For each hard rule, and the penalty where it is bounded, the documents that it would remove."""
    found = [(r.name, verdict.fires[i]) for i, r in enumerate(rules.rules) if r.penalty is None]
    if rules.max_penalty is not None:
        found.append((PENALTY, verdict.penalty > rules.max_penalty))
    return found


class Tally:
    """Documents and tokens by rule, attribute and value."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, str], npt.NDArray[np.int64]] = {}

    def add(self, ids: pa.Array, view: Batch, rules: RuleSet, verdict: Verdict) -> None:
        """Count one batch."""
        found = attributes(view)
        group = host_groups(found["host"], ids)
        tokens = np.asarray(view["signals.tokens"], np.int64)
        removed = removals(rules, verdict)
        times = np.sum([mask for _, mask in removed], axis=0) if removed else np.zeros(len(tokens))
        alone = times == 1
        groups = [(TOTAL, pa.array([TOTAL] * len(tokens))), *found.items()]
        masks = [(BEFORE, np.ones(len(tokens), bool)), (ALL_RULES, verdict.drops), *removed]
        for attribute, column in groups:
            coded = column.dictionary_encode()
            codes, names = coded.indices.to_numpy(), coded.dictionary.to_pylist()
            for rule, mask in masks:
                rows = np.flatnonzero(mask)
                if rows.size:
                    self._add(rule, attribute, names, codes[rows], tokens[rows], alone[rows], group[rows])

    def _add(
        self,
        rule: str,
        attribute: str,
        names: list[str],
        codes: npt.NDArray[np.int64],
        tokens: npt.NDArray[np.int64],
        alone: npt.NDArray[np.bool_],
        group: npt.NDArray[np.int64],
    ) -> None:
        # Sums of whole numbers below 2**53 are exact in the doubles of bincount.
        columns = [np.ones(len(codes)), tokens, alone, tokens * alone]
        sums = np.array([np.bincount(codes, weights=c, minlength=len(names)) for c in columns], np.int64)
        groups = np.bincount(codes * GROUPS + group, minlength=len(names) * GROUPS).reshape(-1, GROUPS)
        for code in np.unique(codes):
            key = (rule, attribute, names[code])
            new = np.concatenate([sums[:, code], groups[code]])
            self.counts[key] = self.counts.get(key, np.zeros(len(COUNTS), np.int64)) + new

    def table(self) -> pa.Table:
        """One row a rule, attribute and value, in their order. Schema: TALLY."""
        keys = sorted(self.counts)
        data: dict[str, Any] = {n: [k[i] for k in keys] for i, n in enumerate(("rule", "attribute", "value"))}
        data |= {n: [int(self.counts[k][i]) for k in keys] for i, n in enumerate(COUNTS)}
        return pa.table(data, TALLY)


def examples(ids: pa.Array, view: Batch, rules: RuleSet, verdict: Verdict, most: int = NEAREST) -> pa.Table:
    """The `most` documents of a batch nearest to each hard rule's threshold on either side.

    Measured on the first numeric comparison of the rule. The distance is relative to the threshold,
    absolute where that is 0.
    Schema: EXAMPLES.
    """
    rows = len(ids)
    known: dict[Any, npt.NDArray[np.bool_]] = {}
    names: list[str] = []
    sides: list[str] = []
    places: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
    numbers: list[npt.NDArray[np.float64]] = [np.zeros((3, 0))]
    for number, rule in enumerate(rules.rules):
        if rule.penalty is not None:
            continue
        for predicate, scope in rule.variants(view, rows, known):
            if not predicate.atoms:
                continue
            atom = predicate.atoms[0]
            value = np.broadcast_to(np.asarray(atom.value(view), np.float64), (rows,))
            against = np.broadcast_to(np.asarray(atom.threshold(view), np.float64), (rows,))
            distance = np.abs(value - against) / np.where(against == 0, 1.0, np.abs(against))
            judged = scope & np.isfinite(distance)
            for side, mask in (("dropped", verdict.fires[number]), ("kept", ~verdict.fires[number])):
                chosen = np.flatnonzero(judged & mask)
                chosen = chosen[_smallest(distance[chosen], most)]
                names += [rule.name] * chosen.size
                sides += [side] * chosen.size
                places.append(chosen)
                numbers.append(np.stack([value[chosen], against[chosen], distance[chosen]]))
    found = ids.take(pa.array(np.concatenate(places))).cast(pa.string())
    columns = [pa.array(names, pa.string()), pa.array(sides, pa.string()), found, *np.concatenate(numbers, axis=1)]
    return nearest(pa.table(columns, schema=EXAMPLES), most)


def _smallest(values: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.int64]:
    """Where the `most` smallest stand, smallest first, of equal ones the first."""
    if len(values) > 8 * most:  # a full sort takes ten times as long
        few = np.flatnonzero(values <= np.partition(values, most - 1)[most - 1])
        return few[np.argsort(values[few], kind="stable")[:most]]
    return np.argsort(values, kind="stable")[:most]


def nearest(table: pa.Table, most: int = NEAREST) -> pa.Table:
    """The `most` nearest examples of each rule and side, nearest first, doc_id deciding ties."""
    table = table.sort_by([(n, "ascending") for n in ("rule", "side", "distance", "doc_id")])
    kept, seen, last = [], 0, None
    for row, key in enumerate(zip(table["rule"].to_pylist(), table["side"].to_pylist(), strict=True)):
        seen = seen + 1 if key == last else 1
        last = key
        if seen <= most:
            kept.append(row)
    return table.take(pa.array(kept, pa.int64()))


def divergence(before: Iterable[float], after: Iterable[float]) -> float:
    """Jensen-Shannon divergence in bits of two sets of counts over the same values; 0 where one is empty."""
    p, q = np.array(list(before), float), np.array(list(after), float)
    if p.sum() <= 0 or q.sum() <= 0:
        return 0.0
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2

    def distance(x: npt.NDArray[np.float64]) -> float:
        some = x > 0
        return float(np.sum(x[some] * np.log2(x[some] / middle[some])))

    return max(0.0, (distance(p) + distance(q)) / 2)


def lift(kept: int, documents: int, all_kept: int, all_documents: int) -> tuple[float, float, float]:
    """Lift of a value's share of documents, and the ends of its 95 % interval; NaN where nothing is kept.

    `kept` of the value's `documents` remain, `all_kept` of `all_documents`. The interval counts half a
    document more in each cell (Haldane), so that it exists for a value that is wiped out.
    """
    if not all_kept or not documents:
        return (float("nan"),) * 3
    ratio = (kept / documents) / (all_kept / all_documents)
    cells = np.array([kept, all_kept - kept, documents - kept, all_documents - documents - all_kept + kept]) + 0.5
    share = cells / cells.sum()
    value, left = share[0] + share[2], share[0] + share[1]
    slope = np.array([1 / share[0] - 1 / value - 1 / left, -1 / left, -1 / value, 0.0])
    variance = (np.sum(share * slope**2) - np.sum(share * slope) ** 2) / cells.sum()
    middle = np.log(share[0] / value / left)
    spread = Z95 * float(np.sqrt(max(variance, 0.0)))
    return ratio, min(ratio, float(np.exp(middle - spread))), max(ratio, float(np.exp(middle + spread)))


def clustered(
    kept: npt.NDArray[np.int64],
    documents: npt.NDArray[np.int64],
    all_kept: npt.NDArray[np.int64],
    all_documents: npt.NDArray[np.int64],
) -> float | None:
    """Half the 95 % interval of a lift's logarithm over groups of hosts; None where a value lies in too few.

    Arguments as for `lift`, one number a group (delete-a-group jackknife).
    """
    if np.count_nonzero(documents) < LEAST_GROUPS:
        return None

    def without(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return np.log(counts.sum() - counts + 0.5)

    logs = without(kept) - without(documents) - without(all_kept) + without(all_documents)
    variance = (GROUPS - 1) / GROUPS * np.sum((logs - logs.mean()) ** 2)
    return T95 * float(np.sqrt(variance))


Counts = Mapping[str, npt.NDArray[np.int64]]  # value → COUNTS


def report(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The audit of summed tally rows: for each rule, and ALL_RULES, removals and shifts.

    `{"documents", "tokens", "rules": {rule: {"documents", "tokens", "alone_documents", "alone_tokens",
    "attributes": {attribute: {"divergence", "divergence_tokens", "max_shift", "values": [...]}}}}}`.
    `max_shift` is the largest change of one value's share of documents or of tokens.
    """
    counts: dict[tuple[str, str], dict[str, npt.NDArray[np.int64]]] = {}
    for row in rows:
        at = counts.setdefault((row["rule"], row["attribute"]), {})
        at[row["value"]] = at.get(row["value"], np.zeros(len(COUNTS), np.int64)) + [row[n] for n in COUNTS]
    zero = np.zeros(len(COUNTS), np.int64)
    total = counts.get((BEFORE, TOTAL), {}).get(TOTAL, zero)
    rules: dict[str, Any] = {}
    for rule in sorted({rule for rule, _ in counts} - {BEFORE}):
        gone = counts.get((rule, TOTAL), {}).get(TOTAL, zero)
        shifts = {name: _shift(counts.get((BEFORE, name), {}), counts.get((rule, name), {})) for name in ATTRIBUTES}
        rules[rule] = dict(zip(SUMS, map(int, gone), strict=False)) | {"attributes": shifts}
    return {"documents": int(total[0]), "tokens": int(total[1]), "rules": rules}


def _shift(before: Counts, removed: Counts) -> dict[str, Any]:
    """Shift of one attribute. Values beyond the MOST_VALUES largest are summed as MORE."""
    zero = np.zeros(len(COUNTS), np.int64)
    largest = sorted(before, key=lambda v: (v == MORE, -int(before[v][0]), v))
    named, rest = largest[:MOST_VALUES], largest[MOST_VALUES:]
    pairs = [(v, before[v], removed.get(v, zero)) for v in named]
    if rest:
        more = (sum((before[v] for v in rest), zero), sum((removed.get(v, zero) for v in rest), zero))
        pairs.append((MORE, *more))
    old = np.array([b[:2] for _, b, _ in pairs], float).reshape(-1, 2)
    new = old - np.array([r[:2] for _, _, r in pairs], float).reshape(-1, 2)
    share_old = old / np.maximum(old.sum(axis=0), 1)
    share_new = new / np.maximum(new.sum(axis=0), 1)
    groups_before = np.array([b[len(SUMS) :] for _, b, _ in pairs]).reshape(-1, GROUPS)
    groups_after = groups_before - np.array([r[len(SUMS) :] for _, _, r in pairs]).reshape(-1, GROUPS)
    values = []
    for i, (value, b, r) in enumerate(pairs):
        ratio, low, high = lift(int(new[i, 0]), int(b[0]), int(new[:, 0].sum()), int(old[:, 0].sum()))
        half = clustered(groups_after[i], groups_before[i], groups_after.sum(axis=0), groups_before.sum(axis=0))
        if half is not None and ratio > 0:
            low, high = min(low, ratio * float(np.exp(-half))), max(high, ratio * float(np.exp(half)))
        values.append(
            {
                "value": value,
                "documents": int(b[0]),
                "removed": int(r[0]),
                "removed_tokens": int(r[1]),
                "share_before": float(share_old[i, 0]),
                "share_after": float(share_new[i, 0]),
                "lift": _number(ratio),
                "lift_low": _number(low),
                "lift_high": _number(high),
            }
        )
    return {
        "divergence": divergence(old[:, 0], new[:, 0]),
        "divergence_tokens": divergence(old[:, 1], new[:, 1]),
        "max_shift": float(np.abs(share_new - share_old).max(initial=0.0)) if new.sum() else 1.0,
        "values": values,
    }


def _number(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None


def lines(audit: Mapping[str, Any], rule: str = ALL_RULES) -> list[str]:
    """The audit of one rule as text, a line a fact."""
    one = audit["rules"].get(rule)
    if one is None:
        return [f"{rule}: removes nothing"]
    share = one["documents"] / max(1, audit["documents"])
    result = [
        f"{rule}: removes {one['documents']:,} of {audit['documents']:,} documents ({share:.1%}), "
        f"{one['tokens']:,} of {audit['tokens']:,} tokens; {one['alone_documents']:,} documents alone"
    ]  # fmt: skip
    for attribute, shift in one["attributes"].items():
        if len(shift["values"]) < 2:
            continue
        result.append(f"  {attribute}: divergence {shift['divergence']:.4f}, max_shift {shift['max_shift']:.4f}")
        for v in shift["values"][:10]:
            span = "" if v["lift"] is None else f"  lift {v['lift']:.2f} [{v['lift_low']:.2f}, {v['lift_high']:.2f}]"
            result.append(
                f"    {v['value']}: {v['share_before']:.1%} → {v['share_after']:.1%} "
                f"({v['removed']:,} of {v['documents']:,} removed){span}"
            )
    return result
