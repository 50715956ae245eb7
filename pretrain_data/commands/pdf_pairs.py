"""`pretrain-data pdf pairs`."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from pretrain_data.commands import command, out
from pretrain_data.errors import InputError

SUFFIX_BYTES = 16  # hex digits of a PDF's hash in the names of its pages


@command("pdf pairs")
def pdf_pairs(
    source: Annotated[Path, typer.Argument(metavar="PDFS", help="A PDF or a folder of them.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to; it must not exist yet.")],
    dpi: Annotated[int, typer.Option(min=36, max=600, help="At which pages are drawn.")] = 150,
    max_pixels: Annotated[int, typer.Option(min=10_000, help="Of one page's image.")] = 8_000_000,
    min_chars: Annotated[int, typer.Option(min=1, help="Pages with less text are left out.")] = 50,
    max_pages: Annotated[int, typer.Option(min=1, help="Pages taken of one PDF.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Page images with their text, to train an OCR model on: OUT/images/*.png and OUT/pairs.jsonl.

    Example: pretrain-data pdf pairs crawl/pdf work/ocr-pairs
    """
    files = sorted(source.rglob("*.pdf")) if source.is_dir() else [source]
    if not files or not all(path.is_file() for path in files):
        raise InputError(f"{source}: no PDF there")
    if target.exists():
        raise InputError(f"{target}: is there already")
    (target / "images").mkdir(parents=True)
    counts: Counter[str] = Counter(files=len(files))
    temporary = target / ".pairs.jsonl"
    with temporary.open("w", encoding="utf-8") as pairs:
        for path in files:
            label = path.relative_to(source).as_posix() if source.is_dir() else path.name
            for pair in _pairs(path, label, target, dpi, max_pixels, min_chars, max_pages, counts):
                pairs.write(json.dumps(pair, ensure_ascii=False) + "\n")
    os.replace(temporary, target / "pairs.jsonl")
    if as_json:
        typer.echo(json.dumps(counts))
    else:
        out.print(f"{target}: " + ", ".join(f"{n} {name}" for name, n in counts.items()))


def _pairs(
    path: Path,
    label: str,
    target: Path,
    dpi: int,
    max_pixels: int,
    min_chars: int,
    max_pages: int,
    counts: Counter[str],
) -> Iterator[dict[str, object]]:
    """The pairs of one PDF; its images are written as they come. A PDF that can't be read is counted."""
    from PIL import Image

    from pretrain_data.kernels.pdf import PdfError, open_document, page_lines
    from pretrain_data.kernels.pdf_ocr import render

    body = path.read_bytes()
    stem = hashlib.sha256(body).hexdigest()[:SUFFIX_BYTES]
    try:
        document = open_document(body)
    except PdfError as error:
        counts[error.rule] += 1
        return
    try:
        for index in range(min(len(document), max_pages)):
            try:
                text = "\n".join(page_lines(document, index))
                if len(text) < min_chars:
                    counts["pages without text"] += 1
                    continue
                pixels = render(document, index, dpi, max_pixels)
            except PdfError as error:
                counts[error.rule] += 1
                continue
            name = f"images/{stem}-{index + 1:04d}.png"
            Image.fromarray(pixels[:, :, ::-1]).save(target / name)  # PDFium gives blue first
            counts["pairs"] += 1
            height, width = pixels.shape[:2]
            yield {"image": name, "text": text, "pdf": label, "page": index + 1, "width": width, "height": height}
    finally:
        document.close()
