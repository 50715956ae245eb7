"""Hashes of values and files: XXH3-128, fast and stable over platforms; none is for security."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xxhash


def digest(value: Any) -> str:
    """XXH3-128 of a JSON value, as 32 hex digits; the order of keys doesn't matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return xxhash.xxh3_128_hexdigest(text.encode())


def file_digest(path: Path) -> str:
    """XXH3-128 of a file's bytes, as 32 hex digits."""
    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()
