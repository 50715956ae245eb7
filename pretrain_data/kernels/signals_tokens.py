"""Cuts a document into tokens, each with a key that is equal exactly where the text is.

A token is: a URL; a word (letters, marks and digits, joined by inner . , : / ' _ @ where they belong
to it, `don't` being two as in Penn Treebank and spaCy); one Han or Kana character; or a run of one
punctuation or symbol character. A word is a token that is not punctuation or symbol.

Keys of short ASCII words, of single characters and of runs are exact; longer words have a hash of 63 bits.
"""

# ruff: noqa: SIM109 - chains of == compile to better machine code than `in` a tuple

from __future__ import annotations

import numpy as np
from numba import njit

from pretrain_data.kernels import signals_counts as counts
from pretrain_data.kernels.bytes8 import HIGH, PRIME, SEED, first_zero, load8, s64, trailing_zeros, u
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
    TERMINAL,
    UPPER,
)

_TOKENS, _WORDS, _WORD_CHARS, _ALPHA_WORDS = counts.TOKENS, counts.WORDS, counts.WORD_CHARS, counts.ALPHA_WORDS
_URLS, _URL_CHARS, _EMAILS = counts.URLS, counts.URL_CHARS, counts.EMAILS
_SENTENCES, _ELLIPSES = counts.SENTENCES, counts.ELLIPSES

_QUOTE, _APOSTROPHE, _CURLY_APOSTROPHE, _CURLY_QUOTE = ord('"'), ord("'"), 0x2019, 0x201D
_DOT, _COMMA, _COLON, _SLASH, _AT, _UNDERSCORE, _HYPHEN = (ord(c) for c in ".,:/@_-")
_UNSQUARE, _ROUND, _SEMICOLON = (ord(c) for c in "]);")
_LESS, _MORE, _QUESTION, _BANG, _LOW_H, _LOW_W = (ord(c) for c in "<>?!hw")
_ELLIPSIS = 0x2026

SINGLE = np.uint64(1 << 56)  # tag of a Han or Kana character's key
RUN = np.uint64(2 << 56)  # of a run of one mark
HASHED = np.uint64(1 << 63)  # of a hash
_LETTER_BITS = np.uint64(0x4040404040404040)  # set in ASCII letters, not in digits
_JOINERS = np.array([chr(c) in ".,:/'_@" for c in range(128)], bool)
_HTTP, _WWW = np.uint64(0x7468), np.uint64(0x7777)  # "ht", "ww"


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
    for k in range(i, j):
        h = (h ^ u(codes[u(k)])) * PRIME
        h ^= h >> u(29)
    return h | HASHED


def key_of(word: str) -> np.uint64:
    """The key that a token of this text gets."""
    codes = np.array([ord(c) for c in word], np.uint32)
    letters = np.zeros(len(word) + 8, np.uint8)
    letters[: len(word)] = [ASCII_LETTERS[c] if c < 128 else BEYOND for c in codes]
    return np.uint64(word_key(codes, letters, 0, len(word)))


@njit(cache=True, nogil=True)
def _url_at(codes: np.ndarray, i: int, n: int) -> bool:
    """Whether http://, https:// or www. begins at i, in any case."""
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
    return codes[i + 3] == _DOT


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


@njit(cache=True, nogil=True)
def _word_end(codes: np.ndarray, flags: np.ndarray, i: int, n: int) -> tuple[int, bool, bool]:
    """End of the word that begins at i, whether it holds a letter, whether it is an e-mail address."""
    kind = flags[u(i)] & CLASS_MASK
    alpha = kind == LATIN or kind == LETTER
    email = False
    j = i + 1
    while j < n:
        c = codes[u(j)]
        kind = flags[u(j)] & CLASS_MASK
        if wordish(kind):
            alpha = alpha or kind == LATIN or kind == LETTER
            j += 1
            continue
        if j + 1 >= n or not (c < 128 or c == _CURLY_APOSTROPHE):
            break
        following = flags[u(j + 1)]
        before = flags[u(j - 1)]
        joins = False
        if not wordish(following & CLASS_MASK):
            joins = c == _UNDERSCORE
        elif c == _DOT:
            lower_upper = (
                before & CLASS_MASK == LATIN
                and not before & UPPER
                and following & CLASS_MASK == LATIN
                and following & UPPER
            )
            joins = not lower_upper
        elif c == _COMMA or c == _COLON or c == _SLASH:
            joins = before & CLASS_MASK == DIGIT and following & CLASS_MASK == DIGIT
        elif c == _UNDERSCORE:
            joins = True
        elif c == _APOSTROPHE or c == _CURLY_APOSTROPHE:
            tail = j + 2
            while tail < n and tail < j + 4 and wordish(flags[u(tail)] & CLASS_MASK):
                tail += 1
            joins = tail == j + 4  # three letters or more: O'Brien; else it's, don't, we'll
        elif c == _AT and not email:
            end = _domain_end(codes, flags, j + 1, n)
            email = end > j + 1
            joins = email
            if email:
                alpha = True
                j = end - 1
        if not joins:
            break
        j += 1
    return j, alpha, email


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


