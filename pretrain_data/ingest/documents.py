"""Rows to documents: the columns that every document has, computed from its text."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import xxhash

from pretrain_data import schema
from pretrain_data.ingest.row import Row
from pretrain_data.kernels import format, language
from pretrain_data.kernels.clean import clean
from pretrain_data.kernels.density import density
from pretrain_data.kernels.script import script
from pretrain_data.stage import Processed

#: Columns that ingest adds.
ADDS = tuple(column.name for column in schema.COLUMNS if column.stage == "ingest")


def documents(
    rows: list[Row], label: str, source: str, metrics: Counter[str], min_chars: int, keep_invisible: bool
) -> Processed:
    """Rows of the file `label`, kept and dropped ones, as a batch."""
    for row in rows:
        row.text = clean(row.text, keep_invisible)
        if row.rule is None and len(row.text.strip()) < min_chars:
            row.drop("empty", len(row.text.strip()), min_chars)
    texts = [row.text for row in rows]
    values = {
        "doc_id": [document_id(source, label, row.place, row.text) for row in rows],
        "source_id": [clean(row.source_id) for row in rows],
        "source": [source] * len(rows),
        "url": [row.url and clean(row.url) for row in rows],
        "crawl_date": [row.fetched for row in rows],
        "title": [row.title and clean(row.title) for row in rows],
        "author": [row.author and clean(row.author) for row in rows],
        "published": [row.published for row in rows],
        "text": texts,
        "origin": [f"{label}#{row.place}" for row in rows],
        "format": [format.detect(row.text, row.format_hint) for row in rows],
        "code_language": [row.code_language for row in rows],
    }
    columns = {name: pa.array(listed, schema.BY_NAME[name].type) for name, listed in values.items()}
    batch = pa.RecordBatch.from_pydict(columns | judged(texts))
    return Processed(
        batch,
        rule=pa.array([row.rule for row in rows], pa.string()),
        value=pa.array([row.value for row in rows], pa.float64()),
        threshold=pa.array([row.threshold for row in rows], pa.float64()),
        kept_id=pa.array([row.kept_id for row in rows], pa.string()),
        detail=pa.array([row.detail and clean(row.detail) for row in rows], pa.string()),
        metrics=metrics,
    )


def completed(processed: Processed, source: str, min_chars: int, keep_invisible: bool) -> Processed:
    """Rows that are documents already, with the columns that they lack."""
    batch = processed.batch
    texts = [clean(t or "", keep_invisible) for t in batch.column("text").to_pylist()]
    rule = processed.rule.to_pylist() if processed.rule is not None else [None] * len(texts)
    rule = [r or (None if len(t) >= min_chars else "empty") for r, t in zip(rule, texts, strict=True)]
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    made = judged(texts) | {
        "source": pa.array([source] * len(texts), pa.string()),
        "format": pa.array([format.detect(t) for t in texts], pa.string()),
    }
    for name in ADDS:
        columns.setdefault(name, made[name] if name in made else pa.nulls(len(texts), schema.BY_NAME[name].type))
    columns["text"] = pa.array(texts, pa.large_string())
    return Processed(pa.RecordBatch.from_pydict(columns), rule=pa.array(rule, pa.string()), detail=processed.detail)


def judged(texts: list[str]) -> dict[str, pa.Array]:
    """Language, script and density of each text."""
    profiles = [language.profile(text) for text in texts]
    values = {
        "lang": [p.code for p in profiles],
        "lang_score": [p.score for p in profiles],
        "script": [script(t) if p.code == "zh" else None for p, t in zip(profiles, texts, strict=True)],
        "zh_share": [p.zh for p in profiles],
        "en_share": [p.en for p in profiles],
        "density": [density(text) for text in texts],
    }
    return {name: pa.array(listed, schema.BY_NAME[name].type) for name, listed in values.items()}


def document_id(source: str, label: str, place: str, text: str) -> str:
    """XXH3-128 of where a document came from and what it says, as 32 hex digits."""
    return xxhash.xxh3_128_hexdigest("\0".join((source, label, place, text)).encode())
