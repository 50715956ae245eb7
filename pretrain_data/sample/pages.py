"""The written pages: read from pages/, completed with what is planted in them, and their variants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import yaml

from pretrain_data.sample.planted import edited, values

#: Page, number of edits: near-duplicates of a base page at several similarities.
NEAR = (
    ("zh-news-01", 1), ("zh-news-02", 3), ("zh-ency-02", 2), ("zh-ency-05", 6), ("zh-tut-04", 2), ("zh-essay-02", 12),
    ("zh-qa-02", 25), ("zh-trad-01", 1), ("en-news-01", 1), ("en-news-03", 3), ("en-ency-02", 2), ("en-ency-04", 5),
    ("en-tut-04", 2), ("en-essay-01", 10), ("en-qa-02", 20), ("en-story-01", 1),
)  # fmt: skip
EXACT = ("zh-news-03", "zh-ency-04", "en-news-02", "en-ency-03")
MOJIBAKE = ("zh-news-04", "zh-ency-03", "zh-qa-03")
GARBLED = ("zh-news-05", "zh-tut-03", "zh-essay-01")
BLANK = 4


@dataclass(frozen=True)
class Written:
    """One page: its body in light markup, and what stands in it on purpose."""

    id: str
    lang: str
    domain: str
    kind: str  # base, personal, spam, near, exact, garbled, blank
    title: str
    body: str
    pii: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()
    of: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def plain(self) -> str:
        """The article without what is planted below it."""
        return "\n".join(line for line in self.body.split("\n") if line not in self.notices)

    @property
    def url(self) -> str:
        """Where the page is said to lie: one host for each kind of site."""
        host = {"news": "news", "qa": "forum", "advertisement": "shop", "encyclopedia": "wiki"}.get(self.domain, "www")
        return f"https://{host}.sample.example/{self.lang}/{self.id}.html"


def written() -> list[Written]:
    """All written pages in a fixed order."""
    base = [_with_notices(page) for name in ("zh_prose", "zh_more", "en_prose") for page in _read(name, "base")]
    personal = [_filled(page) for page in _read("personal", "personal")]
    spam = _read("spam", "spam")
    by_id = {page.id: page for page in base}
    near = [
        replace(
            by_id[name],
            id=f"{name}-near",
            kind="near",
            body=edited(by_id[name].plain, by_id[name].lang, edits, name),
            of=name,
            notices=(),
        )
        for name, edits in NEAR
    ]
    exact = [replace(by_id[name], id=f"{name}-copy", kind="exact", of=name) for name in EXACT]
    return [*base, *personal, *spam, *near, *exact, *_garbled(by_id), *_blank()]


@cache
def _notices() -> dict[str, Any]:
    text = (resources.files("pretrain_data.sample") / "pages" / "notices.yaml").read_text("utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def _read(name: str, kind: str) -> list[Written]:
    text = (resources.files("pretrain_data.sample") / "pages" / f"{name}.txt").read_text("utf-8")
    pages = []
    for part in text.split("=== ")[1:]:
        head, _, body = part.partition("\n")
        identity, lang, domain, title = (piece.strip() for piece in head.split(" | "))
        pages.append(Written(identity, lang, domain, kind, title, body.strip("\n")))
    return pages


def _with_notices(page: Written) -> Written:
    """Plant a reprint notice on every third article, and a list of references on some."""
    data = _notices()
    planted: list[str] = []
    if page.id in data["references"]["targets"]:
        planted += data["references"][page.lang]
    elif page.domain in ("news", "literature") and "poem" not in page.id:
        choices = data["reprint"][page.lang]
        planted.append(choices[sum(map(ord, page.id)) % len(choices)])
    return replace(page, body="\n".join([page.body, *planted]), notices=tuple(planted))


def _filled(page: Written) -> Written:
    found = values(page.id)
    used = [key for key in found if "{" + key + "}" in page.body]
    body = page.body
    for key in used:
        body = body.replace("{" + key + "}", found[key][1])
    return replace(page, body=body, pii=tuple(found[key] for key in used))


def _garbled(by_id: dict[str, Written]) -> list[Written]:
    out = []
    for name in MOJIBAKE:  # UTF-8 that was read as Latin-1 and written again
        body = by_id[name].plain.encode("utf-8").decode("latin-1")
        body = "".join(c if c.isprintable() or c == "\n" else "?" for c in body)
        out.append(replace(by_id[name], id=f"{name}-mojibake", kind="garbled", body=body, of=name, notices=()))
    for name in GARBLED:  # replacement characters that were saved in GBK and read again
        body = "锟斤拷".join(by_id[name].plain[i : i + 2] for i in range(0, 300, 6))
        out.append(replace(by_id[name], id=f"{name}-garbled", kind="garbled", body=body, of=name, notices=()))
    return out


def _blank() -> list[Written]:
    """Pages of hardly anything but line breaks: in training they make the loss fall."""
    body = ("\n" * 40 + "。") * 12
    return [Written(f"blank-{i}", "zh", "other", "blank", "空白页", body + str(i)) for i in range(BLANK)]
