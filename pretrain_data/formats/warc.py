"""WARC and ARC files as records, whatever state the file is in.

gzip files are read member by member, so that a corrupt member costs itself and no more, any byte range can
be read on its own, and a record's offset leads back to it. A member's content is streamed to fastwarc,
never held beyond the limit. Source: ISO 28500:2017 (WARC/1.1); Annex A on gzip per record.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from pretrain_data.formats.http_body import BodyError, decode

MAGIC = b"\x1f\x8b\x08"
CHUNK = 1 << 16
HEADER_ROOM = 64 << 10  # bytes of headers beside a body that may have `limit` bytes
TROUBLE = (OSError, ValueError, RuntimeError, EOFError)  # what fastwarc raises on a broken record


@dataclass
class Record:
    """One record, or one piece of the file that isn't one (`error` says why)."""

    offset: int
    kind: str = ""  # response, resource, conversion, revisit, … ; empty for an error
    record_id: str = ""
    url: str = ""
    date: str = ""
    status: int | None = None
    mime: str = ""
    charset: str = ""
    body: bytes = b""
    error: str | None = None  # the rule it is dropped by
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def read_records(path: str, start: int, end: int | None, limit: int) -> Iterator[Record]:
    """The records that begin in [start, end) bytes of the file.

    `limit` bounds the bytes of one record's body before and after decoding. Trouble comes out as
    records with an `error`: `corrupt_record`, `too_large`, `decode_error`. Raises OSError only.
    """
    with open(path, "rb") as file:
        head = file.read(3)
        file.seek(0)
        if head == MAGIC:
            yield from _members(file, start, end, limit)
        elif start == 0:
            yield from _plain(file, limit)


def is_gzip(path: str) -> bool:
    """Whether the file begins as gzip does, and so can be split by offset."""
    with open(path, "rb") as file:
        return file.read(3) == MAGIC


def _plain(file: BinaryIO, limit: int) -> Iterator[Record]:
    if file.read(1):
        file.seek(0)
        yield from _records(file, 0, limit, inside=False)


def _members(file: BinaryIO, start: int, end: int | None, limit: int) -> Iterator[Record]:
    at: int | None = start
    if start:
        at = _next_member(file, start)
    while at is not None and (end is None or at < end):
        member = _inflate(file, at, limit + HEADER_ROOM)
        if member.more and at == 0 and _announced(member.content) <= limit:
            # The whole file is one member, as plain gzip makes it: it can only be read from its start.
            file.seek(0)
            yield from _records(file, 0, limit, inside=False)
            return
        if member.more:
            yield Record(at, error="too_large", detail=f"more than {limit} bytes")
        elif member.content or member.error:
            yield from _records(io.BytesIO(member.content), at, limit, inside=True, trouble=member.error)
        if member.error is None and _is_member(file, member.end):
            at = member.end
            continue
        if member.error is None and not _at_end(file, member.end):
            yield Record(member.end, error="corrupt_record", detail="bytes that are no gzip member")
        at = _next_member(file, at + 1 if member.error else member.end)


def _announced(content: bytes) -> int:
    """Content-Length of the record that `content` begins with; 0 where it has none."""
    head = content[:HEADER_ROOM].split(b"\r\n\r\n")[0].lower()
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:") and line[15:].strip().isdigit():
            return int(line[15:])
    return 0


@dataclass
class _Member:
    """The content of one gzip member, at most `limit` bytes of it."""

    content: bytes
    end: int  # offset behind the member; where it is broken, as far as was read
    more: bool  # the content goes on beyond the limit
    error: str | None


def _inflate(file: BinaryIO, at: int, limit: int) -> _Member:
    decoder = zlib.decompressobj(31)
    parts: list[bytes] = []
    size, position, error = 0, at, None
    block = b""
    while not decoder.eof:
        if not block:
            file.seek(position)
            block = file.read(CHUNK)
            position += len(block)
            if not block:
                error = "gzip member is cut off"
                break
        try:
            out = decoder.decompress(block, CHUNK)
        except zlib.error as trouble:
            error = f"gzip member is corrupt ({trouble})"
            break
        block = decoder.unconsumed_tail
        size += len(out)
        if size <= limit:
            parts.append(out)
    end = position - len(decoder.unused_data)
    return _Member(b"".join(parts), end, size > limit, error)


