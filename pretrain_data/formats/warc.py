"""WARC and ARC files as records, whatever state the file is in.

Files are plain, gzip or zstd. Compressed ones are read member by member (frame by frame), so that a corrupt
member costs itself and no more, any byte range can be read on its own, and a record's offset leads back to
it. In plain files a record whose length doesn't lead to the next one is a counted error, and reading goes on
at the next record. Nothing is held beyond the limit of one record.

Sources: ISO 28500:2017 (WARC/1.1; Annex A on gzip per record), the IIPC's WARC zstd 1.0, the Internet
Archive's ARC 1.0 and 2.0.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pretrain_data.formats.http_body import BodyError, decode
from pretrain_data.formats.members import Codec, codec_of, inflate, is_member, open_stream
from pretrain_data.formats.storage import open_input

HEADER_ROOM = 64 << 10  # bytes of headers beside a body that may have `limit` bytes
CHUNK = 1 << 20

_VERSION = re.compile(rb"WARC/[01]\.\d+[ \t]*\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_BLANK = re.compile(rb"[\r\n]*")
#: An ARC record's head: URL, IP, time of 14 digits, media type, length (version 2 has more in between).
_ARC = re.compile(rb"([a-z][a-z0-9+.-]*:[^\n]{0,8000}?) (\S+) (\d{14}) ([^\n]{0,2000}?)[ \t]*(-?\d+)[ \t]*\r?\n")
_NEXT_WARC = re.compile(rb"\nWARC/[01]\.\d+[ \t]*\r?\n")
_NEXT_ARC = re.compile(rb"\n(?=[a-z][a-z0-9+.-]{0,20}:[^ \n]{1,4000} \S{1,64} \d{14} [^\n]{0,500} \d+\r?\n)")


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
    truncated: bool = False  # the crawler says that it stopped early (WARC-Truncated)
    headers: dict[str, str] = field(default_factory=dict)
    http: dict[str, str] = field(default_factory=dict)


def read_records(path: str, start: int, end: int | None, limit: int, file: BinaryIO | None = None) -> Iterator[Record]:
    """The records that begin in [start, end) bytes of the file.

    `limit` bounds the bytes of one record's body before and after decoding. Trouble comes out as records
    with an `error`: `corrupt_record`, `too_large`, `decode_error`. `file` is read in place of the path
    where it is given; it must be seekable. Raises OSError, and StorageError for remote files, only.
    """
    with file if file is not None else open_input(path) as source:
        codec = codec_of(source)
        if codec is not None:
            yield from _members(source, codec, start, end, limit)
        else:
            yield from _plain(source, start, end, limit)


def _plain(file: BinaryIO, start: int, end: int | None, limit: int) -> Iterator[Record]:
    window = _Window(file, seekable=True)
    if not window.peek(0, 1):
        return
    arc = _ARC.match(window.peek(0, HEADER_ROOM)) is not None
    at: int | None = start
    if start:
        at = window.find(_NEXT_ARC if arc else _NEXT_WARC, start - 1)
        at = None if at is None else at + 1
    if at is not None:
        yield from _records(window, at, end, limit, arc=arc)


def _members(file: BinaryIO, codec: Codec, start: int, end: int | None, limit: int) -> Iterator[Record]:
    at: int | None = codec.next_member(file, start) if start else codec.first
    while at is not None and (end is None or at < end):
        member = inflate(file, codec, at, limit + HEADER_ROOM)
        if member.more and at == codec.first and _announced(member.content) <= limit:
            # The whole file is one member, as plain gzip makes it: it can only be read from its start.
            yield from _records(_Window(open_stream(file, codec), seekable=False), 0, None, limit, arc=None)
            return
        if member.more:
            yield Record(at, error="too_large", detail=f"more than {limit} bytes")
        elif member.content or member.error:
            window = _Window(io.BytesIO(member.content), seekable=True)
            yield from _records(window, 0, None, limit, arc=None, offset=at, trouble=member.error)
        if member.error is None and is_member(file, codec, member.end):
            at = member.end
            continue
        if member.error is None and not _at_end(file, member.end):
            yield Record(member.end, error="corrupt_record", detail=f"bytes that are no {codec.name} member")
        at = codec.next_member(file, at + 1 if member.error else member.end)


def _announced(content: bytes) -> int:
    """Content-Length of the record that `content` begins with; 0 where it has none."""
    head = _HEAD_END.split(content[:HEADER_ROOM], maxsplit=1)[0]
    found = re.search(rb"(?im)^content-length:[ \t]*(\d+)", head) if head[:5] == b"WARC/" else None
    arc = _ARC.match(head + b"\n")
    return int(found[1]) if found else max(0, int(arc[5])) if arc else 0


def _at_end(file: BinaryIO, at: int) -> bool:
    file.seek(at)
    return not file.read(1)


class _Window:
    """A stream seen through a buffer that never holds more than what is asked for and one chunk."""

    def __init__(self, stream: BinaryIO, seekable: bool) -> None:
        self._stream, self._seekable = stream, seekable
        self._buffer, self._base = b"", 0
        self._size = stream.seek(0, io.SEEK_END) if seekable else None
        if seekable:
            stream.seek(0)

    def peek(self, at: int, size: int) -> bytes:
        """The bytes [at, at + size), fewer where the stream ends or has been passed."""
        if (at < self._base and not self._seekable) or (self._size is not None and at >= self._size):
            return b""
        if not self._base <= at <= self._base + len(self._buffer):
            self._move(at)
        have = self._base + len(self._buffer) - at
        if have < size:
            parts = [self._buffer[at - self._base :]]
            while have < size:
                more = self._stream.read(max(CHUNK, min(size - have, CHUNK)))
                if not more:
                    break
                parts.append(more)
                have += len(more)
            self._buffer, self._base = b"".join(parts), at
        return self._buffer[at - self._base : at - self._base + size]

    def _move(self, at: int) -> None:
        if self._seekable:
            self._stream.seek(at)
            self._buffer, self._base = b"", at
            return
        self._base += len(self._buffer)
        self._buffer = b""
        while self._base < at:
            skipped = self._stream.read(min(CHUNK, at - self._base))
            if not skipped:
                break
            self._base += len(skipped)

    def find(self, pattern: re.Pattern[bytes], at: int) -> int | None:
        """Where `pattern` first matches at or behind `at`; None where it doesn't."""
        overlap = 8192
        while True:
            block = self.peek(at, CHUNK)
            found = pattern.search(block)
            if found:
                return at + found.start()
            if len(block) < CHUNK:
                return None
            at += CHUNK - overlap


