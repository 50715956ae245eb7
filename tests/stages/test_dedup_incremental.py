"""Nights of dedup: one after the other they come to what one run over everything comes to, and cost what is new."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pretrain_data.commands import open_pipeline
from pretrain_data.dedup.plan import plan
from pretrain_data.errors import ConfigError, InputError
from pretrain_data.verify import verify

pytestmark = pytest.mark.spark

SETTINGS: dict[str, Any] = {"incremental": True, "threshold": 0.7, "spacing_threshold": 0.5, "miss_probability": 1e-6}
FILES = 2  # of a day
DAYS = ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04")


def corpus(seed: int) -> dict[str, dict[str, str]]:
    """Texts by day and id: families whose members are spread over the days, some in Chinese, some identical."""
    rng = random.Random(seed)
    days: dict[str, dict[str, str]] = {day: {} for day in DAYS}
    for family in range(24):
        chinese = family % 3 == 0
        letters = [chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(120)]
        units = letters if chinese else [f"w{rng.randrange(10**6)}" for _ in range(120)]
        for member in range(rng.randrange(1, 8)):
            edited = list(units)
            for at in rng.sample(range(120), rng.choice([0, 0, 1, 2, 4, 8])):
                edited[at] = chr(rng.randrange(0x4E00, 0x9FA5)) if chinese else f"e{rng.randrange(10**6)}"
            days[rng.choice(DAYS)][f"{family}-{member}"] = ("" if chinese else " ").join(edited)
    return days


def arrive(folder: Path, day: str, texts: dict[str, str], files: int = FILES) -> None:
    """A day's documents as Parquet files in a folder of its own."""
    target = folder / "in" / f"dt={day}"
    target.mkdir(parents=True, exist_ok=True)
    rows = [{"id": i, "text": t, "lang": "en" if " " in t else "zh"} for i, t in texts.items()]
    for i in range(files):
        pq.write_table(pa.Table.from_pylist(rows[i::files], _IN), target / f"f{i}.parquet")


_IN = pa.schema([("id", pa.string()), ("text", pa.string()), ("lang", pa.string())])


def dedup(folder: Path, spark: Any, name: str, **settings: Any) -> Path:
    config = folder / f"{name}.yaml"
    stages = {"dedup": {"input": "in", **SETTINGS, **settings}}
    config.write_text(json.dumps({"workspace": name, "stages": stages}))
    pipeline = open_pipeline(config)
    pipeline._spark = spark
    (outcome,) = pipeline.run()
    assert outcome.state == "done"
    return folder / name / "dedup"


def contents(out: Path) -> dict[str, str]:
    """Hashes of everything but what tells of time and of how the output came about."""
    files = sorted(p for p in out.rglob("*") if p.is_file() and not p.name.startswith("_"))
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def rows(out: Path, part: str) -> dict[str, dict[str, Any]]:
    found = ds.dataset(sorted(map(str, (out / part).rglob("*.parquet")))).to_table()
    return {row["source_id"]: row for row in found.to_pylist()}


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    units = text.split() if " " in text else list(text)
    return frozenset(tuple(units[i : i + 5]) for i in range(len(units) - 4))


