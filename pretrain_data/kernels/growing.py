"""Arrays of which a kernel doesn't know beforehand how many items they will hold."""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def doubled(array: np.ndarray) -> np.ndarray:
    """The items (one-dimensional, at least one) with room for as many again; what the room holds is undefined."""
    out = np.empty(2 * len(array), array.dtype)
    out[: len(array)] = array
    return out
