"""MinHash signatures straight from Arrow's UTF-8 buffers.

A text is folded (`kernels.normalize`), cut into tokens (a Chinese character, or a run of letters and digits; in
`characters` mode every letter and digit is a token), and the set of its shingles (n tokens in a row) is hashed to
64 bits. Permutation j maps a shingle hash with halves (low, high) to  a_j · low + (high xor b_j)  mod 2^32, with
random odd a_j; the signature holds the smallest value of each. A text with fewer than n tokens is one shingle,
all of it. Sources: Broder 1997 ("On the resemblance and containment of documents"); Dietzfelbinger et al. 1997
(multiply-shift hashing).
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pretrain_data.kernels.normalize import LIMIT, RUN, SEPARATOR, SINGLE, TOKENS_A_BYTE, Tables, tables

SEED = 20260101
VERSION = 2
ONE = np.uint64(1)
EMPTY = np.uint32(0xFFFFFFFF)  # signature values of a text without tokens
BASE = np.uint64(0x9E3779B97F4A7C15)
OTHER_BASE = np.uint64(0xD6E8FEB86659FD93)  # of the second half of a content hash; any odd number unlike BASE does

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]


class Utf8(NamedTuple):
    """The buffers of an Arrow string array: bytes and offsets (n + 1); null is an empty text."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]


class Permutations(NamedTuple):
    """Odd multipliers and masks of the k permutations, uint32 each."""

    a: U32
    b: U32


def buffers(text: pa.Array) -> Utf8:
    """Views of a string or large_string array's buffers, whatever slice of a larger one it is."""
    if isinstance(text, pa.ChunkedArray):
        text = text.combine_chunks()
    if text.null_count:
        text = text.fill_null("")
    wide = pa.types.is_large_string(text.type)
    _, raw_offsets, raw_data = text.buffers()
    offsets = np.frombuffer(raw_offsets, np.int64 if wide else np.int32)[text.offset : text.offset + len(text) + 1]
    data = np.frombuffer(raw_data, np.uint8) if raw_data is not None else np.zeros(0, np.uint8)
    return Utf8(data, offsets.astype(np.int64))


@cache
def permutations(count: int, seed: int = SEED) -> Permutations:
    """The first `count` permutations of a seed; more permutations only append."""
    draw = np.random.Generator(np.random.PCG64(seed)).integers(0, 2**32, (count, 2), dtype=np.uint32)
    return Permutations(draw[:, 0] | np.uint32(1), draw[:, 1].copy())


class Signed(NamedTuple):
    """What one pass over n texts gives.

    `signatures` (n × k, uint32); `shingles` (n, int32): the number of shingles of each, with repeats; `contents`
    (n × 2, uint64): 128-bit hashes of the tokens in order, equal for texts that fold to the same. A text without
    tokens is hashed by its bytes, so that two of them are equal only if they are.
    """

    signatures: U32
    shingles: npt.NDArray[np.int32]
    contents: U64


def sign(text: pa.Array, characters: Flags, k: int, n: int, seed: int = SEED, simplified: bool = False) -> Signed:
    """Signatures, numbers of shingles and contents of all texts.

    `characters` (documents, bool) says for which documents every letter is a token; `simplified` folds traditional
    characters to simplified ones.
    """
    utf8, perms = buffers(text), permutations(k, seed)
    count = len(utf8.offsets) - 1
    out = Signed(np.empty((count, k), np.uint32), np.empty(count, np.int32), np.empty((count, 2), np.uint64))
    _sign(utf8.data, utf8.offsets, characters, n, perms.a, perms.b, tables(simplified), *out)
    return out


def shingle_sets(
    text: pa.Array, characters: Flags, n: int, simplified: bool = False
) -> tuple[U64, npt.NDArray[np.int64]]:
    """The sorted distinct shingle hashes of each document, end to end, with offsets (documents + 1)."""
    utf8 = buffers(text)
    values, ends = _all_shingles(utf8.data, utf8.offsets, characters, n, tables(simplified))
    for start, end in itertools.pairwise(ends.tolist()):
        values[start:end].sort()  # NumPy's sort is several times as fast as numba's
    return _distinct(values, ends)


@nb.njit(cache=True, inline="always")
def _mix(h: np.uint64) -> np.uint64:
    """The finaliser of splitmix64 (Steele et al. 2014)."""
    h ^= h >> np.uint64(30)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(27)
    h *= np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@nb.njit(cache=True, nogil=True)