def expected(days: dict[str, dict[str, str]], out: Path, threshold: float) -> dict[str, str | None]:
    """By brute force, document by document: the first kept one that each is similar enough to, None where it stays.

    Days in order; in a day the longer text first, then the smaller doc_id, as the default ranking says. Of several kept
    ones those of earlier days come first, in the order of their days, files and rows.
    """
    ids = {i: row["doc_id"] for part in ("documents", "dropped") for i, row in rows(out, part).items()}
    kept: list[str] = []
    number = {i: (day, n % FILES, n // FILES) for day in sorted(days) for n, i in enumerate(days[day])}
    sets = {i: shingles(t) for texts in days.values() for i, t in texts.items()}
    fate: dict[str, str | None] = {}
    for day in sorted(days):
        kept.sort(key=number.__getitem__)  # all of earlier days; the day's own follow by rank
        for one in sorted(days[day], key=lambda i, d=day: (-len(days[d][i]), ids[i])):  # type: ignore[misc]
            like = [k for k in kept if len(sets[one] & sets[k]) >= threshold * len(sets[one] | sets[k])]
            fate[one] = like[0] if like else None
            if not like:
                kept.append(one)
    return fate


@pytest.mark.parametrize(("seed", "verify_by"), [(1, "exact"), (2, "exact"), (3, "signature")])
def test_night_by_night_is_all_at_once(tmp_path: Path, spark: Any, seed: int, verify_by: str) -> None:
    days = corpus(seed)
    inodes: dict[str, int] = {}
    for n, day in enumerate(DAYS):
        arrive(tmp_path, day, days[day])
        out = dedup(tmp_path, spark, "nightly", verify=verify_by)
        manifest = json.loads((out / "_manifest.json").read_text(encoding="utf-8"))
        assert manifest["metrics"]["shards_taken_over"] == n, "small files of a day share a shard"
        files = {str(p.relative_to(out)): p.stat().st_ino for p in out.rglob("dt=*/*") if p.is_file()}
        assert {name: files[name] for name in inodes} == inodes, "what was there stays the same file"
        inodes = files
        assert verify(tmp_path / "nightly", ["dedup"], quick=False) == []
    at_once = dedup(tmp_path, spark, "at-once", verify=verify_by)
    assert contents(out) == contents(at_once)
    dropped = rows(at_once, "dropped")
    if verify_by == "exact":
        fate = expected(days, at_once, 0.7)
        assert set(dropped) == {i for i, survivor in fate.items() if survivor is not None}
        day_of = {i: day for day, texts in days.items() for i in texts}
        assert any(day_of[i] > day_of[row["kept_id"]] for i, row in dropped.items())
        for i, row in dropped.items():
            assert row["kept_id"] == fate[i]
    with pytest.raises(InputError, match="makes no curve"):
        plan(tmp_path / "at-once", None, None)
    groups = {row["similar_group"] for row in rows(at_once, "documents").values()}
    assert len(groups) < len(rows(at_once, "documents"))


def test_what_is_taken_away_leaves_the_index_and_what_it_stood_for_comes_back(tmp_path: Path, spark: Any) -> None:
    words = [f"w{i}" for i in range(80)]
    texts = {
        DAYS[0]: {"old": " ".join(words), "other": " ".join(f"x{i}" for i in range(80))},
        DAYS[1]: {"copy": " ".join(words)},
        DAYS[2]: {"late": " ".join([*words[:-1], "end"])},
    }
    for day, part in texts.items():
        arrive(tmp_path, day, part, files=1)
    out = dedup(tmp_path, spark, "w")
    assert {i: row["kept_id"] for i, row in rows(out, "dropped").items()} == {"copy": "old", "late": "old"}
    arrive(tmp_path, DAYS[0], {"other": texts[DAYS[0]]["other"]}, files=1)
    out = dedup(tmp_path, spark, "w")
    assert {i: row["kept_id"] for i, row in rows(out, "dropped").items()} == {"late": "copy"}
    index = b"".join(p.read_bytes() for p in sorted((out / "index").rglob("*.arrow")))
    assert b"old" not in index
    assert b"copy" in index
    assert contents(out) == contents(dedup(tmp_path, spark, "afresh"))
    # A whole day that goes, and one that comes late between two others.
    for file in (tmp_path / "in" / f"dt={DAYS[1]}").iterdir():
        file.unlink()
    arrive(tmp_path, "2025-12-31", {"first": " ".join(words)}, files=1)
    out = dedup(tmp_path, spark, "w")
    assert {i: row["kept_id"] for i, row in rows(out, "dropped").items()} == {"late": "first"}


def test_a_night_reads_the_text_of_new_documents_alone(tmp_path: Path, spark: Any, monkeypatch: Any) -> None:
    """Old input is made unreadable (its size and time stay): a night that is verified by signature never notices."""
    days = corpus(4)
    for day in DAYS[:3]:
        arrive(tmp_path, day, days[day], files=1)
    first = tmp_path / "chain.yaml"
    first.write_text(json.dumps({"workspace": "chain", "stages": {"ingest": {"input": "in"}, "dedup": {**SETTINGS}}}))

    def run() -> dict[str, Any]:
        pipeline = open_pipeline(first)
        pipeline._spark = spark
        return {o.stage: o.manifest for o in pipeline.run()}

    run()
    arrive(tmp_path, DAYS[3], days[DAYS[3]], files=1)
    pipeline = open_pipeline(first)
    pipeline._spark = spark
    list(pipeline.run(last="ingest"))
    for day in DAYS[:3]:
        for path in (tmp_path / "chain" / "ingest" / "documents" / f"dt={day}").glob("*.parquet"):
            path.write_bytes(b"\0" * path.stat().st_size)
    found = run()["dedup"]
    assert found["metrics"]["shards_taken_over"] == 3
    assert found["documents_in"] == sum(len(texts) for texts in days.values())


def test_exact_verification_reads_the_row_groups_of_what_a_night_meets(tmp_path: Path, spark: Any) -> None:
    """Ten old documents in five row groups; the night's is like one of them, and the other groups can't be read."""
    old = {f"old-{i}": " ".join(f"{i}x{j}" for j in range(80)) for i in range(10)}

    def ingested(name: str) -> Path:
        config = tmp_path / f"{name}-in.yaml"
        config.write_text(json.dumps({"workspace": name, "stages": {"ingest": {"input": "in"}}}))
        pipeline = open_pipeline(config)
        pipeline._spark = spark
        list(pipeline.run())
        return tmp_path / name / "ingest"

    arrive(tmp_path, DAYS[0], old, files=1)
    dedup(tmp_path, spark, "w", verify="exact", input=str(ingested("one")))
    arrive(tmp_path, DAYS[1], {"new": " ".join([*old["old-4"].split()[:-1], "end"])}, files=1)
    both = ingested("both")
    (path,) = (both / "documents" / f"dt={DAYS[0]}").glob("*.parquet")
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=2, use_dictionary=False)
    wiped, metadata = bytearray(path.read_bytes()), pq.read_metadata(path)
    assert metadata.num_row_groups == 5
    for group in set(range(5)) - {table["source_id"].to_pylist().index("old-4") // 2}:
        for i in range(metadata.num_columns):
            column = metadata.row_group(group).column(i)
            end = column.data_page_offset + column.total_compressed_size
            wiped[column.data_page_offset : end] = bytes(column.total_compressed_size)
    path.write_bytes(wiped)
    with pytest.raises(OSError, match=r"."):
        pq.read_table(path)
    out = dedup(tmp_path, spark, "w", verify="exact", input=str(both))
    metrics = json.loads((out / "_manifest.json").read_text(encoding="utf-8"))["metrics"]
    assert metrics["shards_taken_over"] == 1
    assert metrics["documents_read_for_sets"] == 2 + 1, "a row group of the old, and the new document"
    (row,) = rows(out, "dropped").values()
    assert (row["source_id"], row["kept_id"]) == ("new", "old-4")
    assert row["value"] == pytest.approx(75 / 77)  # 76 shingles each, of which each has one that the other hasn't


def test_settings_that_can_not_hold_night_after_night_are_errors(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    for key, value in (("chain", "keep"), ("target_tokens", "1M")):
        settings = {"input": "in", "incremental": True, key: value}
        config.write_text(json.dumps({"workspace": "w", "stages": {"dedup": settings}}))
        with pytest.raises(ConfigError, match="incremental needs"):
            open_pipeline(config)


def test_a_withdrawn_document_leaves_the_index_and_earlier_days_stay(tmp_path: Path, spark: Any) -> None:
    words = [f"w{i}" for i in range(80)]
    own = {day: " ".join(f"{day[-2:]}x{i}" for i in range(80)) for day in DAYS}
    arrive(tmp_path, DAYS[0], {"own-1": own[DAYS[0]]}, files=1)
    arrive(tmp_path, DAYS[1], {"old": " ".join(words), "own-2": own[DAYS[1]]}, files=1)
    arrive(tmp_path, DAYS[2], {"copy": " ".join(words), "own-3": own[DAYS[2]]}, files=1)
    arrive(tmp_path, DAYS[3], {"late": " ".join([*words[:-1], "end"])}, files=1)
    out = dedup(tmp_path, spark, "w")
    assert {i: row["kept_id"] for i, row in rows(out, "dropped").items()} == {"copy": "old", "late": "old"}
    listed = tmp_path / "withdrawn.txt"
    listed.write_text("# asked for by its author\nold\n\n not-there\n")
    settings = {"withdrawn": str(listed), "passages": {}}
    out = dedup(tmp_path, spark, "passages", **settings)
    assert rows(out, "dropped")["old"]["rule"] == "withdrawn"
    settings.pop("passages")
    out = dedup(tmp_path, spark, "w", **settings)
    dropped = rows(out, "dropped")
    assert {i: (row["rule"], row["kept_id"]) for i, row in dropped.items()} == {
        "old": ("withdrawn", None),
        "late": ("near_duplicate", "copy"),
    }
    assert (dropped["old"]["value"], dropped["old"]["threshold"]) == (None, None)
    metrics = json.loads((out / "_manifest.json").read_text(encoding="utf-8"))["metrics"]
    assert metrics["shards_taken_over"] == 1, "the day before the first that held it"
    index = b"".join(p.read_bytes() for p in sorted((out / "index").rglob("*.arrow")))
    assert b"old" not in index
    assert contents(out) == contents(dedup(tmp_path, spark, "afresh", **settings))
    listed.write_text("")
    assert set(rows(dedup(tmp_path, spark, "w", **settings), "dropped")) == {"copy", "late"}, "and it may come back"
    listed.unlink()
    with pytest.raises(InputError, match="list of withdrawn documents can't be read"):
        dedup(tmp_path, spark, "w", **settings)