@dataclass
class _Head:
    """The head of one record: where its content begins and how long that is said to be."""

    record: Record
    content: int
    length: int | None  # None: missing or not a number


def _records(
    window: _Window,
    at: int,
    end: int | None,
    limit: int,
    arc: bool | None,
    offset: int | None = None,
    trouble: str | None = None,
) -> Iterator[Record]:
    """The records from `at` on that begin before `end`.

    Inside a member they share its `offset`; `trouble` has cut it short. `arc` None: by the first record.
    """
    found_any = False
    while end is None or at < end:
        at += _blank(window, at)
        if not window.peek(at, 1):
            break
        if end is not None and at >= end:
            return
        place = at if offset is None else offset
        if arc is None:
            arc = window.peek(at, 5) != b"WARC/" and _ARC.match(window.peek(at, HEADER_ROOM)) is not None
        marker = _NEXT_ARC if arc else _NEXT_WARC
        head = _head(window, at, place, arc)
        if isinstance(head, str):
            if not trouble:
                yield Record(place, error="corrupt_record", detail=head)
            found_any = found_any or not trouble
            behind = window.find(marker, at + 1)
        else:
            record, following = _content(window, head, limit, arc)
            if record.error == "corrupt_record" and trouble:
                break  # the cut is told of once, below
            found_any = True
            yield record
            if following is not None:
                at = following
                continue
            behind = window.find(marker, head.content - 1)
        if behind is None:
            break
        at = behind + 1
    if trouble:
        yield Record(offset or 0, error="corrupt_record", detail=trouble)
    elif not found_any and offset is not None:
        yield Record(offset, error="corrupt_record", detail="no WARC record here")


def _blank(window: _Window, at: int) -> int:
    """How many line ends stand at `at`."""
    count = 0
    while True:
        found = _BLANK.match(window.peek(at + count, 4096))
        length = found.end() if found else 0
        count += length
        if length < 4096:
            return count