@njit(cache=True, nogil=True)
def scan_tokens(
    codes: np.ndarray,
    flags: np.ndarray,
    letters: np.ndarray,
    n: int,
    keys: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    line_sentences: np.ndarray,
    out: np.ndarray,
) -> int:
    """Cut into tokens (`keys`, `starts`, `ends`); count them, words, URLs, e-mails and sentences."""
    tokens = words = word_chars = alpha_words = sentences = 0
    urls = url_chars = emails = ellipses = 0
    line = line_open = 0  # sentences of this line so far
    is_open = False  # a sentence has begun
    i = 0
    while i < n:
        x = load8(letters, u(i))
        if x & u(0xFF):
            zero = first_zero(x)
            x &= (zero & (~zero + u(1))) - u(1)
            j = i + s64(trailing_zeros(zero) >> u(3))
            high, alpha_bits = x & HIGH, x & _LETTER_BITS
            while zero == 0:
                y = load8(letters, u(j))
                zero = first_zero(y)
                y &= (zero & (~zero + u(1))) - u(1)
                j += s64(trailing_zeros(zero) >> u(3))
                high |= y & HIGH
                alpha_bits |= y & _LETTER_BITS
            joint = codes[u(j)] if j < n else 0
            plain = high == 0 and not (_JOINERS[u(joint)] if joint < 128 else joint == _CURLY_APOSTROPHE)
            if plain:
                keys[u(tokens)] = x if j - i < 8 else word_key(codes, letters, i, j)
                alpha_words += alpha_bits != 0
            else:
                first = x & u(0xFFFF) | u(0x2020)
                if (first == _HTTP or first == _WWW) and _url_at(codes, i, n):
                    j = _url_end(codes, flags, i, n)
                    urls += 1
                    url_chars += j - i
                    alpha_words += 1
                else:
                    j, alpha, email = _word_end(codes, flags, i, n)
                    alpha_words += alpha
                    emails += email
                keys[u(tokens)] = word_key(codes, letters, i, j)
            is_open = True
            words += 1
            word_chars += j - i
            starts[u(tokens)] = i
            ends[u(tokens)] = j
            tokens += 1
            i = j + (joint == 32) if plain else j
            continue
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
        c = codes[u(i)]
        if (
            (c == _APOSTROPHE or c == _CURLY_APOSTROPHE)
            and i > 0
            and wordish(flags[u(i - 1)] & CLASS_MASK)
            and i + 1 < n
            and wordish(flags[u(i + 1)] & CLASS_MASK)
        ):
            j, alpha, email = _word_end(codes, flags, i, n)
            alpha_words += alpha
            emails += email
            keys[u(tokens)] = word_key(codes, letters, i, j)
            is_open = True
            words += 1
            word_chars += j - i
        else:
            j = i + 1
            while j < n and codes[u(j)] == c:
                j += 1
            keys[u(tokens)] = RUN | u(j - i) << u(21) | u(c)
            if c == _DOT:
                ellipses += (j - i) // 3
            if flag & TERMINAL and is_open and _sentence_ends(codes, flags, i, j, n):
                sentences += 1
                line_open += 1
                is_open = False
        starts[u(tokens)] = i
        ends[u(tokens)] = j
        tokens += 1
        i = j
    line_sentences[u(line)] = line_open + is_open
    sentences += is_open
    out[_TOKENS] = tokens
    out[_WORDS] = words
    out[_WORD_CHARS] = word_chars
    out[_ALPHA_WORDS] = alpha_words
    out[_URLS] = urls
    out[_URL_CHARS] = url_chars
    out[_EMAILS] = emails
    out[_SENTENCES] = sentences
    out[_ELLIPSES] = ellipses
    return tokens
