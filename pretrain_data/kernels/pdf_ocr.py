"""Text of scanned pages, read by PP-OCR through rapidocr (an optional dependency; it carries its models).

Each page is rendered within a bound on its pixels, whatever size it claims to have.
"""

from __future__ import annotations

import importlib.util
import math
import time
from functools import cache
from typing import Any

import pypdfium2 as pdfium

from pretrain_data.errors import InputError
from pretrain_data.kernels.pdf import Pdf, PdfError, open_document
from pretrain_data.kernels.pdf_layout import running_text

POINTS_AN_INCH = 72


def installed() -> bool:
    """Whether rapidocr and its runtime are there."""
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


def read(body: bytes, max_pages: int, dpi: int, max_pixels: int, seconds: float) -> Pdf:
    """Text of the first `max_pages` pages as seen at `dpi`. Raises PdfError.

    A page is never drawn with more than `max_pixels` pixels; when `seconds` of CPU time have gone by, the
    pages that are left are left out and `cut` says so.
    """
    document = open_document(body)
    try:
        pages: list[list[str]] = []
        begin = time.process_time()
        for index in range(min(len(document), max_pages)):
            if pages and time.process_time() - begin > seconds:
                break
            pages.append(_page(document, index, dpi, max_pixels))
        count = len(document)
    finally:
        document.close()
    text = "\n\n".join(t for t in running_text(pages) if t)
    if not text:
        raise PdfError("pdf_no_text", f"nothing was read on {len(pages)} pages")
    return Pdf(text, None, count, len(pages) < count)


def render(document: pdfium.PdfDocument, index: int, dpi: int, max_pixels: int) -> Any:
    """A page as an image (NumPy, height x width x 3, uint8) of at most `max_pixels`. Raises PdfError."""
    try:
        page = document[index]
        try:
            width, height = page.get_size()
            wanted = dpi / POINTS_AN_INCH
            scale = min(wanted, math.sqrt(max_pixels / max(1.0, width * height)))
            return page.render(scale=scale, rev_byteorder=False).to_numpy()[:, :, :3].copy()
        finally:
            page.close()
    except (pdfium.PdfiumError, ValueError) as error:
        raise PdfError("pdf_broken", f"page {index + 1}: {error}") from None


def _page(document: pdfium.PdfDocument, index: int, dpi: int, max_pixels: int) -> list[str]:
    found = _engine()(render(document, index, dpi, max_pixels))
    if found.boxes is None or found.txts is None:
        return []
    return _rows([(box.tolist(), text) for box, text in zip(found.boxes, found.txts, strict=True)])


def _rows(boxes: list[tuple[list[list[float]], str]]) -> list[str]:
    """Boxes that overlap in height by half are one line, from left to right."""
    rows: list[tuple[float, float, list[tuple[float, str]]]] = []
    for corners, text in boxes:
        top, bottom = min(y for _, y in corners), max(y for _, y in corners)
        left = min(x for x, _ in corners)
        if rows:
            above, below, parts = rows[-1]
            overlap = min(bottom, below) - max(top, above)
            if overlap > 0.5 * min(bottom - top, below - above) and left > parts[-1][0]:
                parts.append((left, text))
                continue
        rows.append((top, bottom, [(left, text)]))
    return [" ".join(text for _, text in parts) for _, _, parts in rows]


@cache
def _engine() -> Any:
    if not installed():
        raise InputError("ocr: local needs rapidocr and onnxruntime: pip install rapidocr onnxruntime")
    from rapidocr import RapidOCR

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    return RapidOCR(params={"Global.log_level": "critical", **threads})
