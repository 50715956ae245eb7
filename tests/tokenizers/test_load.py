"""Tokenizers are found in all forms that Hugging Face's folders have, and what is missing is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pretrain_data.errors import InputError
from pretrain_data.tokenizers import load_saved, load_tokenizer, tokenizer_files

TEXTS = [
    "数据的质量决定模型的质量。",
    "The quality of data",
    "繁體中文與全角ＡＢＣ",
    "mix混排 text<|eot|>",
    "",
    "  \n\t",
]


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    """A small byte-level BPE, as GPT-2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS * 20, trainers.BpeTrainer(vocab_size=400, special_tokens=["<|eot|>"], initial_alphabet=alphabet)
    )
    return tokenizer


def expected(trained: Tokenizer) -> list[list[int]]:
    trained.encode_special_tokens = True
    return [trained.encode(text, add_special_tokens=False).ids for text in TEXTS]


@pytest.mark.parametrize("form", ["file", "folder", "map", "slow"])
def test_every_form_gives_the_same_ids(tmp_path: Path, trained: Tokenizer, form: str) -> None:
    end: str | None = None
    eos = {"eos_token": "<|eot|>", "tokenizer_class": "GPT2Tokenizer"}
    name = tmp_path
    if form == "slow":
        trained.model.save(str(tmp_path))  # vocab.json and merges.txt
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(eos))
    else:
        trained.save(str(tmp_path / "tokenizer.json"))
        if form == "folder":
            (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<|eot|>"}}))
        if form == "map":
            (tmp_path / "tokenizer_config.json").write_text("{}")
            (tmp_path / "special_tokens_map.json").write_text('{"eos_token": "<|eot|>"}')
        if form == "file":
            name, end = tmp_path / "tokenizer.json", "<|eot|>"
    tokenizer = load_tokenizer(str(name), end)
    assert [ids.tolist() for ids in tokenizer.encode(TEXTS)] == expected(trained)
    assert tokenizer.end_of_document == trained.token_to_id("<|eot|>")
    assert tokenizer_files(str(name))
    tokenizer.save(tmp_path / "saved.json")
    assert [ids.tolist() for ids in load_saved(str(tmp_path / "saved.json")).encode(TEXTS)] == expected(trained)


def test_what_is_missing_is_said(tmp_path: Path, trained: Tokenizer) -> None:
    trained.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="set `end_of_document`"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(InputError, match="no token '<eod>'"):
        load_tokenizer(str(tmp_path), "<eod>")
    with pytest.raises(InputError, match="no tokenizer at /nowhere"):
        load_tokenizer("/nowhere")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="not a tokenizer"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="can't be loaded"):
        load_tokenizer(str(tmp_path / "empty"))
    with pytest.raises(InputError, match="no token 'x'"):
        load_tokenizer("default", "x")
