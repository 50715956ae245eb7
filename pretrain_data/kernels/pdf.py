"""Text of a born-digital PDF, page by page, through PDFium."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pypdfium2 as pdfium
import pypdfium2.raw as raw

_HYPHEN = re.compile(r"(?<=[a-z])[-\u00ad\ufffe\x02]\n(?=[a-z])")

MIN_CHARS_PER_PAGE = 10  # a document with less on average is taken for scanned images


class PdfError(Exception):
    """The PDF gives no text; `rule` is pdf_encrypted, pdf_broken or pdf_no_text."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(frozen=True)
class Pdf:
    """Text with pages parted by blank lines, the title where there is one, the number of pages."""

    text: str
    title: str | None
    pages: int


def extract(body: bytes, max_pages: int) -> Pdf:
    """Text of the first `max_pages` pages. Raises PdfError."""
    try:
        document = pdfium.PdfDocument(body)
    except pdfium.PdfiumError as error:
        encrypted = raw.FPDF_GetLastError() == raw.FPDF_ERR_PASSWORD or "password" in str(error).lower()
        raise PdfError("pdf_encrypted" if encrypted else "pdf_broken", str(error)) from None
    try:
        pages = []
        for index in range(min(len(document), max_pages)):
            try:
                page = document[index]
                pages.append(page.get_textpage().get_text_bounded())
            except pdfium.PdfiumError as error:
                raise PdfError("pdf_broken", f"page {index + 1}: {error}") from None
        title = (document.get_metadata_value("Title") or "").strip() or None
        count = len(document)
    finally:
        document.close()
    texts = [_HYPHEN.sub("", page.replace("\r\n", "\n").replace("\r", "\n")).strip() for page in pages]
    if sum(map(len, texts)) < MIN_CHARS_PER_PAGE * max(1, len(texts)):
        raise PdfError("pdf_no_text", f"{len(texts)} pages without text: scanned images or empty")
    return Pdf("\n\n".join(t for t in texts if t), title, count)
