"""Keep expressions, draws, quantiles and curves, against plain Python over the same documents."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pretrain_data.errors import ConfigError, InputError
from pretrain_data.selection import calibrate, curve
from pretrain_data.selection.config import CutConfig, SelectionConfig
from pretrain_data.selection.judge import Cuts, curve_rows, judge
from pretrain_data.tokenizers import load_tokenizer

ROWS: list[dict[str, Any]] = [
    {"doc_id": "a", "text": "图书馆延长开放时间", "lang": "zh", "source": "books", "quality_score": 0.2, "words": 900},
    {"doc_id": "b", "text": "首页 登录", "lang": "zh", "source": "web", "quality_score": 0.1, "words": 2},
    {"doc_id": "c", "text": "ｆｕｌｌ ｗｉｄｔｈ", "lang": "en", "source": "web", "quality_score": 0.7, "words": 2},
    {"doc_id": "d", "text": "圖書館", "lang": "zh", "source": "web", "quality_score": 0.6, "words": 3},
    {"doc_id": "e", "text": "x = 1", "lang": "en", "source": "web", "quality_score": None, "words": 1},
]


def batch(rows: list[dict[str, Any]] = ROWS) -> pa.RecordBatch:
    columns = {name: [r.get(name) for r in rows] for name in ("doc_id", "lang", "source", "url")}
    table = pa.RecordBatch.from_pydict(columns | {"text": pa.array([r["text"] for r in rows], pa.large_string())})
    table = table.append_column("quality_score", pa.array([r["quality_score"] for r in rows], pa.float32()))
    words = pa.array([r.get("words", 0) for r in rows], pa.int32())
    return table.append_column("signals", pa.StructArray.from_arrays([words], ["words"]))


def dropped(cuts: Cuts | None = None, rows: list[dict[str, Any]] = ROWS, seed: int = 7, **keys: Any) -> dict[str, Any]:
    """doc_id → (value, threshold) of what is dropped."""
    config = SelectionConfig(count_tokens=0, **keys)
    cuts = cuts or calibrate.given(config)
    assert cuts is not None
    done = judge(batch(rows), config, cuts, seed)
    assert done.rule is not None
    columns = (done.batch.column("doc_id"), done.rule, done.value, done.threshold)
    return {i: (v, t) for i, r, v, t in zip(*(c.to_pylist() for c in columns), strict=True) if r is not None}


def test_by_default_all_stay_and_a_number_is_a_cut() -> None:
    assert dropped() == {}
    found = dropped(cut=0.65)
    assert list(found) == ["a", "b", "d"]
    assert found["d"] == (pytest.approx(0.6), pytest.approx(0.65))
    assert dropped(cut=0.7) == dropped(cut={"at": 0.7}), "a score that equals the cut stays, in 32 bits too"
    assert "c" not in dropped(cut=0.7)


def test_a_score_is_one_feature_of_many() -> None:
    rescued = dropped(cut=0.65, keep_if='score >= cut or source == "books" and signals.words > 500 or chars < 4')
    assert list(rescued) == ["b"]
    assert rescued["b"] == (pytest.approx(0.1), pytest.approx(0.65)), "the first comparison that speaks against it"
    by_group = dropped(cut={"by": ["source", "lang"], "at": 0.0, "values": {"web/zh": 0.5, "web/en": 0.9}})
    assert by_group == {"b": (pytest.approx(0.1), 0.5), "c": (pytest.approx(0.7), pytest.approx(0.9))}
    assert "e" not in dropped(keep_if='source == "books"'), "what no model has judged is never dropped"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"keep_if": "scor >= 0.5"}, "did you mean score"),
        ({"keep_if": "signals.word > 3"}, "did you mean signals.words"),
        ({"keep_if": "score"}, "not a condition"),
        ({"keep_if": "score >= cut"}, "cut is not set"),
        ({"keep_if": "score > 0.5", "cut": 0.3}, "doesn't read it"),
        ({"cut": {"by": ["lang"]}}, "quantile"),
        ({"cut": {"values": {"zh": 0.3}}}, "need at"),
        ({"cut": {"by": ["lang", "source"], "at": 0, "values": {"zh": 0.3}}}, "lang/source"),
        ({"cut": 1.5}, "less than or equal to 1"),
    ],
)
def test_a_wrong_config_is_told_beforehand(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SelectionConfig(**keys)


def test_what_the_input_lacks_is_named() -> None:
    with pytest.raises(InputError, match=r"signals\.digit_share.*run the stage rules"):
        dropped(keep_if="signals.digit_share < 0.5")
    with pytest.raises(InputError, match="domain"):
        dropped(keep_if='domain == "news"')
    falling = SelectionConfig(keep_if="score < cut", cut=0.5)
    with pytest.raises(ConfigError, match="cut rises"):
        curve_rows(batch(), falling, 7, load_tokenizer("default"))


def test_draws_are_those_of_numpy_s_pareto_and_depend_on_the_id_alone() -> None:
    rows = [{**ROWS[1], "doc_id": f"{i:032x}", "quality_score": s} for i in range(4000) for s in (0.2, 0.9)]
    for r, i in zip(rows, range(8000), strict=True):
        r["doc_id"] = f"{i * 2654435761 % 2**32:032x}"
    gone = dropped(rows=rows, keep_if="pareto > 1 - score")
    for score in (0.2, 0.9):
        ids = [r["doc_id"] for r in rows if r["quality_score"] == score]
        kept = np.mean([i not in gone for i in ids])
        want = np.mean(np.random.default_rng(0).pareto(9, 200_000) > 1 - score)
        assert abs(kept - want) < 4 * math.sqrt(want * (1 - want) / len(ids)), score
    again = dropped(rows=rows[::-1], keep_if="pareto > 1 - score")
    assert again == gone
    assert dropped(rows=rows, seed=8, keep_if="pareto > 1 - score") != gone
    value, threshold = next(iter(gone.values()))
    assert value <= threshold
    for share in (0.1, 0.5):
        some = dropped(rows=rows, keep_if=f"chance < {share}")
        assert 1 - len(some) / len(rows) == pytest.approx(share, abs=0.03)


@given(st.lists(st.tuples(st.sampled_from(["zh", "en"]), st.integers(0, 10_000)), min_size=1, max_size=60), st.data())
def test_no_higher_cut_leaves_the_quantile_below(scores: list[tuple[str, int]], data: st.DataObject) -> None:
    share = data.draw(st.floats(0.01, 0.99))
    config = CutConfig(by=("lang",), quantile=share, min_documents=5)
    found = calibrate.cuts(config, [(lang, step, 1) for lang, step in scores])
    for lang in ("zh", "en"):
        own = [s for name, s in scores if name == lang]
        basis = own if len(own) >= 5 else [s for _, s in scores]
        cut = found.values.get(lang, found.other)
        assert sum(s / 10_000 < cut for s in basis) <= share * len(basis)
        higher = cut + 1e-4
        assert sum(s / 10_000 < higher - 1e-9 for s in basis) > int(share * len(basis))


@given(
    st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 10_000)), st.integers(0, 1000)), max_size=30),
    st.integers(0, 10_000),
)
def test_the_curve_knows_every_cut(documents: list[tuple[int | None, int]], step: int) -> None:
    rows = [
        {**ROWS[0], "doc_id": str(i), "quality_score": None if s is None else s / 10_000, "words": w}
        for i, (s, w) in enumerate(documents)
    ]
    config = SelectionConfig(keep_if="score >= cut and signals.words > 3 or signals.words > 800", cut=0, count_tokens=0)
    table = curve.summed(curve_rows(batch(rows), config, 7, load_tokenizer("default")))
    cut = step / 10_000
    kept = [s is None or (s >= step and w > 3) or w > 800 for s, w in documents]
    held = table.filter(np.asarray(table["last"].to_numpy() >= step))
    assert sum(held["documents"].to_pylist()) == sum(kept)
    gone = dropped(Cuts(other=cut), rows, cut=0, keep_if=config.keep_if)
    assert {str(i) for i, k in enumerate(kept) if not k} == set(gone)
