"""The counting behind `signals`: each document through the walks of its parts, exact integers out.

Characters (`signals_characters`), lines (`signals_lines`), tokens (`signals_tokens`), repetition
(`signals_repeat`) and keywords (`keywords`) are each linear in the document's length; what one walk learns
lies in scratch arrays for the next, made once a batch.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pretrain_data.kernels import signals_counts as counts
from pretrain_data.kernels.bytes8 import LARGE, PRIME, in_huge_pages, s64, u
from pretrain_data.kernels.keywords_match import ODD, count_matches, mark_words
from pretrain_data.kernels.signals_characters import read, tell
from pretrain_data.kernels.signals_lines import LINE_C4, LINE_CURLY, scan_lines
from pretrain_data.kernels.signals_repeat import count_duplicates, number, repetition, slots_for, times_of
from pretrain_data.kernels.signals_tokens import RUN, scan_tokens
from pretrain_data.kernels.textscan import CODE_POINTS

_TAG = np.uint64(0xFF << 56)
_LINES, _PARAGRAPHS = counts.LINES, counts.PARAGRAPHS
_DUP_LINES, _DUP_LINE_CHARS = counts.DUP_LINES, counts.DUP_LINE_CHARS
_DUP_PARAGRAPHS, _DUP_PARAGRAPH_CHARS = counts.DUP_PARAGRAPHS, counts.DUP_PARAGRAPH_CHARS
_C4_LINES, _C4_SENTENCES, _C4_CURLY, _C4_LOREM = (
    counts.C4_LINES, counts.C4_SENTENCES, counts.C4_CURLY, counts.C4_LOREM,
)  # fmt: skip
_TOP_WORD, _EN_STOP, _EN_STOP_DISTINCT = counts.TOP_WORD, counts.EN_STOP, counts.EN_STOP_DISTINCT
_TOP_2, _DUP_5 = counts.TOP_2, counts.DUP_5


@njit(cache=True, nogil=True)
def _common_words(records: np.ndarray, distinct: int, stop_keys: np.ndarray, out: np.ndarray) -> None:
    """The most common word and the stop words, from the numbered tokens. `stop_keys` is a table of 256, 0: free."""
    top = stops = seen = 0
    for k in range(1, distinct + 1):
        key, often = records[u(k) << u(1)], s64(times_of(records[u(k) << u(1) | u(1)]))
        if key & _TAG != RUN and often > top:
            top = often
        slot = stop_slot(key)
        while stop_keys[slot]:
            if stop_keys[slot] == key:
                stops += often
                seen += 1
                break
            slot = (slot + u(1)) & u(255)
    out[_TOP_WORD] = top
    out[_EN_STOP] = stops
    out[_EN_STOP_DISTINCT] = seen


@njit(cache=True, nogil=True, inline="always")
def stop_slot(key: np.uint64) -> np.uint64:
    """Where in the table of stop words the search for a key begins."""
    return (key * PRIME) >> u(56)


@njit(cache=True, nogil=True)
def _c4(
    raw: int,
    line_flags: np.ndarray,
    line_masks: np.ndarray,
    line_sentences: np.ndarray,
    bad_lines: int,
    lorem_lines: int,
    out: np.ndarray,
) -> None:
    """What C4's rules for lines leave."""
    for r in range(raw):
        mark = line_flags[u(r)]
        if mark & LINE_C4:
            mask = line_masks[u(r)]
            if mask & lorem_lines:
                out[_C4_LOREM] += 1
            if mask & bad_lines:
                continue
            if mark & LINE_CURLY:
                out[_C4_CURLY] += 1
            out[_C4_LINES] += 1
            out[_C4_SENTENCES] += line_sentences[u(r)]


