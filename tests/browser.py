"""A page in headless Chromium that notes whatever goes wrong; tests are skipped where Chromium is absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Watched:
    """A page, and what its console and its scripts complained of."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def open_page(url: str, **context: Any) -> Iterator[Watched]:
    """Open `url`; dialogs, errors, console warnings and requests are noted."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            watched = Watched(browser.new_context(**context).new_page())
            page = watched.page
            page.set_default_timeout(120_000)  # a busy machine is slow, not wrong
            page.on("console", lambda m: watched.complaints.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: watched.complaints.append(str(error)))
            page.on("dialog", lambda dialog: (watched.complaints.append(dialog.message), dialog.dismiss()))
            page.on("request", lambda request: watched.requests.append(request.url))
            page.goto(url)
            yield watched
        finally:
            browser.close()
