"""Tokens of the default tokenizer: two engines give the same ids, and text comes back whole."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.kernels.tokens import count_column, encode_column
from pretrain_data.tokenizers import load_saved, load_tokenizer
from pretrain_data.tokenizers.engines import RankTable

TEXTS = st.lists(
    st.text(alphabet=st.sampled_from("ab Z1，。中文字語全Ａ\n\t  '!<|endoftext|>é한あ😀"), max_size=80),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("tokenizer") / "encoder.json"
    load_tokenizer("default").save(path)
    return load_saved(str(path))


@settings(max_examples=60)
@given(TEXTS)
def test_both_engines_agree_and_text_comes_back(tokenizer, texts: list[str]) -> None:  # type: ignore[no-untyped-def]
    import unicodedata

    assert isinstance(tokenizer.engine, RankTable)
    fast = tokenizer.encode(texts)
    slow = [encoding.ids for encoding in tokenizer.engine.library.encode_batch(texts, add_special_tokens=False)]
    for text, ids, reference in zip(texts, fast, slow, strict=True):
        assert ids.tolist() == reference
        assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)
        assert tokenizer.end_of_document not in ids.tolist(), "a document can't write the end token"


def test_columns(tokenizer) -> None:  # type: ignore[no-untyped-def]
    texts = pa.array(["Hello, world", None, "", "你好，世界"], pa.large_string())
    flat, offsets = encode_column(texts, tokenizer)
    assert offsets.tolist() == [0, *np.cumsum(count_column(texts, tokenizer)).tolist()]
    assert tokenizer.decode(flat[offsets[3] : offsets[4]]) == "你好，世界"
    assert count_column(texts, tokenizer).tolist()[1:3] == [0, 0]