@njit(cache=True, nogil=True)
def count(
    data: np.ndarray,
    offsets: np.ndarray,
    table: np.ndarray,
    logs: np.ndarray,
    zh_stop: np.ndarray,
    stop_keys: np.ndarray,
    short_line: int,
    c4_words: int,
    c4_longest_word: int,
    terms: tuple,
    cutting: tuple,
    bad_lines: int,
    lorem_lines: int,
    results: np.ndarray,
    entropy: np.ndarray,
    hits: np.ndarray,
    hit_lines: np.ndarray,
) -> None:
    """Fill one row a document of `results` (COUNTS columns), `entropy`, `hits` and `hit_lines`.

    `terms` holds the keywords (`keywords.Matcher.arrays`), `cutting` the special cases of words (`wordcut.compile_cut`)
    and the sets of words that begin them (`signals_tokens.heads_of`).
    `bad_lines` and `lorem_lines` are bit sets of the keyword categories that spoil a line or a
    document for C4.
    """
    documents = offsets.size - 1
    longest = 0
    for d in range(documents):
        longest = max(longest, offsets[d + 1] - offsets[d])
    size = longest + 16
    codes = np.empty(size, np.uint32)
    flags = np.empty(size, np.uint8)
    letters = np.empty(size, np.uint8)
    marks = np.empty(size, np.uint8)
    ascii_times = np.empty(128, np.uint32)
    histogram = np.zeros(CODE_POINTS, np.uint32)
    touched = np.empty(min(size, CODE_POINTS), np.uint32)
    line_end = np.empty(size, np.uint32)
    line_byte = np.empty(size, np.int64)
    line_hash = np.empty(size, np.uint64)
    line_length = np.empty(size, np.uint32)
    paragraph_hash = np.empty(size, np.uint64)
    paragraph_length = np.empty(size, np.uint32)
    line_flags = np.empty(size, np.uint8)
    line_sentences = np.empty(size, np.uint32)
    line_masks = np.empty(size, np.uint32)
    keys = np.empty(size, np.uint64)
    starts = np.empty(size, np.uint32)
    ends = np.empty(size, np.uint32)
    slots = np.empty(slots_for(size), np.uint32)
    records = np.empty(2 * size, np.uint64)
    numbers = np.empty(size, np.uint32)
    place = np.empty(size, np.uint32)
    first_place = np.empty(size, np.uint32)
    often = np.empty(size, np.uint32)
    pending = np.empty(size, np.uint32)
    spot = np.empty(size, np.uint32)
    gram = np.empty(size, np.uint64)
    if longest >= LARGE:
        for four in (codes, starts, ends, slots, numbers, place, first_place, often, pending, spot):
            in_huge_pages(four)
        for eight in (keys, records, gram):
            in_huge_pages(eight)
        for one in (flags, letters, marks):
            in_huge_pages(one)
    symbol_of, kinds, first, edges, targets, masks, begins, ascii_begins, words = terms
    affixes, book, whole_words, heads = cutting
    for d in range(documents):
        out = results[d]
        start, end = offsets[d], offsets[d + 1]
        n, raw, distinct, seen = read(
            data, start, end, table, begins, ascii_begins[0], codes, flags, letters, marks, ascii_times, histogram,
            touched, line_end, line_byte, out,
        )  # fmt: skip
        entropy[d] = tell(table, zh_stop, ascii_times, histogram, touched, distinct, logs, out)
        scan_lines(
            data, start, codes, flags, raw, line_end, line_byte, short_line, c4_words, c4_longest_word, line_hash,
            line_length, paragraph_hash, paragraph_length, line_flags, out,
        )  # fmt: skip
        tokens = scan_tokens(
            codes, flags, letters, n, affixes, book, whole_words, heads, keys, starts, ends,
            line_sentences, out,
        )  # fmt: skip
        line_masks[:raw] = 0
        if hits.shape[1]:
            mark_words(
                codes, letters, marks, n, symbol_of, first, words, seen & ODD != 0
            )  # fmt: skip
            count_matches(
                codes, marks, n, line_end, symbol_of, kinds, first, edges, targets, masks, hits[d], hit_lines[d],
                line_masks,
            )  # fmt: skip
        _c4(raw, line_flags, line_masks, line_sentences, bad_lines, lorem_lines, out)
        duplicates, chars = count_duplicates(
            line_hash, line_length, out[_LINES], slots, records, spot, numbers
        )  # fmt: skip
        out[_DUP_LINES] = duplicates
        out[_DUP_LINE_CHARS] = chars
        duplicates, chars = count_duplicates(
            paragraph_hash, paragraph_length, out[_PARAGRAPHS], slots, records, spot, numbers
        )  # fmt: skip
        out[_DUP_PARAGRAPHS] = duplicates
        out[_DUP_PARAGRAPH_CHARS] = chars
        for t in range(tokens):
            spot[u(t)] = t
        distinct = number(keys, spot, tokens, slots, records, numbers)
        _common_words(records, distinct, stop_keys, out)
        repetition(
            numbers, starts, ends, tokens, slots, records, place, first_place, often, pending, spot, gram,
            out[_TOP_2 : _TOP_2 + 3], out[_DUP_5 : _DUP_5 + 6],
        )  # fmt: skip
