"""Repeated lines and paragraphs end to end, against counting by hand; the levels each alone; day by day."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pretrain_data.commands import open_pipeline
from pretrain_data.errors import ConfigError

pytestmark = pytest.mark.spark

NOTICES = {
    "en": [
        "Subscribe to our newsletter to get the latest stories every week",
        "Share this with all of your friends on",
    ],
    "zh": ["版权所有，未经书面许可不得转载本站任何内容", "關注我們的公眾號，獲取更多精彩內容與最新消息"],
}
BLOCK = {"en": "Home\nAbout us\nContact and legal\nTerms of use", "zh": "首页\n关于我们\n联系方式\n使用条款与隐私"}


def sentence(rng: random.Random, lang: str) -> str:
    if lang == "zh":
        return "".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(20))
    return " ".join(f"w{rng.randrange(10**6)}" for _ in range(12))


def corpus(seed: int, documents: int = 60) -> dict[str, dict[str, str]]:
    """Articles of their own lines; notices at the end of some, a block of short lines in some, a line said twice."""
    rng = random.Random(seed)
    out = {}
    for i in range(documents):
        lang = ("en", "zh")[i % 2]
        lines = [sentence(rng, lang) for _ in range(4)]
        if rng.random() < 0.5:
            lines.insert(rng.randrange(5), rng.choice(NOTICES[lang]))
        if rng.random() < 0.4:
            lines += ["", BLOCK[lang], ""]
        lines.append(lines[0])
        if rng.random() < 0.1:
            lines = [NOTICES[lang][0], NOTICES[lang][1], "" if rng.random() < 0.5 else "x"]
        out[f"d{i}"] = {"id": f"d{i}", "text": "\n".join(lines), "lang": lang}
    return out


def dedup(folder: Path, spark: Any, name: str = "w", source: str = "in.parquet", **settings: Any) -> Path:
    config = folder / f"{name}.yaml"
    config.write_text(json.dumps({"workspace": name, "stages": {"dedup": {"input": source, **settings}}}))
    pipeline = open_pipeline(config)
    pipeline._spark = spark
    (outcome,) = pipeline.run()
    assert outcome.state == "done"
    return folder / name / "dedup"


def rows(out: Path, part: str) -> dict[str, dict[str, Any]]:
    found = ds.dataset(sorted(map(str, (out / part).rglob("*.parquet")))).to_table()
    return {row["source_id"]: row for row in found.to_pylist()}


def units(text: str) -> list[tuple[int, int, str]]:
    """(start, end, what it says) of lines of eight tokens and of paragraphs of several lines, in characters."""

    def said(part: str) -> str:
        return "".join(c for c in part.lower() if c.isalnum() or c == " ").replace("\n", " ")

    def long(part: str) -> bool:
        return sum(c >= "\u3000" and c.isalpha() for c in part) + len([w for w in part.split() if w.isascii()]) >= 8

    out, at, block = [], 0, []
    for line in [*text.split("\n"), ""]:
        if line:
            block.append(at)
            if long(line):
                out.append((at, at + len(line), said(line)))
        else:
            if len(block) > 1 and long(text[block[0] : at - 1]):
                out.append((block[0], at - 1, said(text[block[0] : at - 1].replace("\n", " "))))
            block = []
        at += len(line) + 1
    return out


@pytest.mark.parametrize("keep", ["one", "none"])
def test_passages_go_as_counting_by_hand_says(tmp_path: Path, spark: Any, keep: str) -> None:
    texts = corpus(3)
    pq.write_table(pa.Table.from_pylist(list(texts.values())), tmp_path / "in.parquet", row_group_size=13)
    out = dedup(tmp_path, spark, documents="off", passages={"min_documents": 5, "keep": keep})
    kept, dropped = rows(out, "documents"), rows(out, "dropped")
    assert len(kept) + len(dropped) == len(texts)
    counted = Counter(s for row in texts.values() for s in {said for *_, said in units(row["text"])})
    repeated = {s: n for s, n in counted.items() if n >= 5}
    assert len(repeated) == 6, "four notices, two blocks"
    whole: Counter[str] = Counter()  # documents in which a repeated passage stays
    for i, row in texts.items():
        result = kept.get(i) or dropped[i]
        hit = {(a, b): s for a, b, s in units(row["text"]) if s in repeated}
        if i in dropped:
            assert result["rule"] == "repeated_passages"
            assert result["value"] >= result["threshold"] == 0.8
            continue
        spans = result["repeated_spans"]
        for span in spans:
            said = hit.pop((span["start"], span["end"]))
            assert span["documents"] == repeated[said]
            assert span["kind"] == ("paragraph" if "\n" in row["text"][span["start"] : span["end"]] else "line")
        whole.update(set(hit.values()))
        expected = row["text"]
        for span in reversed(spans):
            expected = expected[: span["start"]] + "\0" + expected[span["end"] :]
        lines = [line for line in expected.split("\n") if line not in ("\0", "")]
        assert [line for line in result["text"].split("\n") if line] == lines
        assert (result["cluster_id"], result["similar_group"]) == (result["doc_id"], result["doc_id"])
    assert max(whole.values(), default=0) <= (keep == "one")
    metrics = json.loads((out / "_manifest.json").read_text())["metrics"]
    assert metrics["repeated_passages"] == 6
    spans = [s for row in kept.values() for s in row["repeated_spans"]]
    assert metrics["passages.lines"] + metrics["passages.paragraphs"] == len(spans)
    assert metrics["passages.chars"] == sum(s["end"] - s["start"] for s in spans)
    assert metrics["passages.documents"] == sum(bool(row["repeated_spans"]) for row in kept.values())


def test_copies_of_a_page_make_nothing_a_commonplace(tmp_path: Path, spark: Any) -> None:
    """Thirty copies: the survivor keeps its lines. Code keeps its lines however often they come."""
    rng = random.Random(1)
    page = "\n".join(sentence(rng, "zh") for _ in range(5))
    table = [{"id": f"c{i}", "text": page, "format": "prose"} for i in range(30)]
    line = "from pretrain import data, models, training, tokens, mixtures, shards"
    table += [{"id": f"p{i}", "text": f"{line}\n{sentence(rng, 'en')}", "format": "code"} for i in range(30)]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "in.parquet")
    out = dedup(tmp_path, spark, passages={})
    kept = rows(out, "documents")
    assert len(kept) == 31
    assert {row["text"] for row in kept.values()} >= {page}
    assert all(line in row["text"] for i, row in kept.items() if i[0] == "p")
    assert not any(row["repeated_spans"] for row in kept.values())


def day_by_day(tmp_path: Path, spark: Any, texts: list[dict[str, Any]], **settings: Any) -> Path:
    """The output after three nights of twenty documents each, which is that of one run over all of them."""
    for n, day in enumerate(("2026-01-01", "2026-01-02", "2026-01-03")):
        target = tmp_path / "in" / f"dt={day}"
        target.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(texts[20 * n : 20 * n + 20]), target / "f.parquet")
        out = dedup(tmp_path, spark, "nightly", "in", incremental=True, **settings)
    at_once = dedup(tmp_path, spark, "at-once", "in", incremental=True, **settings)
    for part in ("documents", "dropped"):
        assert rows(out, part) == rows(at_once, part)
    return out


def test_day_by_day_is_all_at_once_with_passages(tmp_path: Path, spark: Any) -> None:
    texts = list(corpus(5).values())
    out = day_by_day(tmp_path, spark, texts, threshold=0.7, passages={"min_documents": 6})
    late = [row for i, row in rows(out, "documents").items() if int(i[1:]) >= 40]
    assert any(row["repeated_spans"] for row in late)
    # By the third day a notice has been kept: of that day's documents none keeps it.
    counts = Counter(s for row in texts for s in {said for *_, said in units(row["text"])})
    for row in late:
        assert all(counts[said] < 6 or said not in {s for *_, s in units(row["text"])} for said in counts)


def test_exact_alone_compares_by_tokens(tmp_path: Path, spark: Any) -> None:
    words = [f"w{i}" for i in range(60)]
    table = {
        "a": " ".join(words),
        "b": " ".join(words).upper() + "!",
        "c": " ".join([*words, "more"]),
        "d": "？",
        "e": "！",
    }
    pq.write_table(pa.table({"id": list(table), "text": list(table.values())}), tmp_path / "in.parquet")
    out = dedup(tmp_path, spark, documents="exact")
    dropped = rows(out, "dropped")
    assert sorted(rows(out, "documents")) in (["a", "c", "d", "e"], ["b", "c", "d", "e"])
    assert {(row["rule"], row["value"], row["threshold"]) for row in dropped.values()} == {
        ("exact_duplicate", 1.0, 1.0)
    }


def test_two_scripts_are_one_text_on_request(tmp_path: Path, spark: Any) -> None:
    simplified = "国家图书馆收藏了许多关于这个地区历史与语言的书籍，学者们经常来这里查阅资料并进行研究与讨论。"
    traditional = "國家圖書館收藏了許多關於這個地區歷史與語言的書籍，學者們經常來這裏查閱資料並進行研究與討論。"
    table = pa.table({"id": ["s", "t"], "text": [simplified, traditional], "lang": ["zh", "zh"]})
    pq.write_table(table, tmp_path / "in.parquet")
    assert not rows(dedup(tmp_path, spark, "apart"), "dropped")
    out = dedup(tmp_path, spark, "alike", traditional="simplified", verify="exact")
    (row,) = rows(out, "dropped").values()
    assert row["rule"] == "exact_duplicate"
    metrics = json.loads((out / "_manifest.json").read_text())["metrics"]
    assert metrics["normalization_version"].startswith("nfkc-1+simplified-opencc-")


def test_levels_that_do_nothing_are_errors(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    for settings, says in (
        ({"documents": "off"}, "leaves nothing to do"),
        ({"documents": "exact", "spacing_threshold": 0.5}, "needs documents: near"),
    ):
        config.write_text(json.dumps({"workspace": "w", "stages": {"dedup": {"input": "in", **settings}}}))
        with pytest.raises(ConfigError, match=says):
            open_pipeline(config)