def _tokens(data, start, end, single_letters, fold, out):  # type: ignore[no-untyped-def]
    """Hashes of a text's tokens into `out`; returns their number, at most TOKENS_A_BYTE a byte.

    Places are unsigned, since numba looks at each signed one whether it counts from the end; and letters of ASCII
    have a loop of their own, with one look-up and one branch a byte: together a quarter less.
    """
    count = np.uint64(0)
    run = np.uint64(0)
    i = np.uint64(start)
    end = np.uint64(end)
    while i < end:
        lead = data[i]
        code = fold.ascii[lead]
        if code != 0:  # most of English
            if single_letters:
                out[count] = _mix(np.uint64(code) * BASE)
                count += ONE
                i += ONE
            else:
                run = (run ^ np.uint64(code)) * BASE + ONE
                i += ONE
                while i < end:
                    code = fold.ascii[data[i]]
                    if code == 0:
                        break
                    run = (run ^ np.uint64(code)) * BASE + ONE
                    i += ONE
                if i < end and data[i] < 0x80:
                    out[count] = _mix(run)
                    count += ONE
                    run = np.uint64(0)
                    i += ONE
            continue
        if lead < 0x80:
            i += ONE
            if run != 0:
                out[count] = _mix(run)
                count += ONE
                run = np.uint64(0)
            continue
        if lead < 0xE0:
            point = (np.int64(lead & 0x1F) << 6) | (data[i + ONE] & 0x3F)
            i += np.uint64(2)
        elif lead < 0xF0:
            point = (
                (np.int64(lead & 0x0F) << 12) | (np.int64(data[i + ONE] & 0x3F) << 6) | (data[i + np.uint64(2)] & 0x3F)
            )
            i += np.uint64(3)
        else:
            point = (
                (np.int64(lead & 0x07) << 18)
                | (np.int64(data[i + ONE] & 0x3F) << 12)
                | (np.int64(data[i + np.uint64(2)] & 0x3F) << 6)
                | (data[i + np.uint64(3)] & 0x3F)
            )
            i += np.uint64(4)
        if point >= LIMIT:
            first, last, single = point, np.int64(-1), True
        else:
            first, last, single = np.int64(fold.folded[np.uint64(point)]), np.int64(-1), False
        at = np.int64(0)
        if first < 0:
            at = np.int64(fold.start[-first - 1])
            last = np.int64(fold.start[-first])
            if at == last:
                continue
            first = np.int64(fold.spelt[at])
        while True:
            kind = SINGLE if single else (fold.kind[np.uint64(first)] if first < LIMIT else SINGLE)
            if kind == RUN and not single_letters:
                run = (run ^ np.uint64(first)) * BASE + ONE
            else:
                if run != 0:
                    out[count] = _mix(run)
                    count += ONE
                    run = np.uint64(0)
                if kind != SEPARATOR:
                    out[count] = _mix(np.uint64(first) * BASE)
                    count += ONE
            at += 1
            if at >= last:
                break
            first = np.int64(fold.spelt[at])
    if run != 0:
        out[count] = _mix(run)
        count += ONE
    return np.int64(count)


@nb.njit(cache=True, nogil=True)
def _combine(tokens, count, n, out):  # type: ignore[no-untyped-def]
    """Shingle hashes of token hashes into `out`; returns their number."""
    if count == 0:
        return 0
    width = min(n, count)
    total = count - width + 1
    for i in range(total):
        h = np.uint64(0)
        for j in range(width):
            h = h * BASE + tokens[i + j]
        out[i] = _mix(h)
    return total


