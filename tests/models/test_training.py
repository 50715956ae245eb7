"""Training: labels by rules, files and a misbehaving LLM; the split; the figures; fastText end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_llm import fake_llm
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pretrain_data.errors import ConfigError, InputError
from pretrain_data.models import loading
from pretrain_data.models.training import labels, llm, metrics, run
from pretrain_data.models.training.config import Llm, TrainConfig
from pretrain_data.models.training.labels import Example

GOOD = ["The council repaired the old bridge {} after the flood.", "图书馆第{}次延长了夜间开放时间，方便读者借阅。"]
BAD = ["buy now {} cheap bonus click here click here", "首页 登录 注册 {} 购物车 返回顶部 免费领取"]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([r[0] for r in rows])
    positive = np.array([r[1] for r in rows])
    pairs = [(a, b) for a in scores[positive] for b in scores[~positive]]
    area = metrics.auc(scores, positive)
    if not pairs:
        assert area is None
    else:
        assert area == pytest.approx(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]))


def test_f1_and_calibration_by_hand() -> None:
    assert metrics.f1(np.array([[3, 1], [2, 4]])).tolist() == pytest.approx([6 / 9, 8 / 11])
    found = metrics.calibration(np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, True, True, False]))
    assert found["expected_calibration_error"] == pytest.approx(0.05)


def _config(tmp_path: Path, **more: Any) -> TrainConfig:
    rows = [
        {"text": kind.format(i), "lang": lang, "source": f"{name}-{i % 3}"}
        for i in range(60)
        for name, kinds in (("edited", GOOD), ("spam", BAD))
        for lang, kind in zip(("en", "zh"), kinds, strict=True)
    ]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    settings: dict[str, Any] = {
        "files": [{"path": path}],
        "rules": [{"source": ["edited-*"], "label": "high"}, {"source": ["spam-*"], "label": "low"}],
        "held_out": ["edited-0", "spam-0"],
        "out": tmp_path / "model",
    }
    return TrainConfig.model_validate(settings | more)


def test_sources_do_not_leak_and_a_label_is_never_left_without_training(tmp_path: Path) -> None:
    config = _config(tmp_path)
    examples = labels.gather(config)
    assert len(examples) == 240
    split = labels.split(config, examples)
    assert {e.source for e in split.test} == {"edited-0", "spam-0"}
    assert not {e.source for e in split.train + split.validation} & {"edited-0", "spam-0"}
    assert len(split.train) + len(split.validation) == 160
    by_share = labels.split(config.model_copy(update={"held_out": []}), examples)
    assert len(by_share.test_sources) == 2  # one of the three sources of each label
    with pytest.raises(ConfigError, match="low"):
        labels.split(config.model_copy(update={"held_out": ["spam-*"]}), examples)
    with pytest.raises(ConfigError, match="nowhere"):
        labels.split(config.model_copy(update={"held_out": ["nowhere"]}), examples)


def test_fasttext_from_rules_to_card_and_back(tmp_path: Path) -> None:
    config = _config(tmp_path, engine="fasttext", epochs=10)
    found = run.train(config, "quality", lambda text, share: None)
    assert found["figures"]["unseen_sources"]["by_lang"]["zh"]["auc"] == 1.0
    assert found["figures"]["unseen_sources"]["documents"] == 80
    assert "edited-0" in (config.out / "README.md").read_text()
    first = (config.out / "fasttext.bin").read_bytes()
    run.train(config, "quality", lambda text, share: None)
    assert (config.out / "fasttext.bin").read_bytes() == first
    scorer = loading.load(str(config.out), "quality")
    assert scorer.labels == ("high", "low")
    score = scorer.score(scorer.read([BAD[0], GOOD[1]], 64), 1000)
    assert score.sum(1) == pytest.approx([1, 1], abs=1e-5)
    assert score[0, 1] > 0.5 > score[1, 1]


def test_a_quantised_fasttext_is_small_says_the_same_and_is_made_alike_twice(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"engine": "fasttext", "epochs": 10, "reading": "head-middle-tail"}
    whole = run.train(_config(tmp_path, **settings), "quality", lambda text, share: None)
    size = (tmp_path / "model" / "fasttext.bin").stat().st_size
    config = _config(tmp_path, features=1000, **settings)
    found = run.train(config, "quality", lambda text, share: None)
    first = (config.out / "fasttext.bin").read_bytes()
    assert len(first) * 50 < size
    run.train(config, "quality", lambda text, share: None)
    assert (config.out / "fasttext.bin").read_bytes() == first
    assert found["figures"]["unseen_sources"]["accuracy"] == whole["figures"]["unseen_sources"]["accuracy"] == 1.0


def test_what_gives_a_source_away_is_taken_out_before_the_text_is_known(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    rows = [{"text": "6 pens cost <<6*2=12>>12.\n#### 12", "source": "a"}, {"text": "六支笔《共》12元", "source": "b"}]
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    file: dict[str, Any] = {"path": path, "label": "source", "strip": "<<[^<>]*>>|《.*?》|#### *"}
    found = labels.gather(TrainConfig.model_validate({"files": [file], "out": tmp_path}))
    assert {e.text for e in found} == {"6 pens cost 12.\n12", "六支笔12元"}
    with pytest.raises(ValidationError, match="not a regular expression"):
        TrainConfig.model_validate({"files": [file | {"strip": "("}], "out": tmp_path})


# --- an endpoint that misbehaves ------------------------------------------------------------------


def rated(question: str) -> str:
    return "Score: 1" if "click" in question or "首页" in question else "Score: 5"


def troubled(question: str, nth: int) -> str:
    """Three failures of different kinds before each answer; one document is never to its taste."""
    return "400" if "forbidden" in question else ("503", "html", "not_a_completion", "good")[min(nth, 3)]


def _llm(tmp_path: Path, url: str, **more: Any) -> Llm:
    (tmp_path / "prompt.txt").write_text("Rate this from 1 to 5.\n{text}")
    settings: dict[str, Any] = {
        "endpoint": {"url": url, "model": "judge", "backoff_seconds": 0.0, "retries": 4, "max_tokens": 50},
        "limits": {"concurrency": 3},
        "prompt": tmp_path / "prompt.txt",
        "labels": {"1": "low", "5": "high"},
        "cost_per_million_in": 1.0,
        "cost_per_million_out": 10.0,
    }
    return Llm.model_validate(settings | more)


def _open(count: int) -> list[Example]:
    return [Example((BAD if i % 2 else GOOD)[0].format(i), None, "en", "web") for i in range(count)]


def nothing(text: str, share: float) -> None:
    pass


def test_labels_by_llm_cost_and_are_kept(tmp_path: Path) -> None:
    cache = tmp_path / "answers"
    examples = [*_open(12), Example("forbidden", None, "en", "web")]
    with fake_llm(rated, troubled) as server:
        config = _llm(tmp_path, server.url)
        found, spent = llm.label(config, examples, cache, nothing)
        assert {e.text: e.label for e in found} == {e.text: "low" if "click" in e.text else "high" for e in _open(12)}
        assert (spent["answered"], spent["failed"]) == (12, 1)
        questions = [f"Rate this from 1 to 5.\n{e.text}" for e in _open(12)]  # the server counts characters as tokens
        assert spent["cost"] == pytest.approx((sum(map(len, questions)) + 12 * len("Score: 5") * 10) / 1e6)
        # A crash in the middle of a line, then another run: only the torn answer and the refused one are asked for.
        (file,) = cache.iterdir()
        file.write_bytes(file.read_bytes()[:-20])
        again, spent = llm.label(config, examples, cache, nothing)
        assert again == found
        assert (spent["answered"], spent["cached"], spent["failed"]) == (1, 11, 1)
        assert sum(server.paid.values()) == 13
    with fake_llm(rated, lambda question, nth: "503") as down:
        known, spent = llm.label(config, _open(12), cache, nothing)
        assert (known, spent["answered"], spent["cached"]) == (found, 0, 12)
        other = _llm(tmp_path, down.url)
        with pytest.raises(InputError, match="no usable answer"):
            llm.label(other, _open(3), tmp_path / "none", nothing)
    with fake_llm(rated, lambda question, nth: "401") as refusing, pytest.raises(InputError, match="401"):
        llm.label(_llm(tmp_path, refusing.url), _open(3), tmp_path / "none", nothing)


def test_the_budget_is_kept(tmp_path: Path) -> None:
    with fake_llm(rated) as server:
        config = _llm(tmp_path, server.url, limits={"concurrency": 1, "max_tokens_total": 600})
        found, spent = llm.label(config, _open(40), tmp_path / "answers", nothing)
        assert spent["stopped"] == "budget"
        assert spent["tokens_in"] + spent["tokens_out"] <= 600
        assert 0 < len(found) < 40
