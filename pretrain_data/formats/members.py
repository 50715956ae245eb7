"""Files made of compressed members one after the other: gzip members, zstd frames.

A member is inflated on its own and never beyond a limit, and the next one can be found from any byte.
Sources: RFC 1952 (gzip), RFC 8878 (zstd), IIPC's WARC zstd 1.0 (a dictionary in a skippable first frame).
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import zstandard

GZIP = b"\x1f\x8b\x08"
ZSTD = b"\x28\xb5\x2f\xfd"
DICTIONARY = b"\x5d\x2a\x4d\x18"
CHUNK = 1 << 16
#: zstd inflates all of its input at once. A block of four bytes can stand for 128 KiB, so that little of it
#: is handed over at a time.
ZSTD_CHUNK = 256
MAX_WINDOW = 1 << 27
MAX_DICTIONARY = 16 << 20


@dataclass
class Member:
    """The content of one member, at most `limit` bytes of it."""

    content: bytes
    end: int  # offset behind the member; where it is broken, as far as was read
    more: bool  # the content goes on beyond the limit
    error: str | None


@dataclass(frozen=True)
class Codec:
    """One kind of compression: how a member begins and how it is undone."""

    name: str
    magic: bytes
    first: int  # offset of the first member
    step: int  # bytes handed over at a time
    start: Callable[[], Any]  # makes an object with decompress, eof, unused_data
    faults: tuple[type[Exception], ...]
    dictionary: Any = None

    def next_member(self, file: BinaryIO, at: int) -> int | None:
        """Offset of the next member at or after `at` whose beginning decompresses to a record's head."""
        file.seek(at)
        base, block = at, b""
        keep = len(self.magic) - 1
        while True:
            more = file.read(1 << 20)
            if not more:
                return None
            block += more
            hit = block.find(self.magic)
            while hit >= 0:
                if self._begins_record(file, base + hit):
                    return base + hit
                hit = block.find(self.magic, hit + 1)
            base += len(block) - keep
            block = block[-keep:]
            file.seek(base + keep)

    def _begins_record(self, file: BinaryIO, place: int) -> bool:
        head = inflate(file, self, place, 16, probe=True).content
        return head.lstrip()[:5] == b"WARC/" or head.startswith((b"http", b"filedesc:", b"dns:"))


def codec_of(file: BinaryIO) -> Codec | None:
    """How the file is compressed by its first bytes; None for a plain one."""
    file.seek(0)
    head = file.read(8)
    file.seek(0)
    if head[:3] == GZIP:
        return Codec("gzip", GZIP, 0, CHUNK, lambda: zlib.decompressobj(31), (zlib.error,))
    if head[:4] == ZSTD or head[:4] == DICTIONARY:
        dictionary, first = None, 0
        if head[:4] == DICTIONARY:
            size = min(int.from_bytes(head[4:8], "little"), MAX_DICTIONARY)
            file.seek(8)
            dictionary, first = _dictionary(file.read(size)), 8 + size

        def start() -> Any:
            return zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=MAX_WINDOW).decompressobj()

        return Codec("zstd", ZSTD, first, ZSTD_CHUNK, start, (zstandard.ZstdError,), dictionary)
    return None


def _dictionary(raw: bytes) -> zstandard.ZstdCompressionDict | None:
    """The dictionary that a file begins with, compressed or not; None for a broken one, which members then miss."""
    try:
        if raw[:4] == ZSTD:
            raw = zstandard.ZstdDecompressor().decompress(raw, max_output_size=MAX_DICTIONARY)
        return zstandard.ZstdCompressionDict(raw) if raw else None
    except zstandard.ZstdError:
        return None


def is_member(file: BinaryIO, codec: Codec, at: int) -> bool:
    """Whether a member begins at `at`."""
    file.seek(at)
    return file.read(len(codec.magic)) == codec.magic


def inflate(file: BinaryIO, codec: Codec, at: int, limit: int, probe: bool = False) -> Member:
    """The member at `at`. Reads on behind `limit` to find its end, keeping nothing, unless it is a `probe`."""
    decoder = codec.start()
    parts: list[bytes] = []
    size, position, error = 0, at, None
    block = pending = b""
    while not decoder.eof and not (probe and size >= limit):
        if not pending:
            if not block:
                file.seek(position)
                block = file.read(4096 if probe else CHUNK)
                position += len(block)
                if not block:
                    error = f"{codec.name} member is cut off"
                    break
            pending, block = block[: codec.step], block[codec.step :]
        try:
            out = decoder.decompress(pending, CHUNK) if codec.name == "gzip" else decoder.decompress(pending)
        except codec.faults as trouble:
            error = f"{codec.name} member is corrupt ({trouble})"
            break
        pending = decoder.unconsumed_tail if codec.name == "gzip" else b""
        if size < limit:
            parts.append(out[: limit - size])
        size += len(out)
    end = position - len(block) - len(decoder.unused_data)
    return Member(b"".join(parts), end, size > limit, error)


def open_stream(file: BinaryIO, codec: Codec) -> BinaryIO:
    """The whole file as one stream of decompressed bytes."""
    file.seek(codec.first)
    if codec.name == "gzip":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    reader = zstandard.ZstdDecompressor(dict_data=codec.dictionary, max_window_size=MAX_WINDOW)
    return io.BufferedReader(reader.stream_reader(file, read_across_frames=True, closefd=False))
