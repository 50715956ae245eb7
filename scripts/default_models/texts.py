"""Collects the labelled texts that the carried models are trained on, beside those labelled by hand already.

    apt-get download dict-foldoc miscfiles r-cran-janeaustenr r-cran-tm fortunes
    pip download --no-deps gensim==4.4.0; npm pack spdx-license-list@6.12.0
    python scripts/default_models/texts.py --packages FOLDER [--crawl CRAWL] --out TEXTS.parquet

Writes columns text, lang, source, domain, label (high | low), null where unknown. From packages: Wikipedia articles and
ABC news (gensim's test data), Reuters news of 1987 (tm's examples, research use), FOLDOC (GFDL), Jane Austen (public
domain), verse, the US constitution, licences (the SPDX list, CC0, and those of the installed wheels). CRAWL is a folder
of WARCs with extraction_truth.jsonl.gz, human main text by page: see pages.py.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import json
import re
import subprocess
import sysconfig
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pages
import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]
CHUNK = 1500  # characters of a text cut from a longer one


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", required=True, type=Path)
    parser.add_argument("--crawl", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    rows = list(_packages(args.packages))
    if args.crawl:
        rows += pages.rows(args.crawl)
    for row in rows:
        row["text"] = row["text"].strip()
    rows = [r for r in rows if len(r["text"]) >= 40]
    schema = pa.schema([(name, pa.string()) for name in ("text", "lang", "source", "domain", "label")])
    pq.write_table(pa.Table.from_pylist(rows, schema), args.out)
    counts: dict[tuple[Any, ...], int] = {}
    for r in rows:
        key = (r["lang"], r["source"], r.get("domain"), r.get("label"))
        counts[key] = counts.get(key, 0) + 1
    for key, n in sorted(counts.items(), key=str):
        print(*key, n)


# --- packages ---------------------------------------------------------------------------------


def _packages(folder: Path) -> Iterator[Row]:
    wheel = zipfile.ZipFile(next(folder.glob("gensim-*.whl")))
    data = "gensim/test/test_data/"
    for line in wheel.read(data + "lee_background.cor").decode("utf-8", "replace").splitlines():
        yield _row(line, "lee-background", "news")
    dump = next(n for n in wheel.namelist() if n.startswith(data + "enwiki-latest-pages-articles1"))
    for page in re.findall(r"<text[^>]*>(.*?)</text>", bz2.decompress(wheel.read(dump)).decode(), re.S):
        text = _wikitext(page)
        if len(text) > 300:
            yield from _chunks(text, "enwiki-gensim", "encyclopedia", most=6)
    with tempfile.TemporaryDirectory() as unpacked:
        root = Path(unpacked)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        foldoc = gzip.decompress(next(root.rglob("foldoc.dict.dz")).read_bytes()).decode("utf-8", "replace")
        for entry in re.split(r"\n(?=\S)", foldoc):
            if len(entry) > 500:
                yield _row(re.sub(r"\s*\n\s*", " ", entry).replace("{", "").replace("}", ""), "foldoc", "encyclopedia")
        for name in ("us-constitution", "us-declaration"):
            text = gzip.decompress(next(root.rglob(name + ".gz")).read_bytes()).decode("latin-1")
            yield from _chunks(text, "us-constitution", "legal")
        for text in _r_strings(next(root.rglob("janeaustenr/data/Rdata.rdb")).read_bytes()):
            yield from _chunks(text, "janeausten", "literature", most=200)
        for path in sorted(root.glob("usr/lib/R/site-library/tm/texts/*/*.xml")):
            title, body = (ElementTree.parse(path).findtext(f"TEXT/{part}") or "" for part in ("TITLE", "BODY"))
            yield _row(f"{title}\n{body.removesuffix('Reuter')}", "reuters", "news", label=None)
        songs = next(root.rglob("fortunes/songs-poems")).read_text(errors="replace")
        for verse in songs.split("\n%\n"):
            if len(verse) > 200:
                yield _row(verse, "fortunes-verse", "literature")
    with tarfile.open(next(folder.glob("spdx-license-list-*.tgz"))) as archive:
        for member in archive.getmembers():
            if fnmatch(member.name, "package/licenses/*.json") and (file := archive.extractfile(member)):
                yield from _chunks(json.load(file)["licenseText"], "spdx", "legal", most=3, label=None)
    for path in sorted(Path(sysconfig.get_path("purelib")).glob("*.dist-info/**/*")):
        if re.match("licen[sc]e|copying|notice", path.name, re.I) and path.is_file():
            text = path.read_text(errors="replace")
            yield from _chunks(text, "wheel-licences", "legal", most=3, label=None)
    for path in sorted(Path("/usr/share/common-licenses").iterdir()):
        if not path.is_symlink():
            yield from _chunks(path.read_text(errors="replace"), "common-licences", "legal")


def _row(text: str, source: str, domain: str | None, lang: str = "en", label: str | None = "high") -> Row:
    return {"text": text, "lang": lang, "source": source, "domain": domain, "label": label}


def _chunks(text: str, source: str, domain: str, most: int = 10**9, label: str | None = "high") -> Iterator[Row]:
    """Pieces of about CHUNK characters that end where a paragraph does."""
    piece, count = "", 0
    for paragraph in re.split(r"\n\s*\n", text):
        piece += paragraph.strip("\n") + "\n\n"
        if len(piece) >= CHUNK:
            yield _row(piece[: 2 * CHUNK], source, domain, label=label)
            piece, count = "", count + 1
            if count == most:
                return
    if len(piece) > 200:
        yield _row(piece, source, domain, label=label)


def _wikitext(page: str) -> str:
    page = re.sub(r"&lt;ref.*?(/&gt;|&lt;/ref&gt;)|&lt;!--.*?--&gt;|&lt;.*?&gt;", "", page, flags=re.S)
    for _ in range(4):
        page = re.sub(r"\{\{[^{}]*\}\}|\{\|[^{}]*?\|\}", "", page, flags=re.S)
    page = re.sub(r"\[\[(?:File|Image|Category)[^\[\]]*(?:\[\[[^\]]*\]\][^\[\]]*)*\]\]", "", page)
    page = re.sub(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", r"\1", page)
    page = re.sub(r"'{2,}|^[=*#:|!].*$|\[https?:[^\]]*\]", "", page, flags=re.M)
    return re.sub(r"\n{2,}", "\n\n", page.replace("&quot;", '"').replace("&amp;", "&")).strip()


def _r_strings(data: bytes) -> Iterator[str]:
    """The books in R's lazy-load database: zlib or xz streams of serialised character vectors, a line an element."""
    import lzma

    at = 0
    while at + 4 < len(data):
        start = data.find(b"x\x9c", at)
        other = data.find(b"\xfd7zXZ", at)
        if start < 0 and other < 0:
            return
        found = min(s for s in (start, other) if s >= 0)
        engine: Any = zlib.decompressobj() if found == start else lzma.LZMADecompressor()
        try:
            raw = engine.decompress(data[found:])
        except (zlib.error, lzma.LZMAError):
            at = found + 2
            continue
        at = len(data) - len(engine.unused_data)
        lines, place = [], 0
        while place + 8 <= len(raw):
            if raw[place : place + 4] in (b"\x00\x04\x00\x09", b"\x00\x00\x80\x09", b"\x00\x00\x00\x09"):
                size = int.from_bytes(raw[place + 4 : place + 8], "big")
                if size < 500:
                    lines.append(raw[place + 8 : place + 8 + size].decode("utf-8", "replace"))
                    place += 8 + size
                    continue
            place += 4
        if len(lines) > 1000:
            yield "\n".join(lines)


if __name__ == "__main__":
    main()
