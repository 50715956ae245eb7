"""What is read of a text, and that one tokenisation ahead of the device keeps the order."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.kernels import scoring
from pretrain_data.models import loading


def test_head_and_head_middle_tail() -> None:
    tokenizer = loading.load("default", "quality").tokenizer  # type: ignore[attr-defined]
    words = ["alpha"] * 400 + ["beta"] * 400 + ["gamma"] * 400
    text = " ".join(words)
    prefix, suffix = scoring.specials(tokenizer)
    assert (len(prefix), len(suffix)) == (1, 1)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    read = scoring.read(tokenizer, [text, "short", ""], 34)
    assert read.row(0).tolist() == prefix + ids[:32] + suffix
    assert read.row(1).tolist() == tokenizer("short")["input_ids"]
    assert read.row(2).tolist() == prefix + suffix
    parts = scoring.read(tokenizer, [text, "short"], 34, "head-middle-tail")
    row = parts.row(0).tolist()
    assert len(row) == 34
    assert row[1:17] == ids[:16]
    assert row[25:33] == ids[-8:]
    assert parts.row(1).tolist() == read.row(1).tolist()


PIECES = [
    "bridge ",
    "图书馆",
    "圖書館。",
    "ｆｕｌｌ　",
    "    ",
    "\n\n",
    "x" * 130,
    "don't-stop/",
    "ß",
    "0123456789 ",
    "😀",
]


@given(st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 120)), max_size=8), st.integers(3, 60))
def test_a_first_look_gives_the_tokens_of_the_whole(parts: list[tuple[str, int]], room: int) -> None:
    tokenizer = loading.load("default", "quality").tokenizer  # type: ignore[attr-defined]
    text = "".join(piece * count for piece, count in parts)
    reach = room * scoring.CHARS_PER_TOKEN
    whole = scoring._ids(tokenizer, [text[:reach]], room)
    assert scoring._heads(tokenizer, [text, "short"], room)[:1] == whole


def test_out_of_memory_halves_the_batch_and_goes_on(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    scorer = loading.load("default", "quality")
    texts = ["The bridge was closed.", "首页 登录", "x " * 50] * 5
    read = scorer.read(texts, 64)
    whole = scorer.score(read, 100_000)
    real = scoring._batch
    sizes = []

    def small(model, rows, *more):  # type: ignore[no-untyped-def]
        sizes.append(len(rows) * len(rows[0]))
        if sizes[-1] > 150:  # tokens, padding included
            raise torch.OutOfMemoryError
        return real(model, rows, *more)

    monkeypatch.setattr(scoring, "_batch", small)
    assert np.allclose(scorer.score(read, 100_000), whole, atol=1e-4)
    assert sizes[0] > 150, "the first try was too large"
    assert sum(size > 150 for size in sizes) <= 4, "and what was learnt from it is kept"


def test_bf16_scores_do_not_depend_on_the_batch() -> None:
    scorer = loading.load("default", "quality", None, "cpu", "bf16")
    texts = ["The bridge was closed after the flood.", "首页 登录 注册", "图书馆延长了夜间开放时间。" * 9, ""] * 3
    together = scorer.score(scorer.read(texts, 128), 4096)
    alone = np.concatenate([scorer.score(scorer.read([t], 128), 64) for t in texts])
    assert np.allclose(together, alone, atol=1e-2)


def test_ahead_keeps_the_order() -> None:
    assert list(scoring.ahead(range(5), lambda i: i * i)) == [(i, i * i) for i in range(5)]
    assert list(scoring.ahead([], lambda i: i)) == []
