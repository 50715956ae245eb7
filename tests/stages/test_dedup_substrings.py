"""Long substrings that documents share, end to end: alone, beside lines, however files are cut, day by day."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_dedup_passages import day_by_day, dedup, rows

from pretrain_data.commands import open_pipeline
from pretrain_data.errors import ConfigError

pytestmark = pytest.mark.spark

N = 20


def words(rng: random.Random, lang: str, number: int) -> list[str]:
    if lang == "zh":
        return [chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(number)]
    return [f"w{rng.randrange(10**6)}" for _ in range(number)]


def shown(some: list[str], lang: str) -> str:
    return ("" if lang == "zh" else " ").join(some)


def corpus(seed: int, documents: int = 60) -> dict[str, dict[str, Any]]:
    """Documents of one line, words of their own around a part of a text that others quote from too."""
    rng = random.Random(seed)
    quoted = {lang: [words(rng, lang, 90) for _ in range(2)] for lang in ("en", "zh")}
    out = {}
    for i in range(documents):
        lang = ("en", "zh")[i % 2]
        some = words(rng, lang, 30)
        if rng.random() < 0.7:
            at, long = rng.randrange(60), rng.randrange(10, 60)
            some += rng.choice(quoted[lang])[at : at + long] + words(rng, lang, 40)
        if i >= documents - 4:
            some = quoted[lang][0]
        out[f"d{i}"] = {"id": f"d{i}", "text": shown(some, lang), "lang": lang}
    return out


def by_hand(texts: dict[str, dict[str, Any]], least: int) -> dict[str, list[tuple[int, int, int]]]:
    """Maximal stretches, in words, of grams that `least` documents have, with the fewest that have one of them."""
    units = {i: list(r["text"]) if r["lang"] == "zh" else r["text"].split() for i, r in texts.items()}
    held = defaultdict(set)
    for i, some in units.items():
        for at in range(len(some) - N + 1):
            held[tuple(some[at : at + N])].add(i)
    out: dict[str, list[tuple[int, int, int]]] = {}
    for i, some in units.items():
        out[i] = []
        for at in range(len(some) - N + 1):
            number = len(held[tuple(some[at : at + N])])
            if number < least:
                continue
            if out[i] and at <= out[i][-1][1]:
                first, _, fewest = out[i].pop()
                out[i].append((first, at + N, min(fewest, number)))
            else:
                out[i].append((at, at + N, number))
    return out


SETTINGS = {"kinds": ["substring"], "min_documents": 4, "substring_tokens": N, "substring_window": 1, "keep": "none"}


def test_alone_it_takes_what_counting_by_hand_says(tmp_path: Path, spark: Any) -> None:
    texts = corpus(3)
    everything = list(texts.values())
    pq.write_table(pa.Table.from_pylist(everything), tmp_path / "in.parquet", row_group_size=13)
    out = dedup(tmp_path, spark, documents="off", passages=SETTINGS)
    kept, dropped = rows(out, "documents"), rows(out, "dropped")
    expected = by_hand(texts, 4)
    assert sum(map(len, expected.values())) > 15
    spans = 0
    for i, row in texts.items():
        some = list(row["text"]) if row["lang"] == "zh" else row["text"].split()
        size = sum(len(shown(some[a:b], row["lang"])) for a, b, _ in expected[i])
        if size >= 0.8 * len(row["text"]):
            assert dropped[i]["rule"] == "repeated_passages"
            assert dropped[i]["value"] == pytest.approx(size / len(row["text"]))
            continue
        found = kept[i]["repeated_spans"]
        spans += len(found)
        stays = [x for at, x in enumerate(some) if not any(a <= at < b for a, b, _ in expected[i])]
        assert kept[i]["text"] == shown(stays, row["lang"])
        got = [(row["text"][s["start"] : s["end"]], s["kind"], s["documents"]) for s in found]
        assert got == [(shown(some[a:b], row["lang"]), "substring", n) for a, b, n in expected[i]]
    assert dropped, "those that are little else"
    metrics = json.loads((out / "_manifest.json").read_text())["metrics"]
    assert metrics["passages.substrings"] == spans
    assert (metrics["repeated_passages"], metrics["passages.lines"]) == (0, 0)
    assert metrics["repeated_grams"] > 50
    # The same documents in other files, with a winnowed sample: cut as you like, the same comes out.
    settings = SETTINGS | {"substring_window": 10}
    one = dedup(tmp_path, spark, "one", documents="off", passages=settings)
    (tmp_path / "in").mkdir()
    for n in range(3):
        pq.write_table(pa.Table.from_pylist(everything[n::3]), tmp_path / "in" / f"{n}.parquet", row_group_size=7)
    three = dedup(tmp_path, spark, "three", "in", documents="off", passages=settings)
    assert rows(one, "dropped").keys() == rows(three, "dropped").keys()
    told, again = (
        {i: (row["text"], row["repeated_spans"]) for i, row in rows(out, "documents").items()} for out in (one, three)
    )
    assert told == again
    assert any(spans for _, spans in told.values())


def test_day_by_day_is_all_at_once_with_substrings(tmp_path: Path, spark: Any) -> None:
    texts = list(corpus(5).values())
    passages = {"kinds": ["line", "substring"], "substring_documents": 4, "substring_tokens": N, "substring_window": 10}
    out = day_by_day(tmp_path, spark, texts, documents="off", passages=passages)
    # What four documents of earlier days have, none of the last day keeps: not a run of a gram and a window.
    early = corpus(5, 60)
    for i in [i for i in early if int(i[1:]) >= 40]:
        del early[i]
    sure = N + 10 - 1
    held = defaultdict(set)
    for i, row in early.items():
        some = list(row["text"]) if row["lang"] == "zh" else row["text"].split()
        for at in range(len(some) - sure + 1):
            held[tuple(some[at : at + sure])].add(i)
    common = {run for run, ids in held.items() if len(ids) >= 4}
    looked_at = 0
    for i, row in rows(out, "documents").items():
        if int(i[1:]) >= 40:
            before = corpus(5)[i]
            for text, there in ((before["text"], True), (row["text"], False)):
                some = list(text) if before["lang"] == "zh" else text.split()
                found = sum(tuple(some[at : at + sure]) in common for at in range(len(some) - sure + 1))
                looked_at += found
                assert there or not found
    assert looked_at > 0


def test_code_keeps_its_substrings_and_thresholds_are_apart(tmp_path: Path, spark: Any) -> None:
    rng = random.Random(1)
    common = shown(words(rng, "en", 30), "en")
    line = shown(words(rng, "en", 12), "en")
    table = [
        {"id": f"{kind}{i}", "format": kind, "text": f"{line}\n{shown(words(rng, 'en', 40), 'en')} {common} end{i}"}
        for kind in ("code", "prose")
        for i in range(3)
    ]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "in.parquet")
    settings = {"kinds": ["line", "substring"], "substring_documents": 3, "substring_tokens": 20, "substring_window": 5}
    kept = rows(dedup(tmp_path, spark, documents="off", passages=settings), "documents")
    assert all(line in row["text"] for row in kept.values()), "three documents are under min_documents"
    assert all(common in row["text"] for i, row in kept.items() if i[0] == "c")
    assert sum(common in row["text"] for row in kept.values()) == 4, "code, and one that keeps it"


def test_a_wide_window_is_an_error_of_the_config(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    stage = {"input": "in", "passages": {"kinds": ["substring"], "substring_window": 51}}
    config.write_text(json.dumps({"workspace": "w", "stages": {"dedup": stage}}))
    with pytest.raises(ConfigError, match="substring_window must not be above substring_tokens"):
        open_pipeline(config)