@nb.njit(cache=True, nogil=True)
def _all_shingles(data, offsets, characters, n, fold: Tables):  # type: ignore[no-untyped-def]
    """Shingle hashes of all texts end to end, with repeats, and where each text's end (documents + 1)."""
    longest = np.int64(0)
    for d in range(len(offsets) - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    tokens = np.empty(TOKENS_A_BYTE * longest + 1, np.uint64)
    hashes = np.empty(TOKENS_A_BYTE * longest + 1, np.uint64)
    out = np.empty(1024, np.uint64)
    ends = np.zeros(len(offsets), np.int64)
    for d in range(len(offsets) - 1):
        length = _tokens(data, offsets[d], offsets[d + 1], characters[d], fold, tokens)
        count = _combine(tokens, length, n, hashes)
        at = ends[d]
        if at + count > len(out):
            larger = np.empty(max(2 * len(out), at + count), np.uint64)
            larger[:at] = out[:at]
            out = larger
        out[at : at + count] = hashes[:count]
        ends[d + 1] = at + count
    return out[: ends[-1]], ends


@nb.njit(cache=True, nogil=True)
def _distinct(values, ends):  # type: ignore[no-untyped-def]
    """Each sorted part of `values` without repeats, end to end, and where each ends."""
    new, at = np.zeros(len(ends), np.int64), np.int64(0)
    out = np.empty(len(values), np.uint64)
    for d in range(len(ends) - 1):
        for i in range(ends[d], ends[d + 1]):
            if i == ends[d] or values[i] != values[i - 1]:
                out[at] = values[i]
                at += 1
        new[d + 1] = at
    return out[:at].copy(), new


@nb.njit(cache=True, nogil=True)
def _sign(data, offsets, characters, n, a, b, fold, out, shingles, contents):  # type: ignore[no-untyped-def]
    longest = np.int64(0)
    for d in range(len(offsets) - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    tokens = np.empty(TOKENS_A_BYTE * longest + 1, np.uint64)
    hashes = np.empty(TOKENS_A_BYTE * longest + 1, np.uint64)
    low = np.empty(TOKENS_A_BYTE * longest + 1, np.uint32)
    high = np.empty(TOKENS_A_BYTE * longest + 1, np.uint32)
    for d in range(len(offsets) - 1):
        length = _tokens(data, offsets[d], offsets[d + 1], characters[d], fold, tokens)
        count = _combine(tokens, length, n, hashes)
        shingles[d] = count
        for i in range(count):
            low[i] = np.uint32(hashes[i])
            high[i] = np.uint32(hashes[i] >> np.uint64(32))
        _minima(low, high, count, a, b, out[d])
        _content(data, offsets[d], offsets[d + 1], tokens, length, contents[d])


@nb.njit(cache=True, nogil=True)
def _content(data, start, end, tokens, count, out):  # type: ignore[no-untyped-def]
    one, other = np.uint64(1), np.uint64(2)
    for i in range(count):
        one = (one ^ tokens[i]) * BASE
        other = (other + tokens[i]) * OTHER_BASE
    if count == 0:
        for i in range(start, end):
            one = (one ^ np.uint64(data[i])) * BASE
            other = (other + np.uint64(data[i]) + np.uint64(0xFFFF0000)) * OTHER_BASE
    out[0], out[1] = _mix(one), _mix(other)


@nb.njit(cache=True, nogil=True)
def _minima(low, high, count, a, b, row):  # type: ignore[no-untyped-def]
    """The smallest value of each permutation over `count` hashes, into `row`.

    A function of its own over 32-bit arrays, because the compiler then makes 32-bit vector instructions of it; in
    the body of `_signatures` it took three times as long.
    """
    k = len(a)
    for j in range(k):
        row[j] = EMPTY
    # Four shingles at a time: a quarter of the loads and stores of the row.
    four = count - count % 4
    for i in range(0, four, 4):
        l0, h0 = low[i], high[i]
        l1, h1 = low[i + 1], high[i + 1]
        l2, h2 = low[i + 2], high[i + 2]
        l3, h3 = low[i + 3], high[i + 3]
        for j in range(k):
            v0 = np.uint32(a[j] * l0 + (h0 ^ b[j]))
            v1 = np.uint32(a[j] * l1 + (h1 ^ b[j]))
            v2 = np.uint32(a[j] * l2 + (h2 ^ b[j]))
            v3 = np.uint32(a[j] * l3 + (h3 ^ b[j]))
            row[j] = min(row[j], min(min(v0, v1), min(v2, v3)))
    for i in range(four, count):
        for j in range(k):
            row[j] = min(row[j], np.uint32(a[j] * low[i] + (high[i] ^ b[j])))


@nb.njit(cache=True, nogil=True)
def estimate(one, other):  # type: ignore[no-untyped-def]
    """Estimated Jaccard similarity of two signatures: the share of equal values."""
    equal = 0
    for j in range(len(one)):
        equal += one[j] == other[j]
    return equal / len(one)


@nb.njit(cache=True, nogil=True)
def overlap(one, other):  # type: ignore[no-untyped-def]
    """Number of values that two sorted arrays of distinct values share."""
    i = j = shared = 0
    # Without branches on the values, which are hashes: no processor foretells which of two is the smaller.
    while i < len(one) and j < len(other):
        a, b = one[i], other[j]
        shared += a == b
        i += a <= b
        j += b <= a
    return shared
