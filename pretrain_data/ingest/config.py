"""The keys under `stages.ingest`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pretrain_data.formats import columns
from pretrain_data.stage import StageConfig

Format = Literal["auto", "warc", "jsonl", "parquet", "pdf", "html", "markdown", "latex", "text", "code"]


class InputConfig(BaseModel):
    """One input among several."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="A file, folder or glob: a path, or a URL such as s3://bucket/crawl.")
    source: str = Field(default="", description="Goes into the column source. Default: the input's last folder name.")
    format: Format = Field(default="auto", description="Format of all files, or auto: by each file's name.")
    columns: dict[str, str] = Field(
        default={},
        description="Of Parquet and JSONL, our column: theirs, as text: content; fields inside of others by dots "
        "(title: meta.title). Other columns are kept under their names.",
    )

    @field_validator("columns")
    @classmethod
    def _ours(cls, value: dict[str, str]) -> dict[str, str]:
        return columns.checked(value)


class OcrConfig(BaseModel):
    """What to do with PDFs that have no text of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Literal["off", "local", "service"] = Field(
        default="off",
        description="off: they are dropped as pdf_no_text; local: rapidocr in the worker (about 10 CPU seconds a "
        "page); service: an HTTP service, see formats.ocr_service.",
    )
    url: str = Field(default="", description="Of the service: PDFs are POSTed there, JSON comes back.")
    timeout: Annotated[float, Field(gt=0)] = Field(default=60.0, description="Seconds for one request as a whole.")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(default=3, description="Tries after the first.")
    backoff: Annotated[float, Field(ge=0)] = Field(default=1.0, description="Seconds before the second try, doubling.")
    concurrency: Annotated[int, Field(ge=1)] = Field(default=4, description="Requests at a time of one worker process.")
    dpi: Annotated[int, Field(ge=36, le=600)] = Field(default=150, description="At which pages are drawn.")
    max_pixels: Annotated[int, Field(ge=10_000)] = Field(default=8_000_000, description="Of one page's image.")
    max_pages: Annotated[int, Field(ge=1)] = Field(default=200, description="Scanned pages read of one PDF.")
    seconds: Annotated[float, Field(gt=0)] = Field(default=600.0, description="CPU seconds for one PDF.")


class IngestConfig(StageConfig):
    """What to read and what to leave."""

    inputs: tuple[InputConfig, ...] = Field(default=(), description="Several inputs; instead of `input`.")
    source: str = Field(default="", description="Name of the source where `input` is used.")
    columns: dict[str, str] = Field(default={}, description="As in `inputs`, where `input` is used.")
    max_error_rate: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the records that may end in an error before the run is refused. Crawls hold broken "
        "records; lower it to be told of a bad delivery.",
    )
    shard_bytes: Annotated[int, Field(ge=1 << 16)] = Field(
        default=128 << 20, description="Bytes of input files in one shard."
    )
    max_record_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=10 << 20, description="A larger record, before or after decoding, is dropped as too_large."
    )
    ocr: OcrConfig = Field(default=OcrConfig(), description="Scanned PDFs.")
    max_pdf_seconds: Annotated[float, Field(gt=0)] = Field(default=60.0, description="CPU seconds for one PDF's text.")
    max_pdf_pages: Annotated[int, Field(ge=1)] = Field(default=2000, description="Pages read of one PDF.")
    max_pdf_memory_mb: Annotated[int, Field(ge=64)] = Field(
        default=2048, description="MiB that reading one PDF may take, in a process of its own."
    )
    drop_code: tuple[Literal["vendored", "generated", "minified"], ...] = Field(
        default=("vendored", "generated", "minified"),
        description="Files of source trees to drop: copies of others' work, what a generator wrote, what has no lines.",
    )
    min_chars: Annotated[int, Field(ge=0)] = Field(
        default=1, description="Code points under which a document is dropped as empty."
    )
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="Share of undecodable characters above which a page is dropped as garbled."
    )
    same_payload: Literal["keep", "drop"] = Field(
        default="keep",
        description="A web record or file whose payload, byte for byte, stands earlier in the input: dropped before "
        "extraction, with kept_id. Kept by default: dedup finds them too, and chooses the better URL.",
    )
    recrawl: Literal["keep", "latest"] = Field(
        default="keep",
        description="The same URL crawled again: every version is kept, or the latest replaces those before it.",
    )
    noindex: Literal["keep", "drop"] = Field(
        default="keep",
        description="Pages that ask not to be indexed (robots meta or X-Robots-Tag noindex, none, noai): kept and "
        "counted, or dropped.",
    )
    skip_paths: tuple[str, ...] = Field(
        default=("/robots.txt", "/ads.txt", "/humans.txt", "/security.txt", "/favicon.ico"),
        description="URLs whose path ends so are no documents.",
    )
    keep_invisible: bool = Field(default=False, description="Keep zero-width and direction characters.")

    @field_validator("columns")
    @classmethod
    def _ours(cls, value: dict[str, str]) -> dict[str, str]:
        return columns.checked(value)

    def every_input(self) -> tuple[InputConfig, ...]:
        """The configured inputs, however they are written."""
        if self.inputs or not self.input:
            return self.inputs
        return (InputConfig(path=self.input, source=self.source, columns=self.columns),)
