"""The columns of a document, in one place.

A document is one row. `ingest` creates the row; each later stage adds the columns listed under its
name, edits `text` (only `pii` does, and `dedup` where it takes out repeated passages), or drops the
row into the ledger. Column order is the order here.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column: Arrow type, unit, the stage that adds it, and what it means."""

    name: str
    type: pa.DataType
    stage: str
    unit: str
    doc: str


PII_SPANS = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("type", pa.string())]))

REPEATED_SPANS = pa.list_(
    pa.struct([("start", pa.int32()), ("end", pa.int32()), ("kind", pa.string()), ("documents", pa.int64())])
)

#: `signals` is a struct whose fields are owned by `kernels.signals`; here it is only named, so that
#: adding a signal touches one file.
COLUMNS: tuple[Column, ...] = (
    Column(
        "doc_id",
        pa.string(),
        "ingest",
        "32 hex digits",
        "XXH3-128 of origin and content; stable across reruns",
    ),
    Column("source_id", pa.string(), "ingest", "", "the id the input came with (WARC-Record-ID, JSON id, path)"),
    Column("source", pa.string(), "ingest", "", "the configured name of the input this came from"),
    Column("url", pa.string(), "ingest", "", "target URI, null where there is none"),
    Column("crawl_date", pa.date32(), "ingest", "day, UTC", "when it was fetched, null where unknown"),
    Column("title", pa.string(), "ingest", "", "title, null where there is none"),
    Column("author", pa.string(), "ingest", "", "as the page or PDF says it; a name, so exported only where listed"),
    Column("published", pa.date32(), "ingest", "day", "when it was published, as it says itself"),
    Column("text", pa.large_string(), "ingest", "", "main text: valid UTF-8, NFC, no NUL; newlines are \\n"),
    Column("origin", pa.string(), "ingest", "", "file (relative to the input) and record position: FILE#OFFSET"),
    Column(
        "lang",
        pa.string(),
        "ingest",
        "ISO 639-1",
        "main language; zh covers both scripts; und where undecided",
    ),
    Column("lang_score", pa.float32(), "ingest", "0..1", "confidence in lang"),
    Column("script", pa.string(), "ingest", "hans|hant|mixed", "script of a Chinese text; null where none tells"),
    Column("zh_share", pa.float32(), "ingest", "0..1", "Chinese letters of all; a Chinese character weighs three"),
    Column("en_share", pa.float32(), "ingest", "0..1", "English letters of all; the rest is in other languages"),
    Column("density", pa.float32(), "ingest", "bytes/character", "deflated size of its head; low: repeats itself"),
    Column("format", pa.string(), "ingest", "prose|code|markdown|latex|data", "what kind of text it is"),
    Column("code_language", pa.string(), "ingest", "", "programming language of a source file, by name and content"),
    Column("signals", pa.struct([]), "rules", "", "document signals, see kernels.signals"),
    Column("quality_score", pa.float32(), "quality", "0..1", "encoder score; null for formats it must not judge"),
    Column("pii_spans", PII_SPANS, "pii", "code points of the text before scrubbing", "what was found and where"),
    Column("cluster_id", pa.string(), "dedup", "", "doc_id of the cluster's survivor; own doc_id when alone"),
    Column(
        "similar_group",
        pa.string(),
        "dedup",
        "",
        "looser cluster at the spacing threshold; kept apart by mix",
    ),
    Column(
        "repeated_spans",
        REPEATED_SPANS,
        "dedup",
        "code points of the text before",
        "lines, paragraphs and substrings taken out because so many documents have them; where dedup.passages is set",
    ),
    Column("domain", pa.string(), "classify", "", "domain label of the taxonomy; `other` where unsure"),
    Column("domain_score", pa.float32(), "classify", "0..1", "confidence in domain"),
    Column(
        "domains",
        pa.list_(pa.string()),
        "classify",
        "",
        "all it may be, likeliest first: one where the model is sure, none where it abstains",
    ),
    Column(
        "channel",
        pa.string(),
        "classify",
        "",
        "training loss group: zh-knowledge, en-knowledge, code, math, ...",
    ),
    Column("tokens", pa.int32(), "mix", "tokens", "length under the training tokenizer"),
    Column(
        "positions",
        pa.list_(pa.float64()),
        "mix",
        "phase + place in [0, 1)",
        "one for each use of it in the training order",
    ),
    Column("uses_before", pa.int32(), "mix", "uses", "how often it stands in blocks that were handed out before"),
)

BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}

#: The ledger: one row for each dropped document.
DROPPED = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("source_id", pa.string()),
        pa.field("url", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),  # what dropped it
        pa.field("value", pa.float64()),  # the measured value, null where the rule has none
        pa.field("threshold", pa.float64()),  # what it was held against
        pa.field("kept_id", pa.string()),  # source_id of the document kept in its place (dedup)
        pa.field("kept_doc_id", pa.string()),  # doc_id of the same
        pa.field("chars", pa.int64()),  # code points of its text
        pa.field("detail", pa.string()),  # reason in words: an error, a path of similarities; never its text
    ]
)
