"""Text of a born-digital PDF, page by page, through PDFium."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import date

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from pretrain_data.kernels.pdf_layout import running_text

_UNMAPPED = re.compile("[\ufffd\ue000-\uf8ff\x00-\x08\x0e-\x1f]")
_MADE = re.compile(r"D:(\d{4})(\d{2})(\d{2})")  # ISO 32000-1, 7.9.4
MAX_UNMAPPED = 0.3  # of the characters, above which a text is none
MIN_CHARS_PER_PAGE = 10  # a document with less on average is taken for scanned images


class PdfError(Exception):
    """The PDF gives no text; `rule` is pdf_encrypted, pdf_broken, pdf_no_text or pdf_no_font_map."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule

    def __reduce__(self) -> tuple[type[PdfError], tuple[str, str]]:
        return PdfError, (self.rule, str(self))


@dataclass(frozen=True)
class Pdf:
    """Text with pages parted by blank lines, the title where there is one, the number of pages."""

    text: str
    title: str | None
    pages: int
    cut: bool = False  # not all of it was read: a bound was reached
    author: str | None = None
    published: date | None = None  # when it was made, as it says itself


def extract(body: bytes, max_pages: int, max_chars: int = 20_000_000, seconds: float = 60.0) -> Pdf:
    """Running text of the first `max_pages` pages, without headers and footers. Raises PdfError.

    Bounds: `seconds` of CPU time in all, looked at after each page, and `max_chars` characters; what lies
    beyond either is left out, and `cut` says so.
    """
    document = open_document(body)
    try:
        count = len(document)
        title, author = ((document.get_metadata_value(key) or "").strip() or None for key in ("Title", "Author"))
        made = _MADE.match(document.get_metadata_value("CreationDate") or "")
        pages: list[list[str]] = []
        chars, cut, begin = 0, count > max_pages, time.process_time()
        for index in range(min(count, max_pages)):
            lines = page_lines(document, index)
            chars += sum(map(len, lines))
            if chars > max_chars or time.process_time() - begin > seconds:
                cut = True
                break
            pages.append(lines)
    finally:
        document.close()
    if chars < MIN_CHARS_PER_PAGE * max(1, len(pages)):
        raise PdfError("pdf_no_text", f"{len(pages)} pages without text: scanned images or empty")
    garbled = sum(_UNMAPPED.search(c) is not None for lines in pages for line in lines for c in line[:200])
    if garbled > MAX_UNMAPPED * chars:
        raise PdfError("pdf_no_font_map", "its fonts don't say which characters they show")
    text = "\n\n".join(t for t in running_text(pages) if t)
    return Pdf(text, title, count, cut, author, made and _day(made))


def _day(made: re.Match[str]) -> date | None:
    try:
        return date(int(made[1]), int(made[2]), int(made[3]))
    except ValueError:
        return None


def open_document(body: bytes) -> pdfium.PdfDocument:
    """The document, without reading its pages. Raises PdfError."""
    try:
        return pdfium.PdfDocument(body)
    except pdfium.PdfiumError as error:
        encrypted = raw.FPDF_GetLastError() == raw.FPDF_ERR_PASSWORD or "password" in str(error).lower()
        raise PdfError("pdf_encrypted" if encrypted else "pdf_broken", str(error)) from None


def page_lines(document: pdfium.PdfDocument, index: int) -> list[str]:
    """The lines of a page as PDFium gives them, empty ones left out. Raises PdfError."""
    try:
        page = document[index]
        try:
            textpage = page.get_textpage()
            try:
                text = textpage.get_text_bounded()
            finally:
                textpage.close()
        finally:
            page.close()
    except pdfium.PdfiumError as error:
        raise PdfError("pdf_broken", f"page {index + 1}: {error}") from None
    return [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.strip()]
