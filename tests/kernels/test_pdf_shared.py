"""PDFs of the shared data: how much of their text comes out, and that trouble is a counted error."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from pretrain_data.kernels import pdf, pdf_ocr

#: File: least share of the truth's letters and digits found, and least F1 of bags of four of them. The truth is
#: the same manual as plain text: where its tables and lists are laid out otherwise, no reader reaches 1.
TRUTH = {
    "debian_maint-guide.en.pdf": (0.98, 0.95),
    "debian_maint-guide.zh-cn.pdf": (0.98, 0.93),
    "debian_maint-guide.ru.pdf": (0.98, 0.945),
    "debian_developers-reference.pdf": (0.98, 0.98),
    "debian_debian-faq.en.pdf": (0.98, 0.95),
    "docling_code_and_formula.pdf": (0.98, 0.97),
    "docling_normal_4pages.pdf": (0.98, 0.95),
}
ERRORS = {
    "corrupt_truncated.pdf": "pdf_broken",
    "corrupt_html_as.pdf": "pdf_broken",
    "corrupt_empty.pdf": "pdf_broken",
    "ocrmypdf_invalid.pdf": "pdf_broken",
    "ocrmypdf_hugemono.pdf": "pdf_no_text",
    "ocrmypdf_type3_font_nomapping.pdf": "pdf_no_text",
    "pypdf_libreoffice-writer-password.pdf": "pdf_encrypted",
    "pdfminer_aes-128.pdf": "pdf_encrypted",
    "pdfminer_aes-256-r6.pdf": "pdf_encrypted",
    "mineru_small_ocr.pdf": "pdf_no_text",
}


def bag(text: str, size: int) -> Counter[str]:
    letters = re.sub(r"[\W_]+", "", text)
    return Counter(letters[i : i + size] for i in range(len(letters) - size + 1))


@pytest.mark.parametrize("name", TRUTH)
def test_born_digital(shared_data: Path, name: str) -> None:
    with gzip.open(shared_data / "crawl_gold/pdf_truth.jsonl.gz", "rt", encoding="utf-8") as lines:
        truth = next(row["text"] for row in map(json.loads, lines) if row["file"] == name)
    found = pdf.extract((shared_data / "crawl_gold/pdf" / name).read_bytes(), 2000).text
    recall, f1 = TRUTH[name]
    wanted = bag(truth, 1)
    assert (wanted & bag(found, 1)).total() >= recall * wanted.total()
    wanted, got = bag(truth, 4), bag(found, 4)
    assert 2 * (wanted & got).total() >= f1 * (wanted.total() + got.total())


@pytest.mark.parametrize("name", ERRORS)
def test_trouble_is_counted(shared_data: Path, name: str) -> None:
    with pytest.raises(pdf.PdfError) as error:
        pdf.extract((shared_data / "crawl_gold/pdf" / name).read_bytes(), 2000)
    assert error.value.rule == ERRORS[name]


def test_bounds(shared_data: Path) -> None:
    body = (shared_data / "crawl_gold/pdf/debian_maint-guide.en.pdf").read_bytes()
    whole, short = pdf.extract(body, 2000), pdf.extract(body, 3)
    assert (whole.cut, short.cut, short.pages) == (False, True, whole.pages)
    assert pdf.extract(body, 2000, max_chars=20_000).cut
    document = pdf.open_document((shared_data / "crawl_gold/pdf/ocrmypdf_hugemono.pdf").read_bytes())
    height, width, _ = pdf_ocr.render(document, 0, 600, 100_000).shape
    document.close()
    assert height * width <= 110_000, "a page that claims to be huge is drawn within the bound"


@pytest.mark.skipif("PRETRAIN_DATA_SLOW" not in os.environ, reason="10 CPU seconds a page: set PRETRAIN_DATA_SLOW")
def test_scans_are_read(shared_data: Path) -> None:
    pytest.importorskip("rapidocr")
    pytest.importorskip("onnxruntime")
    body = (shared_data / "crawl/pdf/maint-guide.zh-cn.scanned.pdf").read_bytes()
    found = pdf_ocr.read(body, 1, dpi=130, max_pixels=4_000_000, seconds=60)
    with (shared_data / "crawl/pdf_truth.jsonl").open(encoding="utf-8") as lines:
        truth = next(r["text"] for r in map(json.loads, lines) if r["file"] == "maint-guide.zh-cn.scanned.pdf")
    got = bag(found.text, 4)
    assert found.cut
    assert got.total() > 500
    assert (got & bag(truth, 4)).total() >= 0.9 * got.total(), "of what is read on one page, what stands there"
