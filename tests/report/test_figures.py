"""The report's data, held against counts made by hand; no browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hostile_workspace import ATTACKS, STAGES, hostile, write

from pretrain_data.kernels.pii.types import known_types
from pretrain_data.report.compare import compare
from pretrain_data.report.figures import figures
from pretrain_data.report.page import embedded, page, report_data, words, write_report
from pretrain_data.report.samples import Case, samples, spread
from pretrain_data.report.shown import masked, shown


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("hostile") / "run", hostile())


def test_both_languages_have_the_same_words() -> None:
    en, zh = words()["en"], words()["zh"]
    assert en.keys() == zh.keys()
    for key, text in en.items():
        assert sorted(re.findall(r"\{\w+\}", str(text))) == sorted(re.findall(r"\{\w+\}", str(zh[key]))), key
    assert all(isinstance(text, str) for text in {**en, **zh}.values())


def test_every_word_that_the_scripts_ask_for_is_there() -> None:
    folder = Path(__file__).resolve().parents[2] / "pretrain_data" / "report" / "assets"
    for path in folder.glob("*.js"):
        for key in re.findall(r"\bt\(\"([\w.]+)\"[,)]", path.read_text(encoding="utf-8")):
            if not key.endswith("."):
                assert key in words()["en"], (path.name, key)


def test_every_type_of_personal_data_has_a_name_in_both_languages() -> None:
    wanted = {f"pii.{name}" for name in known_types()}
    for lang in ("en", "zh"):
        assert {key for key in words()[lang] if key.startswith("pii.")} == wanted


def test_counts_are_those_of_the_manifests(workspace: Path) -> None:
    found = figures(workspace, STAGES)
    assert [(s["stage"], s["documents_in"], s["documents"], s["dropped"]) for s in found["stages"]] == [
        ("ingest", 200, 200, 0),
        ("rules", 200, 100, 100),
        ("pii", 100, 100, 0),
    ]
    rules = {r["rule"]: r for r in found["rules"]}
    assert {name: r["documents"] for name, r in rules.items()} == {"rule_0<b>": 34, "rule_1<b>": 33, "rule_2<b>": 33}
    assert rules["rule_0<b>"] | {"chars": 0} == {
        "stage": "rules",
        "rule": "rule_0<b>",
        "documents": 34,
        "chars": 0,
        "share": 0.17,
        "fires": 35,
        "alone": 33,
        "alone_share": 33 / 200,
    }
    assert [(t["type"], t["spans"]) for t in found["pii"]["types"]] == [("EMAIL", 3), ("PHONE", 2)]


def test_samples_stand_nearest_to_the_threshold_first(workspace: Path) -> None:
    rows = [r for r in samples(workspace, STAGES) if r["stage"] == "rules" and r["side"] == "dropped"]
    # Values are 0.50, 0.51, 0.52 ... in turn for three rules with the threshold 0.5; three of each are shown.
    assert [(r["rule"], round(r["value"], 2)) for r in rows] == [
        (f"rule_{i % 3}<b>", round(0.5 + i / 100, 2)) for i in range(9)
    ]
    assert all(r["text"] for r in rows)


def test_no_personal_data_leaves_the_masking() -> None:
    text = "电话13812345678，邮箱 li.lei@example.com。" + "正文。" * 400
    assert masked([text, None]) == [("电话<|phone|>，邮箱 <|email|>。" + "正文。" * 400)[:600] + "…", ""]
    rows = json.dumps(masked([a * 3 for a in ATTACKS]))
    assert "13812345678" not in rows
    assert "li.lei" not in rows


def test_what_is_shown_is_short_and_without_controls() -> None:
    assert shown("a\x00b\u202ec\x1bd\ne") == "a·b·c·d\ne"
    assert shown("x" * 1_000_000, 10) == "xxxxxxxxxx…"
    assert shown("\ud800") == "?"


def test_json_can_not_end_its_element() -> None:
    text = embedded({"a": "</script><!--<script>&\u2028\u2029", "b": float("nan")})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {"a": "</script><!--<script>&\u2028\u2029", "b": None}


def test_the_page_holds_its_own_scripts_alone(workspace: Path) -> None:
    html = write_report(workspace, STAGES).read_text(encoding="utf-8")
    assert len(re.findall(r"<script[ >]", html)) == 5  # data, library, three of ours
    assert not re.search(r"""(?:src|href)\s*=\s*["']?https?:""", html.split("echarts", 1)[0])
    assert "script-src 'sha256-" in html
    assert "unsafe-eval" not in html
    assert len(html.encode()) < 5e6


def test_a_bounded_number_of_shards_is_looked_into() -> None:
    files = [Path(f"{i:04d}") for i in range(1000)]
    assert spread(files, 4) == [Path("0000"), Path("0250"), Path("0500"), Path("0750")]
    assert spread(files[:3], 4) == files[:3]


def test_distance_is_relative_to_the_threshold() -> None:
    assert Case("rules", "kept", "r", "d", "s", 0.9, 1.0).distance == pytest.approx(0.1)
    assert Case("rules", "kept", "r", "d", "s", 0.25, 0.0).distance == pytest.approx(0.25)
    assert Case("rules", "kept", "r", "d", "s").distance == float("inf")


def test_comparison_names_what_changed(workspace: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", hostile(), dropped_every=4)
    found = compare(figures(workspace, STAGES), figures(other, STAGES))
    assert found["stages"] == [
        {"stage": "ingest", "old": 200, "new": 200},
        {"stage": "rules", "old": 150, "new": 100},
        {"stage": "pii", "old": 150, "new": 100},
    ]
    assert {r["rule"]: (r["old"], r["new"]) for r in found["rules"]} == {
        "rule_0<b>": (17, 34),
        "rule_1<b>": (17, 33),
        "rule_2<b>": (16, 33),
    }
    assert found["configs"] == found["settings"] == []
    assert "other" in page(report_data(workspace, STAGES, other, 1.5))


def test_comparison_names_each_setting_that_changed(workspace: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", hostile())
    path = other / "rules" / "_manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest |= {
        "config_hash": "rules-2",
        "config": {"files": ["web"], "adjust": {"<b>": {"least": 3}}, "rules": [{"a": 1}]},
    }
    path.write_text(json.dumps(manifest), encoding="utf-8")
    found = compare(figures(workspace, STAGES), figures(other, STAGES))
    assert [(c["stage"], c["old"], c["new"]) for c in found["configs"]] == [("rules", "rules-2", "rules-1")]
    assert {s["key"]: (s["old"], s["new"]) for s in found["settings"]} == {
        "": (None, "{}"),
        "files": ('["web"]', None),
        "adjust.<b>.least": ("3", None),
        "rules[0].a": ("1", None),
    }
