"""Word n-grams of texts as 64-bit hashes, for decontamination.

A word is a run of ASCII letters and digits, lower-cased, with full-width forms folded; every other
letter of a script without spaces (Han, kana, hangul) is a word of its own, as is any other character
beyond ASCII that is not a space or punctuation. White space and punctuation only separate: a change
of case, of spacing or of punctuation changes no n-gram.
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa

from pretrain_data.kernels.textscan import text_buffers

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(33)


@numba.njit(cache=True, nogil=True)
def _finish(value: np.uint64) -> np.uint64:  # pragma: no cover - compiled
    value = (value ^ (value >> _SHIFT)) * _MIX
    return value ^ (value >> _SHIFT)


@numba.njit(cache=True, nogil=True)
def _separates(code: int) -> bool:  # pragma: no cover - compiled
    """Latin-1 and general punctuation and spaces, CJK punctuation, full-width punctuation."""
    return (
        0x80 <= code <= 0xBF
        or code == 0xD7
        or code == 0xF7
        or 0x2000 <= code <= 0x206F
        or 0x3000 <= code <= 0x303F
        or 0xFE10 <= code <= 0xFE6F
        or code == 0xFEFF
        or 0xFF00 <= code <= 0xFF65
        or code == 0xFFFD
    )


@numba.njit(cache=True, nogil=True)
def words_of(data: np.ndarray, start: int, end: int, out: np.ndarray) -> int:  # pragma: no cover - compiled
    """Hashes of the words of UTF-8 `data[start:end]` into `out` (as many as bytes suffice); how many.

    The lowest bit says whether the word tells something: it has two ASCII letters or is beyond ASCII.
    """
    count, i, letters = 0, start, 0
    word, inside = np.uint64(0), False
    while i < end:
        byte = int(data[i])
        size = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
        code = byte
        if size > 1:
            code = byte & (0x7F >> size)
            for k in range(1, size):
                if i + k < end:
                    code = (code << 6) | (int(data[i + k]) & 0x3F)
        i += size
        if 0xFF01 <= code <= 0xFF5E:
            code -= 0xFEE0  # full-width forms of ASCII
        if 65 <= code <= 90:
            code += 32
        if 48 <= code <= 57 or 97 <= code <= 122:
            word = (word ^ np.uint64(code)) * _PRIME + np.uint64(1)
            inside = True
            letters += code >= 97
            continue
        if inside:
            out[count] = (_finish(word) & ~np.uint64(1)) | np.uint64(letters >= 2)
            count += 1
            word, inside, letters = np.uint64(0), False, 0
        if code >= 0x80 and not _separates(code):
            out[count] = _finish(np.uint64(code) * _PRIME) | np.uint64(1)
            count += 1
    if inside:
        out[count] = (_finish(word) & ~np.uint64(1)) | np.uint64(letters >= 2)
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _gram(words: np.ndarray, at: int, n: int) -> np.uint64:  # pragma: no cover - compiled
    value = np.uint64(n)
    for k in range(n):
        value = _finish((value ^ words[at + k]) * _PRIME)
    return value


@numba.njit(cache=True, nogil=True)
def _grams(
    data: np.ndarray, offsets: np.ndarray, n: int, telling: int
) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    words = np.empty(longest + 1, np.uint64)
    found = np.empty(offsets[-1] - offsets[0] + 1, np.uint64)
    ends = np.zeros(len(offsets), np.int64)
    filled = 0
    for row in range(len(offsets) - 1):
        count = words_of(data, offsets[row], offsets[row + 1], words)
        for at in range(count - n + 1):
            if telling > 0:
                tell = 0
                for k in range(at, at + n):
                    tell += words[k] & np.uint64(1) == np.uint64(1)
                if tell < telling:
                    continue
            found[filled] = _gram(words, at, n)
            filled += 1
        ends[row + 1] = filled
    return found[:filled].copy(), ends


def ngrams(texts: pa.Array, n: int, telling: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n-gram hashes of all rows (uint64, in order of text, with repeats) and their offsets, one more than rows.

    n-grams with fewer than `telling` words of two letters or beyond ASCII (runs of numbers, say) are left out.
    """
    data, offsets = text_buffers(texts)[:2]
    return _grams(data, offsets, n, telling)


@numba.njit(cache=True, nogil=True)
def _matches(
    grams: np.ndarray, ends: np.ndarray, known: np.ndarray, first: np.ndarray, items: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover - compiled
    rows = len(ends) - 1
    best_share = np.zeros(rows)
    best_item = np.full(rows, -1, np.int64)
    # A gram counts once a document and item: `seen` holds the row that last met it.
    seen = np.full(len(known), -1, np.int64)
    hits = np.zeros(len(sizes), np.int64)
    for row in range(rows):
        touched = [0]
        touched.clear()
        for i in range(ends[row], ends[row + 1]):
            at = np.searchsorted(known, grams[i])
            if at == len(known) or known[at] != grams[i] or seen[at] == row:
                continue
            seen[at] = row
            for k in range(first[at], first[at + 1]):
                item = items[k]
                if hits[item] == 0:
                    touched.append(item)
                hits[item] += 1
        for item in touched:
            share = hits[item] / sizes[item]
            if share > best_share[row] or (share == best_share[row] and item < best_item[row]):
                best_share[row], best_item[row] = share, item
            hits[item] = 0
    return best_share, best_item


class Benchmarks:
    """Distinct n-grams of benchmark items, for look-up; `telling` as in `ngrams`."""

    def __init__(self, texts: pa.Array, n: int, telling: int = 0) -> None:
        self.n = n
        grams, ends = ngrams(texts, n, telling)
        owner = np.repeat(np.arange(len(texts)), np.diff(ends))
        pairs = np.unique(np.stack([grams, owner.astype(np.uint64)], axis=1), axis=0)
        self.items = pairs[:, 1].astype(np.int64)
        self.known, first = np.unique(pairs[:, 0], return_index=True)
        self.first = np.append(first, len(pairs)).astype(np.int64)
        #: Distinct n-grams of each item; 0: too short to be looked for.
        self.sizes = np.bincount(self.items, minlength=len(texts)).astype(np.int64)

    def match(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """For each row the largest share of an item's n-grams that it holds, and that item (−1: none)."""
        grams, ends = ngrams(texts, self.n)
        return _matches(grams, ends, self.known, self.first, self.items, self.sizes)  # type: ignore[no-any-return]
