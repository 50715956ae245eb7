"""Training: labels by rules, files and a misbehaving LLM; the split; the figures; fastText end to end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


# --- an endpoint that misbehaves ------------------------------------------------------------------


class _Endpoint(ThreadingHTTPServer):
    asked = 0
    lock = threading.Lock()
    down = False


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, _Endpoint)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.asked += 1
            number = server.asked
        if server.down or number % 5 == 1:
            return self._reply(503, b"busy")
        if number % 5 == 2:
            return self._reply(200, b"<html>not json")
        if number % 5 == 3:
            return self._reply(200, b'{"choices": []}')
        text = body["messages"][0]["content"]
        if "forbidden" in text:
            return self._reply(400, b"blocked")
        said = "Score: 1" if "click" in text or "首页" in text else "Score: 5"
        answer = {
            "choices": [{"message": {"content": said}}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
        }
        return self._reply(200, json.dumps(answer).encode())

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[_Endpoint]:
    server = _Endpoint(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _llm(tmp_path: Path, endpoint: _Endpoint, **more: Any) -> Llm:
    (tmp_path / "prompt.txt").write_text("Rate this from 1 to 5.\n{text}")
    settings: dict[str, Any] = {
        "url": f"http://127.0.0.1:{endpoint.server_port}/v1",
        "model": "judge",
        "prompt": tmp_path / "prompt.txt",
        "labels": {"1": "low", "5": "high"},
        "cost_per_million_in": 1.0,
        "cost_per_million_out": 10.0,
        "backoff": 0.0,
        "retries": 30,
        "parallel": 3,
    }
    return Llm.model_validate(settings | more)


def _open(count: int) -> list[Example]:
    return [Example((BAD if i % 2 else GOOD)[0].format(i), None, "en", "web") for i in range(count)]


def test_labels_by_llm_cost_and_are_kept(tmp_path: Path, endpoint: _Endpoint) -> None:
    cache = tmp_path / "answers.jsonl"
    config = _llm(tmp_path, endpoint)
    examples = [*_open(12), Example("forbidden", None, "en", "web")]
    found, spent = llm.label(config, examples, cache, lambda text, share: None)
    assert {e.text: e.label for e in found} == {e.text: "low" if "click" in e.text else "high" for e in _open(12)}
    assert (spent["answered"], spent["failed"]) == (12, 1)
    assert spent["cost"] == pytest.approx(12 * (1000 * 1.0 + 100 * 10.0) / 1e6)
    # A crash in the middle of a line, then another run: only the torn answer and the refused one are asked for.
    cache.write_bytes(cache.read_bytes()[:-20])
    again, spent = llm.label(config, examples, cache, lambda text, share: None)
    assert again == found
    assert (spent["answered"], spent["cached"], spent["failed"]) == (1, 11, 1)
    endpoint.down = True
    known, spent = llm.label(config, _open(12), cache, lambda text, share: None)
    assert (known, spent["answered"], spent["cached"]) == (found, 0, 12)
    with pytest.raises(InputError, match="no usable answer"):
        llm.label(_llm(tmp_path, endpoint, model="other", retries=0), _open(3), cache, lambda text, share: None)


def test_the_budget_is_kept(tmp_path: Path, endpoint: _Endpoint) -> None:
    config = _llm(tmp_path, endpoint, budget=0.02, chars=100, max_tokens=200, parallel=1)
    _, spent = llm.label(config, _open(40), tmp_path / "answers.jsonl", lambda text, share: None)
    assert spent["stopped"] == "budget"
    assert 0.014 < spent["cost"] <= 0.02
