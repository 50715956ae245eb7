"""Files of lines, plain or compressed, as streams that tell where they are cut off."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import zstandard

from pretrain_data.formats.storage import open_input

#: zstd inflates all of its input at once, and four bytes can stand for 128 KiB: little is handed over at a time.
ZSTD_CHUNK = 2048
#: What a compressed stream that is broken or cut off raises when it is read.
BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


@contextmanager
def open_lines(path: str) -> Iterator[BinaryIO]:
    """A file, decompressed where its name ends in .gz or .zst. Reading raises one of BROKEN where it is broken."""
    with open_input(path) as file:
        if path.endswith(".gz"):
            yield gzip.GzipFile(fileobj=file)  # type: ignore[misc]
        elif path.endswith(".zst"):
            yield io.BufferedReader(_Zstd(file))
        else:
            yield file


def bounded_lines(file: BinaryIO, limit: int) -> Iterator[tuple[bytes, bool]]:
    """Lines, and whether each is whole: of one with more than `limit` bytes the beginning is given."""
    while line := file.readline(limit + 1):
        whole = len(line) <= limit or line.endswith(b"\n")
        yield line, whole
        while not whole and line and not line.endswith(b"\n"):
            line = file.readline(limit)


class _Zstd(io.RawIOBase):
    """Frames one after the other as one stream; the library's own readers end silently where a frame is cut off."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder: Any = None
        self._output = memoryview(b"")
        self._input = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._output:
            if not self._input:
                self._input = self._file.read(ZSTD_CHUNK)
            if not self._input:
                if self._decoder is not None:
                    raise EOFError("the file ends within a zstd frame")
                return 0
            self._decoder = self._decoder or zstandard.ZstdDecompressor().decompressobj()
            self._output = memoryview(self._decoder.decompress(self._input))
            self._input = self._decoder.unused_data if self._decoder.eof else b""
            if self._decoder.eof:
                self._decoder = None
        size = min(len(buffer), len(self._output))
        buffer[:size] = self._output[:size]
        self._output = self._output[size:]
        return size
