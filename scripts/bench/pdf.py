"""Text of PDFs against the truth: recall of characters, F1 of bags of four characters, CPU time.

    python scripts/bench/pdf.py FOLDER            # with pdf/ and pdf_truth.jsonl or pdf_truth.jsonl.gz
    python scripts/bench/pdf.py FOLDER --scans    # the scanned ones too, by rapidocr: some 10 CPU seconds a page

Letters and digits count, punctuation and spaces don't. The truth is mostly the same manual as plain text, whose
tables and lists are laid out otherwise.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretrain_data.kernels import pdf, pdf_ocr


def bag(text: str, size: int) -> Counter[str]:
    """How often each run of `size` letters and digits stands in a text."""
    letters = re.sub(r"[\W_]+", "", text)
    return Counter(letters[i : i + size] for i in range(len(letters) - size + 1))


def score(truth: str, found: str) -> tuple[float, float, float]:
    """Recall of characters, recall and F1 of runs of four."""
    one, four = bag(truth, 1), bag(truth, 4)
    got = bag(found, 4)
    shared = (four & got).total()
    return (
        (one & bag(found, 1)).total() / max(1, one.total()),
        shared / max(1, four.total()),
        2 * shared / max(1, four.total() + got.total()),
    )


def truths(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of the folder's truth."""
    for path in sorted(folder.glob("pdf_truth.jsonl*")):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scans", action="store_true")
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    for row in truths(options.folder):
        if options.only not in row["file"] or not row.get("text"):
            continue
        body = (options.folder / "pdf" / row["file"]).read_bytes()
        begin = time.process_time()
        try:
            found, way = pdf.extract(body, options.pages), "text"
        except pdf.PdfError as error:
            if not options.scans:
                print(f"{row['file']:45} {error.rule}")
                continue
            found, way = pdf_ocr.read(body, options.pages, 150, 8_000_000, 3600), "scan"
        seconds = time.process_time() - begin
        recall, recall4, f1 = score(row["text"], found.text)
        pace = 1000 * seconds / max(1, found.pages)
        print(f"{row['file']:45} {way} {recall:.4f} {recall4:.4f} {f1:.4f} {found.pages:5} pages {pace:7.1f} ms a page")


if __name__ == "__main__":
    main()
