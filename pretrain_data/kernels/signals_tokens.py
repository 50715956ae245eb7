"""Cuts a document into tokens, each with a key that is equal exactly where the text is.

A token is one Han or Kana character, one CJK or full-width punctuation mark, or what `wordcut` makes of the
pieces between these and white space: words and marks as spaCy cuts English. A word is a token with a letter or
digit of any script in it.

Keys of short ASCII words and of single characters are exact; other words have a hash of 63 bits, other marks one of 56.
"""

# ruff: noqa: SIM109 - chains of == compile to better machine code than `in` a tuple

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from numba import njit

from pretrain_data.kernels import signals_counts as counts
from pretrain_data.kernels.bytes8 import HIGH, PRIME, SEED, first_zero, load8, pointer, s64, trailing_zeros, u
from pretrain_data.kernels.signals_characters import ASCII_LETTERS, BEYOND, wordish
from pretrain_data.kernels.textscan import (
    CLASS_MASK,
    CONTROL,
    DIGIT,
    HAN,
    KANA,
    LATIN,
    LETTER,
    NEWLINE,
    OTHER,
    PUNCT_ZH,
    SPACE,
    TABLE_SIZE,
    TERMINAL,
    UPPER,
)
from pretrain_data.kernels.wordcut import WALKED, cut_piece

_TOKENS, _WORDS, _WORD_CHARS, _ALPHA_WORDS = counts.TOKENS, counts.WORDS, counts.WORD_CHARS, counts.ALPHA_WORDS
_URLS, _URL_CHARS, _EMAILS = counts.URLS, counts.URL_CHARS, counts.EMAILS
_SENTENCES, _ELLIPSES = counts.SENTENCES, counts.ELLIPSES

_QUOTE, _APOSTROPHE, _CURLY_APOSTROPHE, _CURLY_QUOTE = ord('"'), ord("'"), 0x2019, 0x201D
_DOT, _COMMA, _COLON, _SLASH, _AT, _UNDERSCORE, _HYPHEN = (ord(c) for c in ".,:/@_-")
_UNSQUARE, _ROUND, _SEMICOLON = (ord(c) for c in "]);")
_LESS, _MORE, _QUESTION, _BANG, _LOW_H, _LOW_W = (ord(c) for c in "<>?!hw")
_ELLIPSIS = 0x2026

SINGLE = np.uint64(1 << 56)  # tag of a Han or Kana character's key
RUN = np.uint64(2 << 56)  # of marks
HASHED = np.uint64(1 << 63)  # of a hash
_LETTER_BITS = np.uint64(0x4040404040404040)  # set in ASCII letters, not in digits
_DIGIT_BITS = np.uint64(0x1010101010101010)  # set in digits where the letters' bit, two higher, isn't
_UNTAGGED = np.uint64((1 << 56) - 1)
_ENDS = 4
_CUTS, _MAY_STAY = 1, 2
#: Marks that are cut off behind a word without more ado, unless a special case ends so (_MAY_STAY); _ENDS a sentence.
_FAST_MARKS = np.zeros(128, np.uint8)
_FAST_MARKS[[ord(c) for c in ',;:!?"']] = _CUTS
_FAST_MARKS[[ord(c) for c in ")]."]] = _MAY_STAY
_FAST_MARKS[[ord(c) for c in ".!?"]] |= _ENDS


@njit(cache=True, nogil=True)
def word_key(codes: np.ndarray, letters: np.ndarray, i: int, j: int) -> np.uint64:
    """The key of the word at i..j: its bytes where they are up to seven ASCII letters or digits, else a hash."""
    h = SEED
    odd = u(0)  # not 0 where something else than ASCII letters and digits is in it
    k = i
    while k + 8 <= j:
        x = load8(letters, u(k))
        odd |= x & HIGH | first_zero(x)
        h = (h ^ x) * PRIME
        h ^= h >> u(29)
        k += 8
    behind = ~u(0) << u(8 * (j - k))
    rest = load8(letters, u(k)) & ~behind
    odd |= rest & HIGH | first_zero(rest | behind)
    if odd == 0:
        return rest if j - i < 8 else (h ^ rest) * PRIME | HASHED
    k = i
    while k + 2 <= j:
        h = (h ^ load8(codes, u(k))) * PRIME
        h ^= h >> u(29)
        k += 2
    if k < j:
        h = (h ^ u(codes[u(k)])) * PRIME
        h ^= h >> u(29)
    return h | HASHED


