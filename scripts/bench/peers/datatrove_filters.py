"""What datatrove's four English filters decide, in an environment of its own; run by rules.py and rules_agreement.py.

    python datatrove_filters.py TEXTS_PARQUET OUT_JSON

Thresholds are the published ones, which are its defaults but for FineWeb's share of duplicated characters
(0.1 in the paper, 0.01 in the code). Seconds are CPU seconds of the filters alone.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

FILTERS = {
    "gopher_quality": GopherQualityFilter(),
    "gopher_repetition": GopherRepetitionFilter(),
    "c4": C4QualityFilter(),
    "fineweb": FineWebQualityFilter(char_duplicates_ratio=0.1),
}


def main() -> None:
    texts = pq.read_table(sys.argv[1])["text"].to_pylist()
    result: dict[str, dict[str, object]] = {"seconds": {}, "reasons": {}}
    for name, one in FILTERS.items():
        one.filter(Document(text="A first sentence loads what it needs.", id="warm"))
        started, reasons = time.process_time(), []
        for i, text in enumerate(texts):
            try:
                verdict = one.filter(Document(text=text, id=str(i)))
            except Exception as error:  # as its pipeline would end: the document has no verdict
                verdict = (False, f"error: {type(error).__name__}")
            reasons.append(None if verdict is True else "drop" if verdict is False else verdict[1])
        result["seconds"][name] = time.process_time() - started
        result["reasons"][name] = reasons
    Path(sys.argv[2]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
