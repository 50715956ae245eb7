"""The audit: counts by hand, lift and divergence against scipy-free formulas, and what-if against a rerun."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.errors import ConfigError, PretrainDataError
from pretrain_data.rules import audit, auditfiles
from pretrain_data.stage import Shard
from pretrain_data.stages.rules import Rules, RulesConfig, adjusted

HAS_URL = {"name": "has_url", "drop_if": "signals.url_count > most", "let": {"most": 0}}
SHORT = {"name": "short", "drop_if": "signals.chars < least", "let": {"least": 12}}


def built() -> pa.RecordBatch:
    """Six English documents, of which four hold an address, and four Chinese ones without."""
    english = ["see https://a.example/x for more"] * 4 + ["no address is in here", "tiny"]
    chinese = ["这里没有任何网址，只有一段普通的中文。"] * 4
    return pa.RecordBatch.from_pydict(
        {
            "doc_id": [f"d{i}" for i in range(10)],
            "text": pa.array(english + chinese, pa.large_string()),
            "lang": ["en"] * 6 + ["zh"] * 4,
            "domain": ["news"] * 3 + ["manual"] * 3 + ["news"] * 4,
            "url": ["https://user@A.example:80/p"] * 5 + [None] * 5,
        }
    )


def run(output: Path, batches: list[pa.RecordBatch], **config: Any) -> Rules:
    stage = Rules(RulesConfig(files=[], **config))
    stage.prepare(SimpleNamespace(output=output))  # type: ignore[arg-type]
    for number, batch in enumerate(batches):
        list(stage.process(iter([batch]), Shard(f"part-{number:05}", ())))
    return stage


def test_counts_by_rule_and_value(tmp_path: Path) -> None:
    stage = run(tmp_path, [built().slice(0, 7), built().slice(7)], rules=[HAS_URL, SHORT])
    found = auditfiles.what_if(tmp_path, stage.rule_set)
    assert found["documents"] == 10
    assert {n: (r["documents"], r["alone_documents"]) for n, r in found["rules"].items()} == {
        "*": (5, 5), "has_url": (4, 4), "short": (1, 1),
    }  # fmt: skip
    lang = found["rules"]["*"]["attributes"]["lang"]
    rows = {v["value"]: v for v in lang["values"]}
    # By hand: en 6 of 10 before, 1 of 5 after; zh 4 of 10 before, 4 of 5 after.
    assert (rows["en"]["removed"], rows["zh"]["removed"]) == (5, 0)
    assert rows["zh"]["lift"] == pytest.approx(0.8 / 0.4)
    assert rows["en"]["lift"] == pytest.approx(0.2 / 0.6, abs=1e-4)
    assert rows["zh"]["lift_low"] < 2 < rows["zh"]["lift_high"]
    middle = (0.4, 0.6)  # means of the shares of en and zh
    by_hand = sum(
        p * math.log2(p / m) for share in ((0.6, 0.4), (0.2, 0.8)) for p, m in zip(share, middle, strict=True)
    )
    assert lang["divergence"] == pytest.approx(by_hand / 2)
    hosts = {v["value"]: v["documents"] for v in found["rules"]["*"]["attributes"]["host"]["values"]}
    assert hosts == {"a.example": 5, audit.NONE: 5}


def test_the_shard_tallies_add_up_to_the_what_if(tmp_path: Path) -> None:
    stage = run(tmp_path, [built().slice(0, 3), built().slice(3)], rules=[HAS_URL, SHORT])
    rows = [r for p in auditfiles.shard_files(tmp_path, auditfiles.COUNTS) for r in pq.read_table(p).to_pylist()]
    assert audit.report(rows) == auditfiles.what_if(tmp_path, stage.rule_set)


def test_what_if_says_what_a_rerun_says(tmp_path: Path) -> None:
    first = run(tmp_path / "a", [built()], rules=[HAS_URL, SHORT])
    changed = Rules(adjusted(first.config, ["short.least=25", "has_url=off"]))
    again = run(tmp_path / "b", [built()], rules=[{**SHORT, "let": {"least": 25}}])
    told = auditfiles.what_if(tmp_path / "a", changed.rule_set)
    assert told == auditfiles.what_if(tmp_path / "b", again.rule_set)
    assert told["rules"]["*"]["documents"] == 6  # 21 and 4 letters, and four of 19 Han


def test_what_if_refuses_what_it_cannot_know(tmp_path: Path) -> None:
    run(tmp_path, [built()], rules=[SHORT])
    other = Rules(RulesConfig(files=[], rules=[{"name": "r", "drop_if": 'contains(url, "x")'}]))
    with pytest.raises(ConfigError, match="rule r reads url"):
        auditfiles.what_if(tmp_path, other.rule_set)
    with pytest.raises(ConfigError, match="no parameter most"):
        adjusted(RulesConfig(files=[], rules=[SHORT]), ["short.most=1"])
    with pytest.raises(ConfigError, match="must be RULE"):
        adjusted(RulesConfig(files=[], rules=[SHORT]), ["short.least=x"])


def test_examples_are_the_nearest_on_either_side(tmp_path: Path) -> None:
    texts = pa.array(["x" * n for n in range(1, 31)], pa.large_string())
    batch = pa.RecordBatch.from_pydict({"doc_id": [f"d{n:02}" for n in range(1, 31)], "text": texts})
    run(tmp_path, [batch.slice(0, 9), batch.slice(9)], rules=[{**SHORT, "let": {"least": 10}}])
    near = auditfiles.nearest_examples(tmp_path, "short")
    assert [(e["side"], e["value"]) for e in near] == [
        *(("dropped", v) for v in (9, 8, 7, 6, 5)),
        *(("kept", v) for v in (10, 11, 12, 13, 14)),
    ]


def test_lift_interval_covers_the_truth_about_19_times_in_20() -> None:
    rng = np.random.default_rng(7)
    keep, share = (0.9, 0.6), 0.3
    truth = keep[0] / (share * keep[0] + (1 - share) * keep[1])
    covered = 0
    for _ in range(400):
        inside = rng.binomial(2000, share)
        kept = rng.binomial(inside, keep[0])
        _, low, high = audit.lift(kept, inside, kept + rng.binomial(2000 - inside, keep[1]), 2000)
        covered += low <= truth <= high
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.parametrize("alike", [True, False])
def test_intervals_cover_the_truth_where_the_pages_of_a_host_share_their_fate(alike: bool) -> None:
    """4,000 documents of 400 hosts, half of either language; a page goes at 0.3 in zh and 0.1 in en.

    Alike: all pages of a host go or none does, so that the interval of single documents is far too narrow.
    """
    rng = np.random.default_rng(7)
    host = np.repeat(np.arange(400), 10)
    zh = host % 2 == 0
    names = pa.array([f"h{h}.example" for h in host])
    group = audit.host_groups(names, names)
    chance = np.where(zh, 0.3, 0.1)
    truth = 0.7 / 0.8
    plain = wide = 0
    for _ in range(200):
        drawn = np.repeat(rng.random(400), 10) if alike else rng.random(4000)
        keeps = drawn >= chance
        counts = [np.bincount(group[rows], minlength=audit.GROUPS) for rows in (zh & keeps, zh, keeps, zh | ~zh)]
        ratio, low, high = audit.lift(*(int(c.sum()) for c in counts))
        half = audit.clustered(*counts)
        assert half is not None
        plain += low <= truth <= high
        wide += min(low, ratio * math.exp(-half)) <= truth <= max(high, ratio * math.exp(half))
    assert wide >= 0.9 * 200
    assert (plain < 0.7 * 200) == alike


def test_a_value_in_too_few_groups_has_no_interval_over_groups() -> None:
    few = np.zeros(audit.GROUPS, np.int64)
    few[:7] = 10
    many = np.full(audit.GROUPS, 10)
    assert audit.clustered(few, few, many, many) is None
    assert audit.clustered(many, many, many, many) == pytest.approx(0)


def test_divergence_is_symmetric_and_between_0_and_1() -> None:
    assert audit.divergence([1, 1], [2, 2]) == 0
    assert audit.divergence([1, 0], [0, 5]) == 1
    assert audit.divergence([3, 1], [1, 4]) == pytest.approx(audit.divergence([1, 4], [3, 1]))


def test_a_bound_on_nothing_and_a_bound_without_audit_are_refused() -> None:
    with pytest.raises(ValueError, match="share or divergence"):
        RulesConfig(files=[], max_shift={"lang": {}})
    with pytest.raises(ValueError, match="needs audit"):
        RulesConfig(files=[], audit=False, max_shift={"lang": {"share": 0.1}})


def concluded(tmp_path: Path, spark: Any, batches: list[pa.RecordBatch], **config: Any) -> SimpleNamespace:
    stage = run(tmp_path, batches, **config)
    warnings: list[str] = []
    state = SimpleNamespace(
        output=tmp_path, spark=spark, tasks=None, metrics={}, warnings=warnings, warn=warnings.append
    )
    stage.conclude(state)  # type: ignore[arg-type]
    return state


def test_max_shift_warns_or_fails_the_run(tmp_path: Path, spark: Any) -> None:
    bound = {"share": 0.05, "then": "warn"}
    state = concluded(tmp_path / "a", spark, [built()], rules=[HAS_URL], max_shift={"lang": bound})
    # By hand: zh has 4 of 10 documents before and 4 of 6 after; its share of the tokens moves less.
    assert "zh 40.0% → 66.7%" in state.warnings[0]
    assert "by 0.267 of a share" in state.warnings[0]
    assert state.metrics["audit"]["lang"]["max_shift"] == pytest.approx(0.266667)
    with pytest.raises(PretrainDataError, match=r"max_shift: the rules shift lang .*By rule: has_url 0.267"):
        concluded(tmp_path / "b", spark, [built()], rules=[HAS_URL], max_shift={"lang": {"divergence": 0.01}})
    calm = concluded(tmp_path / "c", spark, [built()], rules=[HAS_URL], max_shift={"lang": {"share": 0.5}})
    assert calm.warnings == []


def test_dropping_every_page_with_an_address_shifts_towards_chinese(
    tmp_path: Path, spark: Any, shared_data: Path
) -> None:
    table = pq.read_table(shared_data / "text/domain/docs.parquet", columns=["id", "text", "domain", "lang", "source"])
    table = table.rename_columns(["doc_id", "text", "domain", "lang", "source"]).take(list(range(0, table.num_rows, 4)))
    rule = {"name": "has_url", "drop_if": "signals.url_count > 0"}
    with pytest.raises(PretrainDataError, match="max_shift: the rules shift lang"):
        concluded(
            tmp_path, spark, table.combine_chunks().to_batches(4096), rules=[rule], max_shift={"lang": {"share": 0.01}}
        )
    found = auditfiles.what_if(tmp_path, Rules(RulesConfig(files=[], rules=[rule])).rule_set)
    lifts = {v["value"]: v for v in found["rules"]["*"]["attributes"]["lang"]["values"]}
    assert lifts["zh"]["lift_low"] > 1 > lifts["en"]["lift_high"]


@given(values=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 1e-300, 7.25]), max_size=120), most=st.integers(1, 6))
def test_the_nearest_are_those_of_a_full_sort_the_first_of_equals(values: list[float], most: int) -> None:
    expected = sorted(range(len(values)), key=lambda i: (values[i], i))[:most]
    assert audit._smallest(np.array(values, float), most).tolist() == expected
