"""quality and classify: prose alone is scored, whatever batch it is in, and the taxonomy gives channels."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch

from pretrain_data.errors import InputError
from pretrain_data.kernels.scoring import probabilities
from pretrain_data.models import loading
from pretrain_data.stage import Shard
from pretrain_data.stages.classify import ClassifyConfig, ClassifyStage
from pretrain_data.stages.quality import QualityConfig, QualityStage

NEWS = "市图书馆昨日宣布，将从下月起延长夜间开放时间，方便上班族借阅。记者了解到，此举受到读者的普遍欢迎。"
ENGLISH = "The committee met on Tuesday to discuss the repair of the old bridge, which has been closed since the flood."
MENU = "首页 登录 注册 购物车 联系我们 返回顶部 上一篇 下一篇 分享 收藏 点赞 首页 登录 注册 购物车"
CODE = "def f(x):\n    return x + 1\n"


def batch(texts: list[str | None], formats: list[str], langs: list[str]) -> pa.RecordBatch:
    columns = {
        "doc_id": [str(i) for i in range(len(texts))],
        "text": pa.array(texts, pa.large_string()),
        "lang": langs,
        "format": formats,
    }
    return pa.RecordBatch.from_pydict(columns)


def test_formats_pass_by_and_low_prose_is_dropped() -> None:
    stage = QualityStage(QualityConfig(min_score={"zh": 0.5, "other": 0.0}))
    texts = [NEWS, MENU, CODE, ENGLISH, None]
    (done,) = stage.process(
        iter([batch(texts, ["prose", "prose", "code", "prose", "latex"], ["zh", "zh", "en", "en", "und"])]),
        Shard("s", ()),
    )
    scores = done.batch.column("quality_score").to_pylist()
    assert scores[2] is None
    assert scores[4] is None
    assert scores[0] > 0.5 > scores[1]
    assert done.rule is not None
    assert done.rule.to_pylist() == [None, "low_quality", None, None, None]
    assert done.metrics["passed_by"] == 2


def test_a_score_does_not_depend_on_its_batch() -> None:
    classifier = loading.load("default", "quality")
    texts = [NEWS, ENGLISH, MENU, CODE, NEWS * 20, "短", ""] * 3

    def score(given: list[str], budget: int) -> torch.Tensor:
        return torch.tensor(probabilities(classifier.model, classifier.tokenizer, given, 256, budget))

    together = score(texts, 16_384)
    alone = torch.cat([score([text], 64) for text in texts])
    assert torch.allclose(together, alone, atol=1e-4)
    assert torch.allclose(score(texts[::-1], 300).flip(0), together, atol=1e-4)
    assert probabilities(classifier.model, classifier.tokenizer, [], 256, 100).shape == (0, 2)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="pickle"):
        loading.load(str(tmp_path), "quality")


def test_an_absent_model_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="nobody/no-such-model"):
        loading.load("nobody/no-such-model", "quality")


def test_domains_and_channels() -> None:
    stage = ClassifyStage(ClassifyConfig(min_score=0.3))
    formats = ["prose", "prose", "code", "latex", "markdown", "prose"]
    langs = ["zh", "en", "en", "zh", "zh", "fr"]
    texts: list[str | None] = [NEWS, ENGLISH, CODE, "\\int", "# x", "Le comité s'est réuni mardi."]
    (done,) = stage.process(iter([batch(texts, formats, langs)]), Shard("s", ()))
    assert done.rule is None
    assert done.batch.column("domain").to_pylist()[2:5] == ["code", "mathematics", "markdown"]
    channels = done.batch.column("channel").to_pylist()
    assert channels[:5] == ["zh-knowledge", "en-knowledge", "code", "math", "code"]
    assert channels[5] == "other-knowledge"
    unsure = ClassifyStage(ClassifyConfig(min_score=1.0))
    (done,) = unsure.process(iter([batch([ENGLISH], ["prose"], ["en"])]), Shard("s", ()))
    assert done.batch.column("domain").to_pylist() == ["other"]
    assert done.batch.column("channel").to_pylist() == ["en-knowledge"]
