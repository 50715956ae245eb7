"""One document in the making."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass
class Row:
    """What is known of a document; with a `rule`, why it is none."""

    place: str
    source_id: str = ""
    url: str | None = None
    fetched: date | None = None
    title: str | None = None
    author: str | None = None
    published: date | None = None
    text: str = ""
    format_hint: str | None = None
    code_language: str | None = None
    rule: str | None = None
    value: float | None = None
    threshold: float | None = None
    detail: str | None = None
    kept_id: str | None = None

    def drop(
        self, rule: str, value: float | None = None, threshold: float | None = None, detail: str | None = None
    ) -> Row:
        """Itself, dropped."""
        self.rule, self.value, self.threshold, self.detail = rule, value, threshold, detail
        return self


def day(text: str) -> date | None:
    """The day that an ISO 8601 time begins with."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None
