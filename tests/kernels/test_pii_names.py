"""Names: the tagger's figures on real data, its form on small texts, and an engine of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pretrain_data.errors import InputError
from pretrain_data.kernels.pii import tagger
from pretrain_data.kernels.pii.names import default_engine


def names(*texts: str, caution: float = 0.0) -> list[list[str]]:
    found = default_engine(pa.array(texts, pa.large_string()), caution).lists(len(texts))
    return [[text[s.start : s.end] for s in spans] for text, spans in zip(texts, found, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("联系人：王小明，欢迎来电。", ["王小明"]),
        ("聯絡人：陳國棟先生", ["陳國棟"]),
        ("本报记者李志强报道", ["李志强"]),
        ("Please write to Mary Johnson before Friday.", ["Mary Johnson"]),
        ("请转告 John Smith 和刘建国先生", ["John Smith", "刘建国"]),
        ("印刷术的传播改变了知识的面貌。", []),
        ("The bridge will be closed for repairs until spring.", []),
        ("", []),
        ("\n\n", []),
    ],
)
def test_small_texts(text: str, expected: list[str]) -> None:
    assert names(text) == [expected]


def test_batches_nulls_slices_and_caution() -> None:
    texts = pa.array(["x", None, "联系人：王小明，欢迎来电。"], pa.large_string()).slice(1)
    spans = default_engine(texts)
    assert spans.lists(2) == [[], [(4, 7, "PERSON")]]
    assert names("联系人：王小明，欢迎来电。", caution=1000.0) == [[]]


@pytest.mark.parametrize("before", range(tagger.TAGS))
def test_moves_between_tags(before: int) -> None:
    """Inside a name only its middle or end can follow, outside neither."""
    inside = before in (tagger.B, tagger.M)
    assert [tagger.allowed(before, after) for after in range(tagger.TAGS)] == [
        not inside, not inside, inside, inside, not inside,
    ]  # fmt: skip


@pytest.mark.parametrize(("file", "recall", "precision"), [("ner_zh", 0.88, 0.9), ("synth_en", 0.88, 0.88)])
def test_the_labelled_truth(shared_data: Path, file: str, recall: float, precision: float) -> None:
    """Half of each file was trained on; docs/decisions.md has the figures of the other half."""
    lines = (shared_data / f"text/pii/{file}.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    found = default_engine(pa.array([row["text"] for row in rows], pa.large_string())).lists(len(rows))
    hit = total = right = guessed = 0
    for row, mine in zip(rows, found, strict=True):
        cover = {c for s in mine for c in range(s.start, s.end)}
        true = {c for a, b, _ in row["spans"] for c in range(a, b)}
        for a, b, kind in row["spans"]:
            if kind == "PERSON":
                total += 1
                hit += sum(c in cover for c in range(a, b)) >= 0.9 * (b - a)
        guessed += len(mine)
        right += sum(2 * sum(c in true for c in range(s.start, s.end)) >= s.end - s.start for s in mine)
    assert hit / total >= recall
    assert right / guessed >= precision


def test_a_token_classifier_of_the_users_own(tmp_path: Path) -> None:
    """A random network, so only the form can be judged: spans inside the text, in order, of the asked score."""
    from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast

    from pretrain_data.models.names import _load, hugging_face

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "call", "mary", "now", "王", "明"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), "utf-8")
    BertTokenizerFast(str(tmp_path / "vocab.txt"), model_max_length=64).save_pretrained(tmp_path)
    labels = {0: "B-PER", 1: "I-PER"}
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        id2label=labels, label2id={v: k for k, v in labels.items()},
    )  # fmt: skip
    BertForTokenClassification(config).save_pretrained(tmp_path)
    texts = pa.array(["call mary now", None, "王明 " * 60], pa.large_string())
    found = hugging_face(texts, str(tmp_path), 0.0).lists(3)
    assert found[0]
    assert found[1] == []
    assert all(0 <= s.start < s.end <= 180 for s in found[2])
    assert hugging_face(texts, str(tmp_path), 1.0).lists(3) == [[], [], []]
    with pytest.raises(InputError, match="no such folder"):
        hugging_face(texts, str(tmp_path / "nothing"), 0.5)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    _load.cache_clear()
    with pytest.raises(InputError, match="pickle files"):
        hugging_face(texts, str(tmp_path), 0.5)