def _head(window: _Window, at: int, place: int, arc: bool) -> _Head | str:
    """The head at `at`, or in words why there is none."""
    block = window.peek(at, HEADER_ROOM)
    if arc:
        line = _ARC.match(block)
        if line is None:
            return "no ARC record here"
        return _arc_head(line, at, place)
    if not _VERSION.match(block):
        return "no WARC record here"
    gap = _HEAD_END.search(block)
    if gap is None:
        return f"more than {HEADER_ROOM} bytes of headers" if len(block) == HEADER_ROOM else "headers are cut off"
    headers: dict[str, str] = {}
    name = ""
    for raw in block[: gap.start()].split(b"\n")[1:]:
        line_text = raw.rstrip(b"\r").decode("utf-8", "replace")
        if line_text[:1] in (" ", "\t") and name:
            headers[name] += " " + line_text.strip()
            continue
        name, colon, value = line_text.partition(":")
        name = name.strip().lower()
        if colon:
            headers[name] = value.strip()
    length = headers.get("content-length", "")
    record = Record(
        place,
        kind=headers.get("warc-type", "").lower(),
        record_id=headers.get("warc-record-id", ""),
        url=headers.get("warc-target-uri", "").strip("<> "),
        date=headers.get("warc-date", ""),
        truncated="warc-truncated" in headers,
        headers=headers,
    )
    size = int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None
    return _Head(record, at + gap.end(), size)


def _arc_head(line: re.Match[bytes], at: int, place: int) -> _Head:
    url = line[1].decode("utf-8", "replace")
    time = line[3].decode()
    mime = line[4].split()
    stamp = f"{time[:4]}-{time[4:6]}-{time[6:8]}T{time[8:10]}:{time[10:12]}:{time[12:]}Z"
    record = Record(place, kind="warcinfo" if url.startswith("filedesc:") else "response", url=url, date=stamp)
    if url.startswith(("dns:", "metadata:")):
        record.kind = "resource"
    record.headers["content-type"] = mime[0].decode("latin-1") if mime else ""
    length = int(line[5])
    return _Head(record, at + line.end(), length if length >= 0 else None)


def _content(window: _Window, head: _Head, limit: int, arc: bool) -> tuple[Record, int | None]:
    """The record with its content, and where the next one begins; None where that must be searched."""
    record, length = head.record, head.length
    if length is None:
        record.error, record.detail = "corrupt_record", "Content-Length is missing or no number"
        return record, None
    stop = head.content + length
    following, sure = _following(window, head.content, length, limit, arc)
    if not sure:
        record.error = "corrupt_record"
        problem = "the file ends before them" if following is None else "they lead to no next record"
        record.detail = f"{length} bytes are announced, but {problem}"
        return record, None
    if record.kind not in ("response", "resource", "conversion"):
        return record, stop
    if length > limit:
        record.error, record.detail = "too_large", f"more than {limit} bytes"
        return record, stop
    raw = window.peek(head.content, length)
    record.mime = record.headers.get("content-type", "").split(";")[0].strip().lower()
    record.body = raw
    if record.kind == "response" and (raw[:5] == b"HTTP/" or "application/http" in record.mime):
        _http(record, limit)
    return record, stop


def _following(window: _Window, content: int, length: int, limit: int, arc: bool) -> tuple[int | None, bool]:
    """Where the content ends, and whether a record or the end of the file stands there."""
    if length <= limit + HEADER_ROOM:
        block = window.peek(content, length + HEADER_ROOM)  # in one read, so that the content is still there after it
        if len(block) < length:
            return None, False
        rest = block[length : length + HEADER_ROOM]
    else:
        rest = window.peek(content + length, HEADER_ROOM)
        if not rest and not window.peek(content + length - 1, 1):
            return None, False
    rest = rest.lstrip(b"\r\n")
    if not rest:
        return content + length, True
    good = _ARC.match(rest) if arc else rest[:5] == b"WARC/"
    # What is no record at all behind a content that ended with a line end is trouble of its own.
    return (content + length, True) if good else (content + length, _ends_record(window, content + length))


def _ends_record(window: _Window, at: int) -> bool:
    return window.peek(at, 4) == b"\r\n\r\n"


def _http(found: Record, limit: int) -> None:
    """Split the HTTP response in `found.body` into status, headers and decoded body."""
    raw = found.body
    gap = _HEAD_END.search(raw)
    head = raw[: gap.start()] if gap else raw
    lines = head.decode("latin-1").splitlines()
    status = re.match(r"HTTP/\d(?:\.\d+)?\s+(\d{3})(?!\d)", lines[0]) if lines else None
    if status is None:
        found.error, found.detail, found.body = "bad_http", f"status line {lines[0][:60] if lines else ''!r}", b""
        return
    found.status = int(status[1])
    found.body = raw[gap.end() :] if gap else b""
    http = found.http
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
