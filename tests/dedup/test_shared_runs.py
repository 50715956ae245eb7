"""Substrings that documents share go, against all n-grams of all documents in plain Python; no Spark."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.dedup import passages
from pretrain_data.dedup.passages import PassagesConfig, Repeated
from pretrain_data.kernels import passages as lines

N, W = 5, 4
SURE = N + W - 1


def config(**more: Any) -> PassagesConfig:
    given = {"kinds": ["substring"], "min_documents": 2, "substring_tokens": N, "substring_window": W, "drop_share": 1}
    return PassagesConfig.model_validate(given | more)


def batch_of(documents: dict[str, str]) -> pa.RecordBatch:
    return pa.record_batch({"doc_id": list(documents), "text": pa.array(list(documents.values()), pa.string())})


def repeated(batches: list[pa.RecordBatch], settings: PassagesConfig, simplified: bool = False) -> Repeated:
    """What `count` lays out: counted batch by batch, then added up."""
    tables = []
    for batch in batches:
        own = lines.keys(batch.column("doc_id"))
        grams, found = passages._grams(batch, settings, simplified), passages._find(batch, settings, simplified)
        parts = [np.stack([x.hash, own[x.row], np.full(len(x.row), i)]) for i, x in enumerate((found, grams))]
        tables.append(passages._grouped(np.concatenate(parts, axis=1)))
    table = pa.concat_tables(tables).group_by("hash").aggregate([("documents", "sum"), ("first", "min")])
    table = table.filter(pc.field("documents_sum") >= settings.min_documents).sort_by("hash")
    return Repeated(*(table[name].to_numpy() for name in ("hash", "documents_sum", "first_min")))


def edited(
    documents: dict[str, str], simplified: bool = False, parts: int = 1, **more: Any
) -> dict[str, dict[str, Any]]:
    """text, repeated_spans and share by id, the documents cut into `parts` batches."""
    settings, whole = config(**more), batch_of(documents)
    size = -(-whole.num_rows // parts)
    batches = [whole.slice(at, size) for at in range(0, whole.num_rows, size)]
    known = repeated(batches, settings, simplified)
    out = {}
    for batch in batches:
        result = passages.take_out(batch, np.ones(batch.num_rows, np.bool_), known, settings, simplified)
        rows = result.batch.to_pylist()
        out |= {row["doc_id"]: row | {"gone": bool(g)} for row, g in zip(rows, result.gone, strict=True)}
    return out


def keys(documents: dict[str, str]) -> dict[str, int]:
    return dict(zip(documents, lines.keys(pa.array(list(documents))).tolist(), strict=True))


def taken(words: list[str], text: str, spans: list[dict[str, Any]]) -> list[bool]:
    """Which of the words (in order, apart by one character or none) lie in a span."""
    out, at = [], 0
    for word in words:
        at = text.index(word, at)
        out.append(any(s["start"] <= at and at + len(word) <= s["end"] for s in spans))
        assert out[-1] or not any(s["start"] < at + len(word) and at < s["end"] for s in spans), "no word in part"
        at += len(word)
    return out


#: A document is made of pieces of a few long stretches and of words of its own, so that runs of all lengths overlap.
STRETCHES = [[f"{letter}{i}" for i in range(24)] for letter in "xyz"] + [["a", "b"] * 12]
PIECE = st.tuples(st.integers(0, len(STRETCHES) - 1), st.integers(0, 20), st.integers(1, 20))
DOCUMENTS = st.lists(st.lists(PIECE, min_size=1, max_size=4), min_size=2, max_size=6)


def made(pieces: list[list[tuple[int, int, int]]]) -> dict[str, list[str]]:
    out = {}
    for number, document in enumerate(pieces):
        words = []
        for i, (stretch, start, length) in enumerate(document):
            words += [*STRETCHES[stretch][start : start + length], *[f"own{number}q{i}"] * (i % 2)]
        out[f"id{number}"] = words
    return out


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS, st.integers(2, 3), st.sampled_from(["one", "none"]), st.integers(1, 3))
def test_every_long_shared_run_goes_and_nothing_else(
    pieces: list[list[tuple[int, int, int]]], least: int, keep: str, parts: int
) -> None:
    words = made(pieces)
    documents = {i: " ".join(w) for i, w in words.items()}
    found = edited(documents, parts=parts, keep=keep, min_documents=least)
    assert found == edited(documents, keep=keep, min_documents=least), "however the documents are cut into batches"

    def holders(length: int) -> dict[tuple[str, ...], set[str]]:
        held: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for i, w in words.items():
            for at in range(len(w) - length + 1):
                held[tuple(w[at : at + length])].add(i)
        return held

    short, long = holders(N), holders(SURE)
    went = {i: taken(w, documents[i], found[i]["repeated_spans"]) for i, w in words.items()}
    own = keys(documents)
    for i, w in words.items():
        # Sound: each word that went is in a gram that enough documents have, and goes with at least N in a row.
        for span in found[i]["repeated_spans"]:
            run = documents[i][span["start"] : span["end"]].split(" ")
            assert len(run) >= N
            assert least <= span["documents"] <= len(documents)
        for at, gone in enumerate(went[i]):
            starts = range(max(0, at - N + 1), min(at, len(w) - N) + 1)
            around = [(s, short[tuple(w[s : s + N])]) for s in starts]
            if gone:
                assert any(len(held) >= least for _, held in around)
            if gone and keep == "one":
                # Not lost: the same gram stands in a document before this one.
                assert any(any(own[j] < own[i] for j in held) for _, held in around if len(held) >= least)
        # Complete: of each run of SURE that enough documents have at least N in a row go.
        for at in range(len(w) - SURE + 1):
            if len(long[tuple(w[at : at + SURE])]) >= least and keep == "none":
                assert any(all(went[i][s : s + N]) for s in range(at, at + W))
        assert (
            found[i]["text"].split() == [x for x, gone in zip(w, went[i], strict=True) if not gone] or found[i]["gone"]
        )
    if keep == "one":
        for gram, held in long.items():
            # Of each long run N in a row stay: in one that has it, or in one before that has more of it.
            assert len(held) < least or any(
                not any(went[i][s : s + N])
                for i in words
                for s in range(len(words[i]) - N + 1)
                if any(tuple(words[i][s : s + N]) == gram[k : k + N] for k in range(W))
            )


SHARED = {
    "en": "the quick brown fox jumps over the lazy dog while seven wizards box quietly beside a river of ink".split(),
    "zh": list("本站所有文章均为原创作品未经书面许可任何单位或个人不得转载摘编违者必究"),
}


def shown(words: list[str]) -> str:
    return "".join(w if not w.isascii() else f" {w} " for w in words).replace("  ", " ").strip()


@pytest.mark.parametrize(
    ("one", "other", "simplified", "alike"),
    [
        (" ".join(SHARED["en"]), " ".join(SHARED["en"]).upper(), False, True),
        (" ".join(SHARED["en"]), ", ".join(SHARED["en"]), False, True),
        ("".join(SHARED["zh"]), "，".join(SHARED["zh"]), False, True),
        ("国家图书馆开门时间调整为九点", "國家圖書館開門時間調整為九點", True, True),
        ("国家图书馆开门时间调整为九点", "國家圖書館開門時間調整為九點", False, False),
        (
            "Please call 400 800 1234 or write to us today",
            "Ｐｌｅａｓｅ ｃａｌｌ ４００ ８００ １２３４ ｏｒ ｗｒｉｔｅ ｔｏ ｕｓ ｔｏｄａｙ",
            False,
            True,
        ),
        (
            "关注公众号 Data Weekly 回复 2026 获取 PDF 全文下载链接",
            "关注公众号《Data Weekly》回复２０２６获取ＰＤＦ全文下载链接！",
            False,
            True,
        ),
        (" ".join(SHARED["en"]), " ".join([*SHARED["en"][:4], "not", *SHARED["en"][4:8]]), False, False),
    ],
)
def test_what_reads_alike_is_shared_in_any_script(one: str, other: str, simplified: bool, alike: bool) -> None:
    documents = {"a": f"开头甲乙。{one}。结尾丙丁", "b": f"Begin here: {other}, the end"}
    found = edited(documents, simplified, keep="none", substring_window=1)
    texts = [found[i]["text"] for i in documents]
    # The punctuation behind goes where something closes already before it; a comma closes what stays.
    assert (texts == ["开头甲乙。结尾丙丁", "Begin here: the end"]) == alike
    assert any(found[i]["repeated_spans"] for i in documents) == alike
    if not alike:
        assert texts == list(documents.values())


def test_a_run_of_the_same_documents_stays_whole_in_the_one_that_comes_first() -> None:
    text = "{0}。" + "".join(SHARED["zh"]) + "。{0}乙丙"
    documents = {f"d{i}": text.format(i) for i in range(7)}
    first = min(documents, key=keys(documents).__getitem__)
    found = edited(documents, min_documents=7)
    assert found[first]["text"] == documents[first]
    assert found[first]["repeated_spans"] == []
    for i in set(documents) - {first}:
        (span,) = found[i]["repeated_spans"]
        assert (span["kind"], span["documents"]) == ("substring", 7)
        went = documents[i][span["start"] : span["end"]]
        assert went in "".join(SHARED["zh"])
        # Less than a window stays at either end.
        assert len(went) > len(SHARED["zh"]) - 2 * W


def test_where_runs_overlap_each_gram_stays_whole_in_one_document() -> None:
    """XY is in a and b, YZ in b and c, and c comes first: a keeps X and the grams that reach from X into Y."""
    x, y, z = ([f"{letter}{i}" for i in range(12)] for letter in "xyz")
    ids = sorted((f"i{n}" for n in range(3)), key=keys({f"i{n}": "" for n in range(3)}).__getitem__)
    c, a, b = ids
    documents = {
        a: " ".join(["start", *x, *y, "enda"]),
        b: " ".join(["begin", *x, *y, *z, "endb"]),
        c: " ".join(["open", *y, *z, "endc"]),
    }
    found = edited(documents, substring_window=1)
    assert found[c]["text"] == documents[c]
    assert found[a]["text"].split() == ["start", *x, *y[: N - 1], "enda"]
    assert found[a]["repeated_spans"][0]["documents"] == 3, "what went of it, the rest of Y, is in all three"
    # b is last: nothing of what it shares stays. What crosses from X to Z through Y is in it alone, but in pieces of
    # grams that others have.
    assert found[b]["text"].split() == ["begin", "endb"]
    assert found[b]["repeated_spans"][0]["documents"] == 2


def test_what_would_be_left_over_under_n_tokens_stays() -> None:
    """a shares a run of seven with c; it comes first with one of the three grams: two tokens beside it stay."""
    words = [f"w{i}" for i in range(N + 2)]
    ids = sorted((f"i{n}" for n in range(3)), key=keys({f"i{n}": "" for n in range(3)}).__getitem__)
    c, a, b = ids
    documents = {
        a: " ".join(["p", *words, "q"]),
        b: " ".join(["r", *words[2:], "s"]),
        c: " ".join(["t", *words[:-2], "u"]),
    }
    found = edited(documents, substring_window=1)
    assert found[c]["text"] == documents[c]
    assert found[a]["text"] == documents[a]
    assert found[b]["text"].split() == ["r", "s"]


def test_lines_and_substrings_together_take_the_union() -> None:
    notice = "请关注我们的公众号获取更多内容"
    run = "天地玄黄宇宙洪荒日月盈昃辰宿列张"
    documents = {
        "a": f"头{run}尾\n{notice}\n甲乙丙",
        "b": f"首{run}\n{notice}\n{run}末",
    }
    found = edited(documents, kinds=["line", "substring"], keep="none", min_tokens=4, substring_window=1)
    assert found["a"]["text"] == "头尾\n甲乙丙"
    assert found["b"]["text"] == "首\n末"
    kinds = {i: [(s["kind"], documents[i][s["start"] : s["end"]]) for s in found[i]["repeated_spans"]] for i in found}
    assert kinds["a"] == [("substring", run), ("line", notice)]
    # In b three runs follow each other and are one, which the line lies in.
    assert kinds["b"] == [("substring", f"{run}\n{notice}\n{run}")]
    for i in found:
        spans = found[i]["repeated_spans"]
        assert all(s["end"] <= t["start"] for s, t in itertools.pairwise(spans))


def test_a_window_wider_than_a_gram_is_an_error() -> None:
    with pytest.raises(ValueError, match="go in pieces"):
        config(substring_tokens=20, substring_window=21)
