"""quality and classify: prose alone is scored, whatever batch it is in, and the taxonomy gives channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from pydantic import ValidationError

from pretrain_data.errors import ConfigError, InputError
from pretrain_data.kernels.scoring import probabilities
from pretrain_data.models import loading, taxonomy
from pretrain_data.models.taxonomy import Taxonomy
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
    stage = QualityStage(QualityConfig(cut={"by": ["lang"], "at": 0.0, "values": {"zh": 0.5}}))
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


#: Texts of other formats, as they are in any crawl: a scorer of prose has never seen their like.
FORMATTED = {
    "code": [
        "<ul><li>{{ item.name }}</li><li>{{ item.price }}</li></ul>\n",
        "#define A 1\n#define B 2\n#define C 3\n#define D 4\n",
        "export default { data() { return { 菜单: [], 购物车: {} } } }\n",
    ],
    "markdown": [
        "# 安装\n\n- [首页](/)\n\n```\nmake\n```\n",
        "| 名称 | 价格 |\n|---|---|\n| 登录 | 1 |\n| 注册 | 2 |\n",
    ],
    "latex": ["\\begin{align}\n a &= b \\\\\n\\end{align}\n", "0.1 & 0.2 & 0.3 \\\\\n0.4 & 0.5 & 0.6 \\\\\n"],
}


def dropped(config: QualityConfig, texts: list[str], formats: list[str]) -> list[bool]:
    (done,) = QualityStage(config).process(iter([batch(list(texts), formats, ["und"] * len(texts))]), Shard("s", ()))
    assert done.rule is not None
    return [rule is not None for rule in done.rule.to_pylist()]


def test_formats_are_protected_from_a_scorer_of_prose() -> None:
    pairs = [(text, name) for name, texts in FORMATTED.items() for text in texts]
    texts, formats = [p[0] for p in pairs], [p[1] for p in pairs]
    everything = QualityConfig(cut=0.5, formats=("prose", *FORMATTED), cascade=False, count_tokens=0)
    naive = dropped(everything, texts, formats)
    assert {f for f, lost in zip(formats, naive, strict=True) if lost} == set(FORMATTED), (
        "what a run that scores everything would have lost"
    )
    assert not any(dropped(QualityConfig(cut=1.0, count_tokens=0), texts, formats))


def test_no_formatted_document_of_the_real_ones_is_lost(shared_data: Path) -> None:
    table = pq.read_table(shared_data / "text/quality/formatted.parquet")
    texts = [t[:4000] for t in table["text"].to_pylist()]
    formats = [{"math": "latex"}.get(d, d) for d in table["domain"].to_pylist()]
    naive = dropped(
        QualityConfig(cut=0.7, formats=("prose", *FORMATTED), max_tokens=192, cascade=False, count_tokens=0),
        texts,
        formats,
    )
    assert sum(naive) > 20, "3 % of them, most of it code"
    assert not any(dropped(QualityConfig(cut=1.0, count_tokens=0), texts, formats))


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
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read once, from the environment
    with pytest.raises(InputError, match="nobody/no-such-model"):
        loading.load("nobody/no-such-model", "quality")


def test_taxonomies_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"

    def load(**changes: object) -> Taxonomy:
        whole = taxonomy.load(taxonomy.FILE).model_dump(exclude_none=True) | changes
        path.write_text(yaml.safe_dump(whole, allow_unicode=True))
        return taxonomy.load(path)

    assert load() == taxonomy.load(taxonomy.FILE)
    assert load().domain("legal", "m") == "law"
    with pytest.raises(ConfigError, match="label poem, which is no domain; did you mean poetry"):
        load().domain("poem", "m")
    with pytest.raises(ConfigError, match=r"formats\.code: no domain cod; did you mean code"):
        load(formats={"code": "cod"})
    with pytest.raises(ConfigError, match="parent math needs a line without lang"):
        load(channels=[{"parent": p, "channel": p} for p in ("code", "cot", "knowledge")])
    with pytest.raises(ConfigError, match=r"t\.yaml"):
        load(chanels=[])


def test_several_domains_where_sure_of_none_and_none_where_it_abstains(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = np.array([[0.9, 0.1, 0.0], [0.45, 0.14, 0.41], [0.4, 0.3, 0.3], [0.3, 0.31, 0.29]], np.float32)

    class Model:
        labels = ("news", "legal", "literature")

        def read(self, texts: list[str], *_: object) -> list[str]:
            return texts

        def score(self, read: list[str], budget: int | None = None) -> np.ndarray:
            return shares[: len(read)]

    monkeypatch.setattr(loading, "load", lambda *_: Model())
    stage = ClassifyStage(ClassifyConfig(sure=0.6, min_score=0.4))
    (done,) = stage.process(
        iter([batch(["a", "b", "x", "c", "d"], ["prose"] * 2 + ["code"] + ["prose"] * 2, ["zh"] * 5)]), Shard("s", ())
    )
    assert done.batch.column("domain").to_pylist() == ["news", "news", "code", "news", "other"]
    assert done.batch.column("domains").to_pylist() == [["news"], ["news", "books"], ["code"], ["news"], []]
    assert done.metrics == {"asked": 4, "unsure": 2, "other": 1}
    with pytest.raises(ValidationError, match="must not be above sure"):
        ClassifyConfig(sure=0.3, min_score=0.4)


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
    unsure = ClassifyStage(ClassifyConfig(min_score=1.0, sure=1.0))
    (done,) = unsure.process(iter([batch([ENGLISH], ["prose"], ["en"])]), Shard("s", ()))
    assert done.batch.column("domain").to_pylist() == ["other"]
    assert done.batch.column("channel").to_pylist() == ["en-knowledge"]
