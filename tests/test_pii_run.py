"""A whole run: no value of personal data is in anything that it writes after scrubbing, and the review masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[1]
AFTER = ("pii", "dedup", "classify", "mix", "export")


@pytest.mark.spark
def test_no_value_is_written_once_it_is_scrubbed(
    sample_run: Callable[[int], Path], sample_crawl: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = sample_run(2)
    planted = [json.loads(line)["value"] for line in (sample_crawl / "truth" / "pii.jsonl").open(encoding="utf-8")]
    assert len(planted) >= 25
    printed = capfd.readouterr()
    written = [printed.out, printed.err]
    for path in sorted(p for stage in AFTER for p in (workspace / stage).rglob("*") if p.is_file()):
        if path.suffix == ".parquet":
            written.append(json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False, default=str))
        else:
            written.append(path.read_bytes().decode("utf-8", "replace"))
    everything = "\n".join(written)
    assert "<|phone|>" in everything
    assert [value for value in planted if value in everything] == []


@pytest.mark.spark
def test_the_review_shows_the_form_and_never_the_value(sample_run: Callable[[int], Path], sample_crawl: Path) -> None:
    from pretrain_data.cli import app

    config = str(ROOT / "configs" / "sample.yaml")
    overrides = ["--set", f"workspace={sample_run(2)}", "--set", f"stages.ingest.input={sample_crawl / 'input'}"]
    done = CliRunner().invoke(app, ["pii", "review", config, "--limit", "500", *overrides])
    assert done.exit_code == 0, done.output
    planted = [json.loads(line)["value"] for line in (sample_crawl / "truth" / "pii.jsonl").open(encoding="utf-8")]
    assert done.output.count("⟦") >= len(planted)
    assert [value for value in planted if value in done.output] == []
    phones = CliRunner().invoke(app, ["pii", "review", config, "--type", "PHONE", "--limit", "3", "--json", *overrides])
    found = json.loads(phones.output)
    assert [row["type"] for row in found] == ["PHONE"] * 3
    assert all(set(row["value"]) <= set("9()+-. ") for row in found)
