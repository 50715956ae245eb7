"""A checksum that a manifest carries of itself: every byte of it counts, white space and the checksum too."""

from __future__ import annotations

import xxhash

_SEAL = b',\n "checksum": "'


def sealed(text: str) -> str:
    """A JSON object, printed with an indent of one, with the checksum of all that stands before as its last key."""
    if not text.endswith("\n}"):
        raise ValueError("not an object printed with an indent")
    return _seal(text.encode()[:-2]).decode()


def is_sealed(data: bytes) -> bool:
    """Whether these are the very bytes that `sealed` gave."""
    return data == _seal(data.rpartition(_SEAL)[0])


def _seal(body: bytes) -> bytes:
    return body + _SEAL + xxhash.xxh3_128_hexdigest(body).encode() + b'"\n}'
