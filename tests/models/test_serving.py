"""What models are opened and how: hub pins, labels, regression heads, cascades, one scorer a language."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from transformers import BertConfig, BertForSequenceClassification

from pretrain_data.errors import ConfigError
from pretrain_data.kernels import scoring
from pretrain_data.models import loading, taxonomy
from pretrain_data.models.cascade import Cascade
from pretrain_data.models.config import ModelKeys, ScorerKeys, model_files, open_scorer
from pretrain_data.stage import Shard
from pretrain_data.stages.quality import QualityConfig, QualityStage

TEXTS = [
    "The bridge was closed after the flood.",
    "首页 登录 注册",
    "圖書館延長了夜間開放時間",
    "",
    "ｆｕｌｌ　ｗｉｄｔｈ",
]


GOOD = "The council repaired the old bridge after the flood, and its engineers explained how the arch bears its load."
BAD = "Home | Login | Register | Cart | buy now cheap free bonus click here | Contact | Sitemap | Privacy"


def test_a_hub_id_is_pinned_to_a_commit() -> None:
    with pytest.raises(ValidationError, match="pin it to a commit"):
        ModelKeys(model="someone/scorer")
    with pytest.raises(ValidationError, match="which is main: pin it"):
        QualityConfig.model_validate({"per_lang": {"zh": {"model": "someone/scorer", "revision": "main"}}})
    with pytest.raises(ValidationError, match="bert-base-chinese is no folder here"):
        ModelKeys(model="bert-base-chinese")
    assert ModelKeys(model="someone/scorer", revision="0" * 40).revision == "0" * 40
    assert ModelKeys(model="/no/such/folder").revision is None, "a folder that is missing is told when it is read"


def regression(folder: Path) -> Path:
    """A checkpoint with one output, of random weights and the carried tokenizer."""
    tokenizer = loading.load("default", "quality").tokenizer  # type: ignore[attr-defined]
    torch.manual_seed(1)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(tokenizer), num_labels=1, initializer_range=1.0, **shape)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_regression_head_is_brought_to_0_and_1(tmp_path: Path) -> None:
    folder = str(regression(tmp_path / "model"))
    plain = loading.load(folder, "quality")
    assert isinstance(plain, loading.Classifier)
    read = plain.read(TEXTS, 64)
    rows = [torch.tensor(read.row(i))[None] for i in range(len(TEXTS))]
    with torch.inference_mode():
        logits = np.array([float(plain.model(input_ids=row).logits) for row in rows])
    assert plain.score(read, 4096)[:, 0] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-4)
    low, high = float(logits.min()) + 0.1, float(logits.max()) - 0.1
    keys = ScorerKeys(model=folder, logit_range=(low, high))
    spanned = open_scorer(keys, "quality", "cpu")
    want = np.clip((logits - low) / (high - low), 0, 1)
    assert spanned.score(read, 4096)[:, 0] == pytest.approx(want, abs=1e-4)
    assert keys.score_of(spanned.labels) == 0
    with pytest.raises(ConfigError, match="no label good; it has high, low"):
        ScorerKeys(label="good").score_of(("high", "low"))
    with pytest.raises(ValidationError, match="below the second"):
        ScorerKeys(logit_range=(5, 0))


class Known:
    """A scorer whose answers are in the texts, `label:probability`; it counts what it is asked."""

    def __init__(self, *labels: str) -> None:
        self.labels, self.asked = labels, 0

    def read(self, texts: Any, max_tokens: int, reading: str = "head") -> list[str]:
        self.asked += len(texts)
        return list(texts)

    def score(self, read: list[str], tokens_per_batch: int | None = None) -> Any:
        out = np.zeros((len(read), 2), np.float32)
        for row, text in zip(out, read, strict=True):
            label, share = text.split(":")
            row[:] = 1 - float(share)
            row[self.labels.index(label)] = float(share)
        return out


def test_a_cascade_asks_the_second_about_the_unclear_alone() -> None:
    first, second = Known("low", "high"), Known("high", "low")
    cascade = Cascade.of(first, second, 0.9)  # type: ignore[arg-type]
    assert cascade.labels == ("high", "low")
    texts = ["high:0.95", "low:0.9", "high:0.6", "low:0.89"]
    found = cascade.score(cascade.read(texts, 8), 100)
    assert found == pytest.approx(np.array([[0.95, 0.05], [0.1, 0.9], [0.6, 0.4], [0.11, 0.89]]), abs=1e-6)
    assert (first.asked, second.asked) == (4, 2)
    assert cascade.score(cascade.read([], 8), 100).shape == (0, 2)
    assert cascade.score(cascade.read(texts[:2], 8), 100).shape == (2, 2)
    with pytest.raises(ConfigError, match="train both on the same"):
        Cascade.of(Known("good", "bad"), second, 0.9)  # type: ignore[arg-type]


def test_the_carried_cascade_is_the_default_of_the_carried_model_alone(tmp_path: Path) -> None:
    scorer = open_scorer(ScorerKeys(), "quality", "cpu")
    assert isinstance(scorer, Cascade)
    assert sorted(model_files(ScorerKeys(), "quality")) == [loading.CARRIED / "quality", loading.first_of("quality")]
    alone = open_scorer(ScorerKeys(cascade=False), "quality", "cpu")
    assert isinstance(alone, loading.Classifier)
    own = ScorerKeys(model=str(tmp_path))
    assert own.cascade_of("quality") is None
    assert model_files(own, "quality") == [tmp_path]
    sure = ScorerKeys.model_validate({"cascade": {"sure": 0.9}}).cascade_of("quality")
    assert sure is not None
    assert (sure.folder("quality"), sure.sure) == (loading.first_of("quality"), 0.9)
    read = scorer.read([*TEXTS, GOOD, BAD], 192)
    found = scorer.score(read)
    both = scorer.second.score(scorer.second.read([*TEXTS, GOOD, BAD], 192))
    clear = sorted(set(range(len(found))) - set(read.unclear.tolist()))
    assert found[read.unclear] == pytest.approx(both[read.unclear], abs=1e-4)
    assert (found[clear].max(1) >= 0.98).all()
    for i, text in enumerate([*TEXTS, GOOD, BAD]):  # a score does not depend on its neighbours
        assert scorer.score(scorer.read([text], 192))[0] == pytest.approx(found[i], abs=1e-4)
    high = scorer.labels.index("high")
    assert found[-2, high] > 0.5 > found[-1, high]


def test_the_carried_domain_model_knows_domains_of_the_taxonomy() -> None:
    scorer = open_scorer(ModelKeys(), "domain", "cpu")
    known = taxonomy.load(taxonomy.FILE)
    names = [known.domain(label, "default") for label in scorer.labels]
    texts = {
        "law": 'THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND. Permission is hereby granted to use, '
        "copy and distribute this software, provided that the above copyright notice appears in all copies.",
        "mathematics": "Tom has 3 boxes with 12 pens each. He gives away 9 pens. How many pens does he have left? He "
        "had 3 * 12 = 36 pens, so 36 - 9 = 27 are left.",
        "news": "新华社北京电 国家统计局十日公布的数据显示，今年前三季度全国居民人均可支配收入同比增长"
        "百分之五。记者从发布会上了解到，城镇居民收入增长较快。",
        "books": "KING:\nWhat say you, my lord? Shall we hence?\n\nDUKE:\nAy, my good liege; thy sword hath done its "
        "office,\nAnd weary is mine arm.",
        "manual": "要安装软件包，请以 root 身份运行 apt install 命令。选项 -y 表示对所有提问回答“是”。"
        "配置文件位于 /etc/apt 目录。",
    }
    found = scorer.score(scorer.read(list(texts.values()), 384, "head-middle-tail"))
    assert [names[i] for i in found.argmax(1)] == list(texts)


def test_each_language_has_its_scorer_and_rows_keep_their_place(tmp_path: Path) -> None:
    folder = str(regression(tmp_path / "model"))
    langs = ["en", "zh", "zh", "en", "fr"]
    batch = pa.RecordBatch.from_pydict({"doc_id": list("abcde"), "text": TEXTS, "lang": langs, "format": ["prose"] * 5})

    def scores(**keys: Any) -> np.ndarray:
        stage = QualityStage(QualityConfig(count_tokens=0, **keys))
        (done,) = stage.process(iter([batch]), Shard("s", ()))
        found: np.ndarray = done.batch.column("quality_score").to_numpy(zero_copy_only=False)
        return found

    whole, other = scores(), scores(model=folder)
    mixed = scores(per_lang={"zh": {"model": folder}})
    assert mixed.tolist() == [other[i] if lang == "zh" else whole[i] for i, lang in enumerate(langs)]
    assert (other != whole).any()


def test_batches_read_ahead_come_out_in_order() -> None:
    stage = QualityStage(QualityConfig(count_tokens=0))
    batches = [
        pa.RecordBatch.from_pydict({"doc_id": [f"{k}{i}" for i in range(3)], "text": TEXTS[k : k + 3]})
        for k in range(3)
    ]
    out = [done.batch for done in stage.process(iter(batches), Shard("s", ()))]
    assert [b.column("doc_id").to_pylist() for b in out] == [b.column("doc_id").to_pylist() for b in batches]
    one_by_one = [next(iter(stage.process(iter([b]), Shard("s", ())))).batch for b in batches]
    assert [b.column("quality_score") for b in out] == [b.column("quality_score") for b in one_by_one]
    assert scoring.device_of_task() == ("cuda:0" if torch.cuda.is_available() else "cpu")