def key_of(word: str) -> np.uint64:
    """The key that a token of this text gets."""
    codes = np.array([ord(c) for c in word], np.uint32)  # word_key loads two at a time, none behind the end
    letters = np.zeros(len(word) + 8, np.uint8)
    letters[: len(word)] = [ASCII_LETTERS[c] if c < 128 else BEYOND for c in codes]
    return np.uint64(word_key(codes, letters, 0, len(word)))


def heads_of(special_cases: Iterable[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Sets of 65,536 bits for `scan_tokens`: special cases of ASCII letters alone, and what others begin with."""
    whole_words, heads = np.zeros(1 << 13, np.uint8), np.zeros(1 << 13, np.uint8)
    for text in special_cases:
        head = text[: next((k for k, c in enumerate(text) if not (c.isascii() and c.isalnum())), len(text))]
        if head:
            slot = int(key_of(head)) * int(PRIME) % (1 << 64) >> 48
            (whole_words if head == text else heads)[slot >> 3] |= 1 << (slot & 7)
    return whole_words, heads


@njit(cache=True, nogil=True)
def _url_at(codes: np.ndarray, flags: np.ndarray, i: int, n: int) -> bool:
    """Whether http://, https://, or www. before a letter or digit begins at i, in any case."""
    c = codes[i] | 32
    if c == _LOW_H:
        if i + 8 >= n or codes[i + 1] | 32 != 116 or codes[i + 2] | 32 != 116 or codes[i + 3] | 32 != 112:
            return False
        j = i + 4
        if codes[j] | 32 == 115:
            j += 1
        return codes[j] == _COLON and codes[j + 1] == _SLASH and codes[j + 2] == _SLASH
    if i + 4 >= n or codes[i + 1] | 32 != _LOW_W or codes[i + 2] | 32 != _LOW_W:
        return False
    return codes[i + 3] == _DOT and wordish(flags[i + 4] & CLASS_MASK)


@njit(cache=True, nogil=True)
def _url_end(codes: np.ndarray, flags: np.ndarray, i: int, n: int) -> int:
    j = i
    while j < n:
        kind = flags[j] & CLASS_MASK
        c = codes[j]
        if (
            kind == SPACE or kind == NEWLINE or kind == CONTROL or kind == OTHER
            or kind == HAN or kind == KANA or kind == PUNCT_ZH
            or c == _LESS or c == _MORE or c == _QUOTE
        ):  # fmt: skip
            break
        j += 1
    while j > i + 1:
        c = codes[j - 1]
        if (
            c == _DOT or c == _COMMA or c == _COLON or c == _SEMICOLON or c == _BANG or c == _QUESTION
            or c == _ROUND or c == _UNSQUARE or c == _APOSTROPHE
        ):  # fmt: skip
            j -= 1
        else:
            break
    return j


@njit(cache=True, nogil=True)
def _domain_end(codes: np.ndarray, flags: np.ndarray, i: int, n: int) -> int:
    """End of the e-mail domain that begins at i, or i where there is none.

    ASCII letters, digits, hyphens and dots; after the last dot two letters or more.
    """
    limit = min(n, i + 255)
    j = i
    dot = -1
    while j < limit:
        c = codes[j]
        kind = flags[j] & CLASS_MASK
        if c < 128 and (kind == LATIN or kind == DIGIT or c == _HYPHEN):
            j += 1
        elif c == _DOT and j > i and j + 1 < limit and codes[j + 1] < 128 and wordish(flags[j + 1] & CLASS_MASK):
            dot = j
            j += 1
        else:
            break
    if dot < 0 or j - dot < 3:
        return i
    for k in range(dot + 1, j):
        if flags[k] & CLASS_MASK != LATIN:
            return i
    return j


@njit(cache=True, nogil=True, inline="always")
def _is_initial(flags: np.ndarray, i: int) -> bool:
    """Whether a word of one upper-case letter ends at i."""
    return i >= 0 and flags[i] & UPPER and (i == 0 or not wordish(flags[i - 1] & CLASS_MASK))


@njit(cache=True, nogil=True)
def _sentence_ends(codes: np.ndarray, flags: np.ndarray, i: int, end: int, n: int) -> bool:
    """Whether the run of one terminal mark at i..end closes a sentence."""
    c = codes[i]
    if c >= 128:
        return c != _ELLIPSIS
    if c == _DOT and end == i + 1 and _is_initial(flags, i - 1):
        return False
    j = end
    while j < n:
        c = codes[j]
        if (
            c == _QUOTE or c == _APOSTROPHE or c == _ROUND or c == _UNSQUARE or c == _CURLY_APOSTROPHE
            or c == _CURLY_QUOTE or c == _DOT or c == _BANG or c == _QUESTION
        ):  # fmt: skip
            j += 1
        else:
            break
    if j >= n:
        return True
    kind = flags[j] & CLASS_MASK
    return kind == SPACE or kind == NEWLINE or kind == HAN or kind == KANA or kind == PUNCT_ZH


@njit(cache=True, nogil=True, inline="always")
def _parts(kind: int) -> bool:
    """Whether a character of this class ends a piece."""
    return kind == SPACE or kind == NEWLINE or kind == HAN or kind == KANA or kind == PUNCT_ZH


@njit(cache=True, nogil=True)
def _walk(
    codes: np.ndarray, flags: np.ndarray, letters: np.ndarray, a: int, b: int, n: int, is_open: bool, out: np.ndarray
) -> tuple[int, bool]:
    """Count addresses and ellipses of the piece at a..b into `out`; sentences that end in it; whether one is open."""
    sentences = 0
    i = a
    while i < b:
        if letters[u(i)]:
            is_open = True
            low = codes[u(i)] | 32
            if (low == _LOW_H or low == _LOW_W) and (i == a or letters[u(i - 1)] == 0) and _url_at(codes, flags, i, n):
                end = _url_end(codes, flags, i, n)
                out[_URLS] += 1
                out[_URL_CHARS] += end - i
                i = end
            else:
                i += 1
            continue
        c = codes[u(i)]
        if c == _AT and i > a and (letters[u(i - 1)] or codes[u(i - 1)] == _UNDERSCORE):
            end = _domain_end(codes, flags, i + 1, n)
            out[_EMAILS] += end > i + 1
            i = end + (end > i + 1)  # no second one begins right behind it
            continue
        j = i + 1
        if flags[u(i)] & TERMINAL:
            while j < b and codes[u(j)] == c:
                j += 1
            if c == _DOT:
                out[_ELLIPSES] += (j - i) // 3
            if is_open and _sentence_ends(codes, flags, i, j, n):
                sentences += 1
                is_open = False
        i = j
    return sentences, is_open


@njit(cache=True, nogil=True, inline="always")
def _is_head(heads: np.ndarray, key: np.uint64) -> bool:
    slot = (key * PRIME) >> u(48)
    return (heads[slot >> u(3)] >> (slot & u(7))) & 1 != 0


@njit(cache=True, nogil=True)
def scan_tokens(
    codes: np.ndarray,
    flags: np.ndarray,
    letters: np.ndarray,
    n: int,
    marks: np.ndarray,
    book: np.ndarray,
    whole_words: np.ndarray,
    heads: np.ndarray,
    keys: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    line_sentences: np.ndarray,
    out: np.ndarray,
) -> int:
    """Cut into tokens (`keys`, `starts`, `ends`); count them, words, URLs, e-mails and sentences.

    A word of ASCII letters with white space, or one mark and white space, behind it needs no cutting,
    unless it is a special case itself (`whole_words`) or begins one (`heads`): sets of 65,536 bits by
    the word's key. All else goes through `cut_piece`.
    """
    code_items, mark_items, book_items = pointer(codes), pointer(marks), pointer(book)
    start_items, end_items = pointer(starts), pointer(ends)
    tokens = words = word_chars = alpha_words = sentences = 0
    line = line_open = 0  # sentences of this line so far
    is_open = False  # a sentence has begun
    i = 0
    while i < n:
        x = load8(letters, u(i))
        if x & u(0xFF):
            zero = first_zero(x)
            x &= (zero & (~zero + u(1))) - u(1)
            j = i + s64(trailing_zeros(zero) >> u(3))
            high, letter_bits, digit_bits = x & HIGH, x & _LETTER_BITS, x & ~(x >> u(2)) & _DIGIT_BITS
            while zero == 0:
                y = load8(letters, u(j))
                zero = first_zero(y)
                y &= (zero & (~zero + u(1))) - u(1)
                j += s64(trailing_zeros(zero) >> u(3))
                high |= y & HIGH
                letter_bits |= y & _LETTER_BITS
                digit_bits |= y & ~(y >> u(2)) & _DIGIT_BITS
            if high == 0 and (letter_bits == 0 or digit_bits == 0):
                joint = s64(codes[u(j)]) if j < n else 32
                alone = joint == 32 or _parts(flags[u(j)] & CLASS_MASK)
                follows = 0
                if not alone and joint < 128:
                    follows = s64(_FAST_MARKS[u(joint)])
                    if (j + 1 < n and not _parts(flags[u(j + 1)] & CLASS_MASK)) or (
                        joint == _DOT and flags[u(j - 1)] & UPPER
                    ):
                        follows = 0
                if alone or follows:
                    key = x if j - i < 8 else word_key(codes, letters, i, j)
                    if not (_is_head(whole_words, key) or (follows & _MAY_STAY and _is_head(heads, key))):
                        keys[u(tokens)] = key
                        starts[u(tokens)] = i
                        ends[u(tokens)] = j
                        tokens += 1
                        words += 1
                        word_chars += j - i
                        alpha_words += letter_bits != 0
                        is_open = True
                        if follows:
                            keys[u(tokens)] = RUN | u(joint)
                            starts[u(tokens)] = j
                            j += 1
                            ends[u(tokens)] = j
                            tokens += 1
                            if follows & _ENDS:
                                sentences += 1
                                line_open += 1
                                is_open = False
                            i = j
                        else:
                            i = j + (joint == 32)
                        continue
        else:
            flag = flags[u(i)]
            kind = flag & CLASS_MASK
            if kind == HAN or kind == KANA:
                while True:
                    keys[u(tokens)] = SINGLE | u(codes[u(i)])
                    starts[u(tokens)] = i
                    i += 1
                    ends[u(tokens)] = i
                    tokens += 1
                    words += 1
                    word_chars += 1
                    alpha_words += 1
                    if i >= n:
                        break
                    kind = flags[u(i)] & CLASS_MASK
                    if kind != HAN and kind != KANA:
                        break
                is_open = True
                continue
            if kind == SPACE or kind == CONTROL:
                i += 1
                continue
            if kind == NEWLINE:
                line_sentences[u(line)] = line_open + is_open
                sentences += is_open
                is_open = False
                line_open = 0
                line += 1
                i += 1
                continue
            if kind == PUNCT_ZH:
                keys[u(tokens)] = RUN | u(codes[u(i)])
                starts[u(tokens)] = i
                i += 1
                ends[u(tokens)] = i
                tokens += 1
                if flag & TERMINAL and is_open:
                    sentences += 1
                    line_open += 1
                    is_open = False
                continue
        if i + 1 >= n or _parts(flags[u(i + 1)] & CLASS_MASK):  # one character
            j = i + 1
            starts[u(tokens)] = i
            ends[u(tokens)] = j
            if letters[u(i)]:
                keys[u(tokens)] = word_key(codes, letters, i, j)
                words += 1
                word_chars += 1
                kind = flags[u(i)] & CLASS_MASK
                alpha_words += kind == LATIN or kind == LETTER
                is_open = True
            else:
                keys[u(tokens)] = RUN | u(codes[u(i)])
                if flags[u(i)] & TERMINAL and is_open and _sentence_ends(codes, flags, i, j, n):
                    sentences += 1
                    line_open += 1
                    is_open = False
            tokens += 1
            i = j
            continue
        union = s64(0)
        all_flags = np.uint8(0)
        wordy = np.uint8(0)
        j = i
        while j < n:
            flag = flags[u(j)]
            if _parts(flag & CLASS_MASK):
                break
            c = codes[u(j)]
            if c < TABLE_SIZE:
                union |= s64(marks[u(c)])
            all_flags |= flag
            wordy |= letters[u(j)]
            j += 1
        if union & WALKED or all_flags & TERMINAL:
            closed, is_open = _walk(codes, flags, letters, i, j, n, is_open, out)
            sentences += closed
            line_open += closed
        elif wordy:
            is_open = True
        first = tokens
        tokens = cut_piece(
            code_items, mark_items, book_items, union, i, j, start_items, end_items, tokens, n
        )  # fmt: skip
        for t in range(first, tokens):
            a, b = s64(starts[u(t)]), s64(ends[u(t)])
            if b - a == 1 and letters[u(a)] == 0:
                keys[u(t)] = RUN | u(codes[u(a)])
                continue
            some = u(0)
            k = a
            while k < b:
                x = load8(letters, u(k))
                if b - k < 8:
                    x &= (u(1) << u(8 * (b - k))) - u(1)
                some |= x
                k += 8
            key = word_key(codes, letters, a, b)
            if some == 0:
                keys[u(t)] = RUN | key & _UNTAGGED
                continue
            alpha = some & _LETTER_BITS != 0
            if some & HIGH:
                alpha = False
                for k in range(a, b):
                    kind = flags[u(k)] & CLASS_MASK
                    alpha |= kind == LATIN or kind == LETTER
            keys[u(t)] = key
            words += 1
            word_chars += b - a
            alpha_words += alpha
        i = j
    line_sentences[u(line)] = line_open + is_open
    sentences += is_open
    out[_TOKENS] = tokens
    out[_WORDS] = words
    out[_WORD_CHARS] = word_chars
    out[_ALPHA_WORDS] = alpha_words
    out[_SENTENCES] = sentences
    return tokens
