"""Token counts and token ids of Arrow text columns.

The encoder is any object with `encode(list of str) -> list of integer arrays`; documents go to it
in row order, a record batch at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa


class Encoder(Protocol):
    def encode(self, texts: Sequence[str]) -> list[np.ndarray]: ...


def encode_column(texts: pa.Array, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of all rows in one uint32 array, and int64 offsets of each row (n + 1 entries).

    A null text has no tokens.
    """
    encoded = encoder.encode(texts.fill_null("").to_pylist())
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(ids) for ids in encoded], out=offsets[1:])
    flat = np.concatenate(encoded) if encoded else np.empty(0, np.uint32)
    return flat.astype(np.uint32, copy=False), offsets


def count_column(texts: pa.Array, encoder: Encoder) -> np.ndarray:
    """Tokens of each row, int32."""
    return np.array([len(ids) for ids in encoder.encode(texts.fill_null("").to_pylist())], np.int32)
