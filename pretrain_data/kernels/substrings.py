"""Long runs of tokens that texts share, by winnowed n-grams: sampled, merged into runs, and found in the text.

Texts are folded and cut into tokens as documents are (`kernels.minhash`, a run of letters or a Chinese character). Of
every window of w n-grams the one with the least hash is chosen, the rightmost where several have it: equal windows
choose equal grams wherever they stand, so that two texts that share n + w - 1 tokens in a row have a chosen gram in
common, and a gram says nothing about less than n tokens. Sources: Schleimer, Wilkerson, Aiken 2003 ("Winnowing: Local
Algorithms for Document Fingerprinting"); Karp and Rabin 1987 (rolling hashes); Lee et al. 2021 ("Deduplicating
Training Data Makes Language Models Better") for what they are looked for.
"""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pretrain_data.kernels.growing import doubled
from pretrain_data.kernels.minhash import BASE, _mix, _tokens
from pretrain_data.kernels.normalize import LIMIT, RUN, SEPARATOR, SINGLE, TOKENS_A_BYTE, tables
from pretrain_data.kernels.textscan import text_buffers

I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Grams(NamedTuple):
    """Chosen n-grams of texts in order: the text, its token that the gram begins with, and a 64-bit hash."""

    row: I64
    token: I64
    hash: I64


class Runs(NamedTuple):
    """Tokens `first` to `last` (not included) of texts, in order and apart from each other; each gram that they are
    made of is in `documents` documents or more."""

    row: I64
    first: I64
    last: I64
    documents: I64


def grams(text: pa.Array, tokens: int, window: int, simplified: bool = False) -> Grams:
    """The chosen n-grams (n = `tokens`) of all texts; of a text with fewer than `window` grams one is chosen."""
    data, offsets = text_buffers(text)
    return Grams(*_grams(data, offsets, tokens, window, tables(simplified)))


def runs(found: Grams, gone: Flags, kept: Flags, documents: I64, tokens: int) -> Runs:
    """What the grams that are `gone` cover and those that are `kept` don't, joined; parts under `tokens` are left.

    The arrays have an entry a gram, `documents` how many documents hold it.
    """
    return Runs(*_runs(found.row, found.token, gone, kept, documents, tokens))


def places(text: pa.Array, found: Runs, simplified: bool = False) -> tuple[I64, I64]:
    """Start and end of runs in bytes of their texts, from the first token's first to the last one's last.

    A run is cut where a character or word ends that lies in it whole: a ligature that is spelt out, a word with an
    apostrophe or a hyphen and a decimal number are several tokens that stay together. A run with no such part is empty,
    0 to 0.
    """
    data, offsets = text_buffers(text)
    start, end = _places(data, offsets, found.row, found.first, found.last, tables(simplified))
    return start, end


@nb.njit(cache=True, nogil=True)
def _least(hashes, start, end):  # type: ignore[no-untyped-def]
    """The place of the least of hashes[start:end], the rightmost of equal ones."""
    best = start
    for i in range(start + 1, end):
        if hashes[i] <= hashes[best]:
            best = i
    return best


