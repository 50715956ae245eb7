"""The body of an HTTP response as it was before transfer and content encoding, within a size limit.

Sources: RFC 9112 (chunked), RFC 9110 (gzip, deflate), RFC 7932 (br).
"""

from __future__ import annotations

import zlib

import brotli

STEP = 1 << 16


class BodyError(Exception):
    """The body can't be decoded, or is larger than the limit; `rule` says which."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def decode(body: bytes, transfer: str, content: str, limit: int) -> bytes:
    """Undo Transfer-Encoding and Content-Encoding.

    Many crawlers store the decoded body under the old header, so bytes that don't look encoded are
    taken as they are. Raises BodyError, with rule `too_large` past `limit` bytes, `decode_error` else.
    """
    if "chunked" in transfer.lower():
        body = _dechunk(body)
    for coding in reversed([c.strip().lower() for c in content.split(",")]):
        if coding in ("gzip", "x-gzip"):
            body = _inflate(body, 31, limit) if body[:2] == b"\x1f\x8b" else body
        elif coding == "deflate":
            body = _deflate(body, limit)
        elif coding == "br":
            body = _brotli(body, limit)
    return body


def _dechunk(body: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        end = body.find(b"\n", at, at + 256)
        size_text = body[at:end].split(b";")[0].strip() if end >= 0 else b""
        try:
            size = int(size_text, 16)
        except ValueError:
            if not parts:
                return body  # stored without its chunks
            raise BodyError("decode_error", "broken chunk") from None
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 1 : end + 1 + size])
        at = end + 1 + size
        if at >= len(body):
            return b"".join(parts)  # cut off: what came is kept
        at = at + 2 if body[at : at + 2] == b"\r\n" else at + 1


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    decoder = zlib.decompressobj(window)
    try:
        out = decoder.decompress(body, limit + 1)
    except zlib.error as error:
        raise BodyError("decode_error", f"Content-Encoding: {error}") from None
    if len(out) > limit:
        raise BodyError("too_large", f"more than {limit} bytes after Content-Encoding")
    if not out and not decoder.eof:
        raise BodyError("decode_error", "Content-Encoding: nothing can be decoded")
    return out  # of a body that is cut off, what came


def _deflate(body: bytes, limit: int) -> bytes:
    """`deflate` is zlib by the standard and raw deflate by habit."""
    try:
        return _inflate(body, 15, limit)
    except BodyError as error:
        if error.rule == "too_large":
            raise
    try:
        return _inflate(body, -15, limit)
    except BodyError as error:
        if error.rule == "too_large" or not body.lstrip()[:1] == b"<":
            raise
    return body


def _brotli(body: bytes, limit: int) -> bytes:
    decoder = brotli.Decompressor()
    parts, size = [], 0
    try:
        for at in range(0, len(body), STEP):
            out = decoder.process(body[at : at + STEP])
            size += len(out)
            if size > limit:
                raise BodyError("too_large", f"more than {limit} bytes after Content-Encoding")
            parts.append(out)
    except brotli.error:
        if body.lstrip()[:1] == b"<":
            return body
        raise BodyError("decode_error", "Content-Encoding: broken br data") from None
    if not size and not decoder.is_finished():
        raise BodyError("decode_error", "Content-Encoding: nothing can be decoded")
    return b"".join(parts)
