"""Rule sets: which rule comes first, overrides, penalties, files and their faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pretrain_data.errors import ConfigError
from pretrain_data.rules.expression import NUMBER, STRING, Vocabulary
from pretrain_data.rules.ruleset import (
    BUNDLED,
    RuleConfig,
    RuleSet,
    as_configs,
    compile_rules,
    find_rule_file,
    load_rules,
    rule_file_closure,
)

NAMES = Vocabulary({"signals.words": NUMBER, "lang": STRING, "format": STRING})
BATCH = {
    "signals.words": np.array([5, 15, 25, 35], np.int32),
    "lang": pa.array(["en", "zh", "zh", "de"]),
    "format": pa.array(["prose", "prose", "code", "prose"]),
}


def rules(*configs: dict, max_penalty: float | None = None) -> RuleSet:
    return compile_rules(as_configs("test", [RuleConfig(**c) for c in configs]), NAMES, max_penalty)


def test_the_first_rule_that_fires_is_named() -> None:
    verdict = rules(
        {"name": "under_20", "drop_if": "signals.words < 20"},
        {"name": "under_30", "drop_if": "signals.words < 30"},
    ).judge(BATCH)
    assert verdict.first.tolist() == [0, 0, 1, -1]
    assert verdict.fires.tolist() == [[True, True, False, False], [True, True, True, False]]
    assert verdict.value[:3].tolist() == [5, 15, 25]
    assert verdict.threshold[:3].tolist() == [20, 20, 30]
    assert verdict.drops.tolist() == [True, True, True, False]


def test_overrides_by_language_and_format() -> None:
    verdict = rules(
        {
            "name": "short",
            "drop_if": "signals.words < least",
            "let": {"least": 100},
            "per": {"lang": {"zh": {"least": 20}, "de": "off"}, "format": {"code": "signals.words > 24"}},
        }
    ).judge(BATCH)
    assert verdict.fires.tolist() == [[True, True, True, False]]
    assert verdict.threshold[:3].tolist() == [100, 20, 24]  # the format's word goes before the language's


def test_where() -> None:
    verdict = rules({"name": "x", "drop_if": "signals.words > 0", "where": 'lang == "zh"'}).judge(BATCH)
    assert verdict.drops.tolist() == [False, True, True, False]


def test_penalties_add_up() -> None:
    verdict = rules(
        {"name": "a", "when": "signals.words > 10", "penalty": 0.5},
        {"name": "b", "when": "signals.words > 20", "penalty": 0.75},
        {"name": "hard", "drop_if": "signals.words > 30"},
        max_penalty=1,
    ).judge(BATCH)
    assert verdict.penalty.tolist() == [0, 0.5, 1.25, 1.25]
    assert verdict.first.tolist() == [-1, -1, 3, 2]
    assert (verdict.value[2], verdict.threshold[2]) == (1.25, 1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "a"}, "either drop_if, or when with penalty"),
        ({"name": "a", "when": "true"}, "when and penalty go together"),
        ({"name": "a", "drop_if": "true", "when": "true", "penalty": 1}, "either drop_if, or when"),
        ({"name": "A b", "drop_if": "true"}, "String should match pattern"),
        ({"name": "a", "drop_if": "true", "per": {"lang": {"zh": True}}}, "not true"),
        ({"name": "a", "drop_if": "true", "let": {"lang": 1}}, "let.lang: must be a plain name"),
        ({"name": "a", "drop_if": "signals.words < n", "let": {"n": 1}, "per": {"lang": {"zh": {"m": 1}}}},
         "no parameter m"),
        ({"name": "a", "drop_if": "signals.wrds < 1"}, "test: rule a: unknown signal signals.wrds"),
        ({"name": "a", "drop_if": "true", "where": "signals.words"},
         "rule a: where: 'signals.words' is a number"),
        ({"name": "a", "drop_if": "true", "per": {"format": {"code": "nonsense"}}},
         "per.format.code: unknown column"),
    ],
)  # fmt: skip
def test_faults(config: dict, message: str) -> None:
    with pytest.raises((ConfigError, ValueError)) as error:
        rules(config)
    assert message in str(error.value)


def test_all_faults_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        rules(
            {"name": "a", "drop_if": "x < 1"},
            {"name": "b", "drop_if": "true"},
            {"name": "b", "drop_if": "y < 1"},
        )
    assert [line.split(":")[1].strip() for line in str(error.value).splitlines()] == [
        "rule a",
        "rule b",
        "rule b",
    ]


def test_files_name_files_and_adjust_their_rules(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "where: lang == 'zh'\n"
        "rules:\n"
        "- {name: a, drop_if: signals.words < n, let: {n: 10}}\n"
        "- {name: b, drop_if: signals.words > 100}\n"
        "- {name: c, drop_if: signals.words > 1}\n"
    )
    (tmp_path / "top.yaml").write_text(
        "files: [base.yaml]\nadjust: {a: {n: 20}, b: off}\nrules:\n- {name: d, drop_if: signals.words > 30}\n"
    )
    top = tmp_path / "top.yaml"
    assert [p.name for p in rule_file_closure([top])] == ["base.yaml", "top.yaml"]
    compiled = compile_rules(load_rules([top], {"c": "signals.words > 20"}), NAMES)
    assert [r.name for r in compiled.rules] == ["a", "c", "d"]
    assert compiled.judge(BATCH).first.tolist() == [-1, 0, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules:\n- name: a\n  dropif: x\n", "2: rules[0].dropif: unknown key"),
        ("rule: []\n", "1: rule: unknown key; did you mean rules?"),
        ("rules: 3\n", "1: rules: "),
        ("files: [missing]\n", "no rule file missing"),
        ("files: [loop.yaml]\n", "names itself"),
        ("adjust: {a: off}\n", "adjust.a: no such rule"),
        ("rules: [!!python/object:os.system {}]\n", "not allowed"),
    ],
)
def test_faulty_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_rules([path])
    assert message.replace("2: ", ":3: ") in str(error.value).replace(":2: ", ":3: ") or message in str(error.value)


def test_bundled_names() -> None:
    assert find_rule_file("gopher_quality") == BUNDLED / "gopher_quality.yaml"
    with pytest.raises(ConfigError, match="did you mean gopher_quality"):
        find_rule_file("gopher_qualty")