@nb.njit(cache=True, nogil=True)
def _grams(data, offsets, n, window, fold):  # type: ignore[no-untyped-def]
    longest = np.int64(0)
    for d in range(len(offsets) - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    tokens = np.empty(TOKENS_A_BYTE * longest + 1, np.uint64)
    oldest = np.uint64(1)  # what the oldest token of a gram is multiplied by
    for _ in range(n - 1):
        oldest *= BASE
    row, token = np.empty(1024, np.int64), np.empty(1024, np.int64)
    hashes = np.empty(1024, np.int64)
    at = 0
    for d in range(len(offsets) - 1):
        count = _tokens(data, offsets[d], offsets[d + 1], False, fold, tokens)
        total = count - n + 1
        if total < 1:
            continue
        h = np.uint64(0)
        for i in range(n):
            h = h * BASE + tokens[i]
        # A gram's hash takes the place of its first token, which no later gram has.
        for i in range(total - 1):
            left = tokens[i]
            tokens[i] = _mix(h)
            h = (h - left * oldest) * BASE + tokens[i + n]
        tokens[total - 1] = _mix(h)
        width = min(window, total)
        best, chosen = 0, -1
        for end in range(width, total + 1):
            if end == width or best < end - width:
                best = _least(tokens, end - width, end)
            elif tokens[end - 1] <= tokens[best]:
                best = end - 1
            if best != chosen:
                if at == len(row):
                    row, token, hashes = doubled(row), doubled(token), doubled(hashes)
                row[at], token[at], hashes[at] = d, best, np.int64(tokens[best])
                chosen = best
                at += 1
    return row[:at].copy(), token[:at].copy(), hashes[:at].copy()


@nb.njit(cache=True, nogil=True)
def _runs(row, token, gone, kept, documents, n):  # type: ignore[no-untyped-def]
    # Each gram that is kept parts what is gone once at most.
    most = len(row) + 1
    rows, first = np.empty(most, np.int64), np.empty(most, np.int64)
    last, least = np.empty(most, np.int64), np.empty(most, np.int64)
    at, low = 0, 0
    while low < len(row):
        high = low
        while high < len(row) and row[high] == row[low]:
            high += 1
        begun, keeping, i = at, low, low
        while i < high:
            if not gone[i]:
                i += 1
                continue
            start, end = token[i], token[i] + n
            i += 1
            while i < high and token[i] <= end:
                if gone[i]:
                    end = token[i] + n
                i += 1
            while keeping < high and token[keeping] + n <= start:
                keeping += 1
            k = keeping
            while k < high and token[k] < end:
                if kept[k]:
                    if token[k] - start >= n:
                        rows[at], first[at], last[at] = row[low], start, token[k]
                        at += 1
                    start = max(start, token[k] + n)
                k += 1
            if end - start >= n:
                rows[at], first[at], last[at] = row[low], start, end
                at += 1
        i = low
        for run in range(begun, at):
            while token[i] + n <= first[run]:
                i += 1
            least[run] = np.int64(2**62)
            j = i
            while j < high and token[j] < last[run]:
                if gone[j]:
                    least[run] = min(least[run], documents[j])
                j += 1
        low = high
    return rows[:at].copy(), first[:at].copy(), last[:at].copy(), least[:at].copy()


@nb.njit(cache=True, nogil=True)
def _point(data, i):  # type: ignore[no-untyped-def]
    """The code point that begins at byte i, and its length in bytes."""
    lead = np.int64(data[i])
    if lead < 0x80:
        return lead, 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | np.int64(data[i + 1] & 0x3F), 2
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | np.int64(data[i + 1] & 0x3F) << 6 | np.int64(data[i + 2] & 0x3F), 3
    high = (lead & 0x07) << 18 | np.int64(data[i + 1] & 0x3F) << 12
    return high | np.int64(data[i + 2] & 0x3F) << 6 | np.int64(data[i + 3] & 0x3F), 4


@nb.njit(cache=True, nogil=True)
def _digit(byte):  # type: ignore[no-untyped-def]
    return 48 <= byte <= 57


@nb.njit(cache=True, nogil=True)
def _together(data, before, i, point):  # type: ignore[no-untyped-def]
    """Whether the token that begins at byte i with `point` goes on what the token before, ended at `before`, began."""
    if i < before:
        return True  # one character is several tokens
    if i == before:  # a variation selector, which belongs to the character before
        return 0xFE00 <= point <= 0xFE0F or 0xE0100 <= point <= 0xE01EF
    if i == before + 1:
        between = data[before]
        if between == 0x27 or between == 0x2D:  # ' -
            return True
        return (between == 0x2C or between == 0x2E) and _digit(data[before - 1]) and _digit(data[i])  # , .
    if i == before + 3:  # U+2019
        return data[before] == 0xE2 and data[before + 1] == 0x80 and data[before + 2] == 0x99
    return False


@nb.njit(cache=True, nogil=True)
def _token_places(data, low, high, fold, start, end, joined):  # type: ignore[no-untyped-def]
    """Where each token of `minhash._tokens` starts and ends, and whether it can't be parted from the one before.

    The arrays are filled and, where they are too short, made anew; the number of tokens comes first.
    """
    count = np.int64(0)
    within = False  # a run of letters that token `count` is
    i = low
    while i < high:
        point, size = _point(data, i)
        after = i + size
        if point >= LIMIT:
            code, last, single = point, np.int64(-1), True
        else:
            code, last, single = np.int64(fold.folded[point]), np.int64(-1), False
        at = np.int64(0)
        if code < 0:
            at, last = np.int64(fold.start[-code - 1]), np.int64(fold.start[-code])
            if at == last:  # an accent that is folded away goes with its letter
                token = count if within else count - 1
                if token >= 0 and end[token] == i:
                    end[token] = after
                i = after
                continue
            code = np.int64(fold.spelt[at])
        while True:
            kind = SINGLE if single else (fold.kind[code] if code < LIMIT else SINGLE)
            if kind != RUN and within:
                count += 1
                within = False
            if kind != SEPARATOR:
                if count + 1 >= len(start):
                    start, end, joined = doubled(start), doubled(end), doubled(joined)
                if not within:
                    start[count] = i
                    joined[count] = count > 0 and _together(data, end[count - 1], i, point)
                end[count] = after
                if kind == RUN:
                    within = True
                else:
                    count += 1
            at += 1
            if at >= last:
                break
            code = np.int64(fold.spelt[at])
        i = after
    return count + within, start, end, joined


@nb.njit(cache=True, nogil=True)
def _places(data, offsets, row, first, last, fold):  # type: ignore[no-untyped-def]
    begins, ends = np.zeros(len(row), np.int64), np.zeros(len(row), np.int64)
    start, end = np.empty(1024, np.int64), np.empty(1024, np.int64)
    joined = np.empty(1024, np.bool_)
    count = np.int64(0)
    for i in range(len(row)):
        base = offsets[row[i]]
        if i == 0 or row[i] != row[i - 1]:
            until = offsets[row[i] + 1]
            count, start, end, joined = _token_places(data, base, until, fold, start, end, joined)
        low, high = first[i], last[i]
        while low < high and joined[low]:
            low += 1
        while high > low and high < count and joined[high]:
            high -= 1
        if low < high:
            begins[i], ends[i] = start[low] - base, end[high - 1] - base
    return begins, ends