def _records(stream: BinaryIO, offset: int, limit: int, inside: bool, trouble: str | None = None) -> Iterator[Record]:
    """The records of a stream. `inside` a gzip member they share its offset; `trouble` has cut it short."""
    iterator = ArchiveIterator(stream, WarcRecordType.any_type, parse_http=False, stream_detect=not inside)
    count, place, error = 0, offset, trouble
    while True:
        try:
            record = next(iterator)
            place = offset if inside else record.stream_pos
            found = _record(record, place, limit)
        except StopIteration:
            break
        except TROUBLE as fault:
            error = error or str(fault)
            break
        if found.error == "corrupt_record" and trouble:
            break  # the cut is told of once, below
        count += 1
        yield found
    if error:
        yield Record(place, error="corrupt_record", detail=error)
    elif not count:
        yield Record(place, error="corrupt_record", detail="no WARC record here")


def _record(record: WarcRecord, place: int, limit: int) -> Record:
    headers = {str(k).lower(): str(v) for k, v in record.headers.items()}
    found = Record(
        place,
        kind=headers.get("warc-type", "").lower(),
        record_id=headers.get("warc-record-id", ""),
        url=headers.get("warc-target-uri", "").strip("<> "),
        date=headers.get("warc-date", ""),
        headers=headers,
    )
    if found.kind not in ("response", "resource", "conversion"):
        return found
    raw = record.reader.read(limit + 1)
    declared = record.content_length
    if len(raw) > limit:
        found.error, found.detail = "too_large", f"more than {limit} bytes"
        return found
    if len(raw) < declared:
        found.error, found.detail = "corrupt_record", f"{len(raw)} bytes where {declared} were announced"
        return found
    found.mime = headers.get("content-type", "")
    found.body = raw
    if found.kind == "response" and (raw[:5] == b"HTTP/" or "application/http" in found.mime):
        _http(found, limit)
    return found


def _http(found: Record, limit: int) -> None:
    """Split the HTTP response in `found.body` into status, headers and decoded body."""
    raw = found.body
    end, gap = raw.find(b"\r\n\r\n"), 4
    bare = raw.find(b"\n\n")
    if end < 0 or 0 <= bare < end:
        end, gap = bare, 2
    head = raw[:end] if end >= 0 else raw
    found.body = raw[end + gap :] if end >= 0 else b""
    lines = head.decode("latin-1").splitlines()
    status = lines[0].split(None, 2) if lines else []
    found.status = int(status[1]) if len(status) > 1 and status[1].isdigit() else None
    http = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            http[name.strip().lower()] = value.strip()
    mime, _, parameters = http.get("content-type", "").partition(";")
    found.mime = mime.strip().lower()
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            found.charset = value.strip().strip("\"'")
    try:
        found.body = decode(found.body, http.get("transfer-encoding", ""), http.get("content-encoding", ""), limit)
    except BodyError as error:
        found.error, found.detail, found.body = error.rule, str(error), b""


def _is_member(file: BinaryIO, at: int) -> bool:
    file.seek(at)
    return file.read(3) == MAGIC


def _at_end(file: BinaryIO, at: int) -> bool:
    file.seek(at)
    return not file.read(1)


def _next_member(file: BinaryIO, at: int) -> int | None:
    """Offset of the next gzip member at or after `at` whose beginning decompresses to a record's head."""
    file.seek(at)
    base, block = at, b""
    while True:
        more = file.read(1 << 20)
        if not more:
            return None
        block += more
        hit = block.find(MAGIC)
        while hit >= 0:
            place = base + hit
            if _begins_record(file, place):
                return place
            hit = block.find(MAGIC, hit + 1)
        base += len(block) - 2
        block = block[-2:]
        file.seek(base + 2)


def _begins_record(file: BinaryIO, place: int) -> bool:
    file.seek(place)
    try:
        head = zlib.decompressobj(31).decompress(file.read(4096), 512)
    except zlib.error:
        return False
    return head.lstrip()[:5] == b"WARC/" or head[:10].startswith((b"http", b"filedesc:"))
