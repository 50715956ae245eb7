"""The report in headless Chromium: hostile documents stay text; switch, sort, filter, theme and print work."""

from __future__ import annotations

import pytest
from browser import open_page
from hostile_workspace import STAGES, hostile, write

from pretrain_data.report.page import write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("reports")
    old = write(root / "old", hostile(), dropped_every=4)
    return write_report(write(root / "new", hostile()), STAGES, old, 2.0).as_uri()


def column(page: object, section: str, number: int) -> list[str]:
    found: list[str] = page.eval_on_selector_all(  # type: ignore[attr-defined]
        f"#{section} tbody tr td:nth-child({number})", "cells => cells.map(c => c.textContent)"
    )
    return found


def test_hostile_documents_stay_text(report: str) -> None:
    with open_page(report, locale="en-US", viewport={"width": 390, "height": 844}) as watched:
        page = watched.page
        page.wait_for_selector("#samples .card")
        assert page.evaluate("window.hacked") is None
        assert page.evaluate("document.querySelectorAll('script').length") == 5
        assert page.evaluate("document.querySelectorAll('iframe, img, #page a:not(nav a)').length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") == 390, "nothing is wider than the phone"
        assert page.evaluate("Math.max(...[...document.querySelectorAll('.card')].map(c => c.offsetHeight))") < 700
        # Even a script that gets into the page does not run: its hash is not one of ours.
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'hacked = 12'}))")
        assert page.evaluate("window.hacked") is None
        assert [c for c in watched.complaints if "Content Security Policy" not in c] == []
        assert len(watched.complaints) == 1, "that of the script just put in"
        assert watched.requests == [report]


def test_switch_sort_filter_theme_and_print(report: str) -> None:
    with open_page(report, locale="en-US", viewport={"width": 1200, "height": 900}) as watched:
        page = watched.page
        page.wait_for_selector("#rules tbody tr")
        assert page.text_content("#funnel h2") == "Funnel"
        assert page.eval_on_selector_all("#funnel .chart svg", "found => found.length") == 1
        page.click("#rules th:nth-child(3) button")
        assert column(page, "rules", 3) == ["34", "33", "33"]
        page.click("#rules th:nth-child(3) button")
        assert column(page, "rules", 3) == ["33", "33", "34"]
        page.fill("#rules input", "rule_1")
        assert column(page, "rules", 2) == ["rule_1<b>"]
        page.click("#language")
        assert page.text_content("#funnel h2") == "漏斗"
        assert page.get_attribute("html", "lang") == "zh-CN"
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        page.select_option("#samples select >> nth=1", "kept")
        assert set(page.eval_on_selector_all("#samples .tag", "tags => tags.map(t => t.textContent)")) == {"保留"}
        assert len(page.pdf()) > 10_000
        assert page.text_content("#comparison h3") == "各阶段保留的文档"
        assert watched.complaints == []


def test_rows_are_found_by_what_is_shown_and_samples_by_steps(report: str) -> None:
    with open_page(report, locale="zh-CN", viewport={"width": 1200, "height": 900}) as watched:
        page = watched.page
        page.wait_for_selector("#rules tbody tr")
        page.fill("#rules input", "17%")  # 34 of 200
        assert column(page, "rules", 2) == ["rule_0<b>"]
        # Of 200 documents every stage shows some; the button brings those beyond the first forty.
        before = page.locator("#samples .card").count()
        told = page.text_content("#samples > div:last-child p")
        assert before == 40 or page.locator("#samples .more").count() == 0, told
        while page.locator("#samples .more").count():
            page.click("#samples .more")
        assert page.locator("#samples .card").count() == page.evaluate("data.samples.length")
        assert watched.complaints == []


@pytest.mark.parametrize("width", [390, 1200])
def test_labels_stand_apart_and_inside(report: str, width: int) -> None:
    with open_page(report, locale="en-US", viewport={"width": width, "height": 900}) as watched:
        page = watched.page
        page.wait_for_selector("#funnel svg")
        boxes = page.evaluate(
            """() => [...document.querySelectorAll('#funnel svg text, #rules svg text')].map((one) => {
                const box = one.getBoundingClientRect(), svg = one.closest('svg').getBoundingClientRect();
                return [box.left - svg.left, box.top, svg.right - box.right, box.bottom, one.textContent];
            })"""
        )
        assert len(boxes) > 10
        assert [b[4] for b in boxes if b[0] < -1 or b[2] < -1] == [], "cut off at the side"
        lines = [b for b in boxes if b[3] > b[1]]
        covered = [
            (a[4], b[4])
            for i, a in enumerate(lines)
            for b in lines[i + 1 :]
            if abs(a[0] - b[0]) < 1 and min(a[3], b[3]) - max(a[1], b[1]) > 0.25 * (a[3] - a[1])
        ]
        assert covered == [], "one line over another"
        if width == 1200:
            assert page.evaluate(
                "(() => { const n = document.querySelector('nav'); return n.scrollWidth <= n.clientWidth; })()"
            )
        assert watched.complaints == []


def test_what_drops_most_is_drawn_whatever_its_stage(report: str) -> None:
    with open_page(report, locale="en-US", viewport={"width": 1200, "height": 900}) as watched:
        page = watched.page
        page.wait_for_selector("#rules tbody tr")
        drawn = """(stage) => {
            const rest = { chars: 0, share: 0, fires: null, alone: null };
            data.rules = [...Array(40)].map((_, i) => ({ stage: "rules", rule: "r" + i, documents: 40 - i, ...rest }));
            data.rules.push({ stage: "dedup", rule: "near", documents: 500, ...rest });
            render();
            const select = document.querySelector("#rules select");
            select.value = stage;
            select.dispatchEvent(new Event("change"));
            return charts.filter((c) => c.box.isConnected && c.box.closest("#rules"))[0].option().yAxis.data;
        }"""
        assert page.evaluate(drawn, "*") == [*(f"rules: r{i}" for i in range(29)), "dedup: near"]
        assert page.evaluate(drawn, "dedup") == ["dedup: near"]
        assert watched.complaints == []


def test_score_distributions_by_hand(report: str) -> None:
    with open_page(report, locale="en-US", viewport={"width": 1200, "height": 900}) as watched:
        page = watched.page
        page.wait_for_selector("#rules tbody tr")
        counts = [0] * 25
        counts[4], counts[5], counts[24] = 1, 2, 7  # 0.16 … 0.2, 0.2 … 0.24 and the highest
        found = {"documents": 10, "bins": 25, "by": {"lang": [{"value": "zh<b>", "counts": counts}]}}
        page.evaluate("(found) => { data.scores = found; render(); }", found)
        shown = page.eval_on_selector_all("#scores td", "cells => cells.map(c => c.textContent)")
        assert shown == ["zh<b>", "10", "10%", "30%", "30%", "30%"]
        cells = page.evaluate("charts.filter((c) => c.box.closest('#scores'))[0].option().series[0].data")
        assert [(c["value"][0], c["about"]) for c in cells] == [
            (4, "zh<b>\n0.16 … 0.2: 1 (10%)"),
            (5, "zh<b>\n0.2 … 0.24: 2 (20%)"),
            (24, "zh<b>\n0.96 … 1: 7 (70%)"),
        ]
        assert watched.complaints == []
