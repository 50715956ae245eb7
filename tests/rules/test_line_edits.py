"""Line rules: what goes, what stays, that nothing goes silently, and that batches don't matter."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.stage import Shard
from pretrain_data.stages.rules import Rules, RulesConfig

EN = "The council voted on Tuesday to close the old bridge for repairs, and work on it begins in the spring. " * 12
ZH = "市议会星期二投票决定关闭旧桥进行维修，工程将于春季开始，预计需要十八个月才能完成。" * 15


def run(
    rules: Rules, *texts: str, split: int = 0, **columns: str
) -> tuple[list[str], list[str | None], dict[str, float]]:
    data = {"text": pa.array(texts, pa.large_string())}
    data |= {name: pa.array([value] * len(texts)) for name, value in columns.items()}
    batches = pa.table(data).to_batches(max_chunksize=split or len(texts))
    done = list(rules.process(iter(batches), Shard("s", ())))
    metrics: dict[str, float] = {}
    for one in done:
        for name, value in one.metrics.items():
            metrics[name] = metrics.get(name, 0) + value
    out = [t for one in done for t in one.batch.column("text").to_pylist()]
    return out, [r for one in done for r in one.rule.to_pylist()], metrics


def refined() -> Rules:
    return Rules(RulesConfig(files=["refinedweb_lines"], audit=False))


@pytest.mark.parametrize(
    ("text", "line", "name"),
    [
        (EN, "SUBSCRIBE TO OUR PAPER AND SAVE", "line_upper_case"),
        (EN, "1234 5678", "line_digits"),
        (EN, "3 likes", "line_counter"),
        (EN, "1,204 Comments", "line_counter"),
        (EN, "Advertisement", "line_one_word"),
        (EN, "Skip to main content", "line_navigation"),
        (ZH, "阅读 1234", "line_counter"),
        (ZH, "浏览 88 评论 3", "line_counter"),
        (ZH, "上一篇：春季工程公告", "line_navigation"),
        (ZH, "上一篇：春季工程說明", "line_navigation"),
        (ZH, "２０２６", "line_digits"),
        (EN + "\n" + ZH, "返回首页", "line_navigation"),
    ],
)
def test_a_line_between_paragraphs_goes(text: str, line: str, name: str) -> None:
    (out,), (rule,), metrics = run(refined(), f"{text}\n{line}\n\n{text}\n")
    assert out == f"{text}\n\n{text}\n"
    assert rule is None
    assert (metrics[f"lines.{name}.lines"], metrics["lines.documents"]) == (1, 1)
    assert metrics[f"lines.{name}.chars"] == len(line)


@pytest.mark.parametrize(
    "line",
    [
        "NASA said that the launch of the rocket went well.",
        "In 2026 there were 3 likes for every comment that anybody had written on the page.",
        "Chapter two",
        "床前明月光",
        "",
        "第二章　春天",
    ],
)
@pytest.mark.parametrize("text", [EN, ZH])
def test_a_line_that_stays(text: str, line: str) -> None:
    whole = f"{text}\n{line}\n{text}\n"
    (out,), (rule,), metrics = run(refined(), whole)
    assert (out, rule) == (whole, None)
    assert not any(name.startswith("lines.") for name in metrics)


def test_what_a_page_closes_with_goes_with_the_blank_lines_between() -> None:
    tail = (
        "\nThis site uses cookies, see our privacy policy for what they do\n\nAll rights reserved, terms of use apply"
    )
    (out,), _, metrics = run(refined(), f"{EN}\n\n{EN}{tail}\n")
    assert out == f"{EN}\n\n{EN}\n"
    assert metrics["lines.tail_navigation.lines"] + metrics.get("lines.line_navigation.lines", 0) == 2


def test_a_document_that_loses_too_much_is_dropped_and_the_ledger_says_how_much() -> None:
    text = "\n".join(["One sentence of this page is really worth reading."] + ["Skip to main content"] * 4)
    rules = Rules(RulesConfig(files=["refinedweb_lines"], audit=False))
    batch = pa.record_batch({"text": pa.array([text])})
    (done,) = rules.process(iter([batch]), Shard("s", ()))
    lost = done.value.to_pylist()[0]
    assert done.rule.to_pylist() == ["lines_removed"]
    assert done.threshold.to_pylist() == [0.05]
    assert lost == pytest.approx(16 / 25)  # 9 words stay


def test_other_formats_are_left_alone() -> None:
    code = "MAX = 1\nX\n3 likes\n" * 5
    (out,), _, metrics = run(refined(), code, format="code")
    assert out == code
    assert not any(name.startswith("lines.") for name in metrics)


def test_signals_are_those_of_the_text_that_stays() -> None:
    rules = refined()
    batch = pa.record_batch({"text": pa.array([f"{EN}\n3 likes\n", EN + "\n", None])})
    (done,) = rules.process(iter([batch]), Shard("s", ()))
    one, two, three = done.batch.column("signals").to_pylist()
    assert one == two
    assert three["chars"] == 0


LINES = st.sampled_from(
    ["Home page", "3 likes", "阅读 12", "", "  ", "A sentence that stays where it is.", "一句留下来的话。", "上一篇"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(LINES, max_size=8).map("\n".join), min_size=1, max_size=6), st.integers(1, 6))
def test_batches_do_not_matter_and_a_second_run_takes_nothing(texts: list[str], split: int) -> None:
    rules = refined()
    out, dropped, metrics = run(rules, *texts)
    again = run(rules, *texts, split=split)
    assert again == (out, dropped, metrics)
    assert run(rules, *out)[0] == out


def test_head_and_tail_like_a_plain_walk(tmp_path: Path) -> None:
    for at in ("head", "tail"):
        path = tmp_path / f"{at}.yaml"
        path.write_text(f"lines:\n  - {{name: x, at: {at}, drop_if: signals.curly_braces > 0}}\n")
        rules = Rules(RulesConfig(files=[path], audit=False))
        texts = ["{\n\n{\na\n{\n \n{\n", "{\n{", "a\n{", "{\na", "\n\n", "a", ""]
        for text, out in zip(texts, run(rules, *texts)[0], strict=True):
            assert out == walk(text, at), (at, text)


def walk(text: str, at: str) -> str:
    lines = text.splitlines(keepends=True)
    if at == "tail":
        lines.reverse()
    last = -1
    for i, line in enumerate(lines):
        if line.strip() and "{" not in line:
            break
        if "{" in line:
            last = i
    lines = lines[last + 1 :]
    return "".join(lines if at == "head" else reversed(lines))


def test_faults_are_told_with_file_and_rule(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("lines:\n  - {name: x, drop_if: signals.word < 2}\n")
    with pytest.raises(ValueError, match=r"bad\.yaml: line rule x: unknown signal signals\.word; did you mean"):
        RulesConfig(files=[path])
