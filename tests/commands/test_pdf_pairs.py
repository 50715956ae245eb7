"""`pdf pairs`: every page with text has its image and its text, and trouble is counted."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from pretrain_data import cli

#: A page of 200 x 100 points that shows the words below in Helvetica.
WORDS = "Pairs of page images and their text."


def minimal_pdf(words: str) -> bytes:
    content = f"BT /F1 10 Tf 10 50 Td ({words}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n" % len(content) + content + b"\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, places = b"%PDF-1.4\n", []
    for number, value in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj" % number + value + b"endobj\n"
    table = b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return body + table + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(body)


def test_pairs(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.pdf").write_bytes(minimal_pdf(WORDS))
    (source / "b.pdf").write_bytes(minimal_pdf("short"))
    (source / "c.pdf").write_bytes(b"no PDF")
    target = tmp_path / "out"
    options = ["--min-chars", "20", "--dpi", "144", "--json"]
    done = CliRunner().invoke(cli.app, ["pdf", "pairs", str(source), str(target), *options])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == {"files": 3, "pairs": 1, "pages without text": 1, "pdf_broken": 1}
    (pair,) = [json.loads(line) for line in (target / "pairs.jsonl").read_text().splitlines()]
    assert pair["text"] == WORDS
    assert (pair["pdf"], pair["page"], pair["width"], pair["height"]) == ("a.pdf", 1, 400, 200)
    assert (target / pair["image"]).read_bytes()[:4] == b"\x89PNG"
