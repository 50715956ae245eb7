"""The sample is the same each time, is what its truth says, and has enough of everything."""

from __future__ import annotations

import html
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from stdnum import luhn
from stdnum.cn import ric

from pretrain_data.formats.warc import read_records
from pretrain_data.sample import write_sample
from pretrain_data.sample.pages import written


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sample")
    write_sample(target)
    return target


def truth(sample: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (sample / "truth" / f"{name}.jsonl").open(encoding="utf-8")]


def test_a_second_write_changes_nothing(sample: Path, tmp_path: Path) -> None:
    files = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in sample.rglob("*") if p.is_file()}
    (sample / "input" / "old.txt").write_text("of an older sample")
    write_sample(sample)
    assert files == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in sample.rglob("*") if p.is_file()}
    write_sample(tmp_path)
    for path, (data, _) in files.items():
        assert (tmp_path / path.relative_to(sample)).read_bytes() == data


def test_there_is_enough_of_everything() -> None:
    pages = written()
    assert len(pages) >= 120
    assert len({page.url for page in pages}) == len(pages)
    kinds = Counter(page.kind for page in pages)
    assert kinds["near"] >= 12
    assert kinds["exact"] >= 4
    assert kinds["personal"] >= 12
    assert kinds["spam"] >= 8
    assert kinds["garbled"] >= 6
    assert kinds["blank"] >= 4
    assert {page.domain for page in pages} >= {
        "news",
        "encyclopedia",
        "qa",
        "manual",
        "literature",
        "legal",
        "math",
        "advertisement",
    }
    assert Counter(page.lang for page in pages)["zh"] >= 50
    for part in ("latex", "poem", "md", "trad", "full", "nosp", "mix", "table"):
        assert any(f"-{part}-" in page.id for page in pages), part


def test_what_is_planted_stands_in_the_pages(sample: Path) -> None:
    encoding = {d["id"]: d.get("encoding") for d in truth(sample, "documents")}
    body = {}
    for path in sorted((sample / "input" / "warc").glob("*.gz")):
        for record in read_records(str(path), 0, None, 10 << 20):
            assert record.error is None
            body[record.url] = record.body.decode(encoding.get(record.url) or "utf-8", "replace")
    planted = truth(sample, "pii")
    assert len(planted) >= 30
    for item in planted:
        assert item["value"] in body[item["id"]]
        if item["type"] == "ID_CARD":
            assert ric.calc_check_digit(item["value"]) == item["value"][-1]
        if item["type"] == "BANK_CARD":
            assert luhn.is_valid(item["value"])
    notices = truth(sample, "boilerplate")
    assert len(notices) >= 30
    for item in notices:
        assert item["goes"] in html.unescape(body[item["id"]])


def test_similarities_are_those_of_brute_force(sample: Path) -> None:
    import unicodedata

    pages = {page.url: page for page in written()}
    pairs = truth(sample, "pairs")
    assert len(pairs) >= 16
    for pair in pairs:
        sets = []
        for side in ("id1", "id2"):
            page = pages[pair[side]]
            folded = unicodedata.normalize("NFKC", page.plain).lower()
            letters = "".join(c if unicodedata.category(c)[0] in "LN" else " " for c in folded)
            units: Any = "".join(letters.split()) if page.lang == "zh" else letters.split()
            sets.append({tuple(units[i : i + 5]) for i in range(len(units) - 4)})
        assert len(sets[0] & sets[1]) / len(sets[0] | sets[1]) == pytest.approx(pair["jaccard"], abs=1e-5)
