"""Cuts what stands between spaces into tokens, as spaCy's rules for English do.

Published thresholds for words and repetition are in use with these rules (datatrove, FineWeb), so that a share of
words means the same here. A piece is a run of characters without white space, Han, Kana or CJK
punctuation. Marks are taken off its ends one by one; what is left is a special case, an address, or is cut at
hyphens, dots and other marks between letters. Marks within code or formulas stay: `\\mathcal{O}_X` is one token.

The algorithm is that of spaCy's tokenizer (https://spacy.io/usage/linguistic-features#how-tokenizer-works). Where we
part from it: symbols are those of Python's Unicode, letters those of all scripts, an IP address is no address, and
merging of special cases over tokens is done from left to right.
"""

# ruff: noqa: SIM109 - chains of == compile to better machine code than `in` a tuple

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit

from pretrain_data.kernels.bytes8 import PRIME, SEED, pointer, s64, trailing_zeros, u
from pretrain_data.kernels.textscan import TABLE_SIZE

Marks = npt.NDArray[np.uint16]
Book = npt.NDArray[np.uint64]

# What a character may be to the rules: one bit each in the table of `mark_table`.
PREFIX = 1  # taken off the front
SUFFIX = 2  # taken off the end
INFIX = 4  # cut wherever it stands: symbols, the ellipsis
ALPHA = 8
LOWER = 16  # letters but capitals
CAPITAL = 32  # capitals, and letters of scripts without case
BEFORE_DOT = 64  # a full stop behind it is taken off the end
QUOTE = 128
DIGIT = 256  # 0 to 9
MAY_CUT = 512  # may cut a word that it stands in
WALKED = 1024  # @ : w W: an address may stand beside it

_PUNCTUATION = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_QUOTES = "'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_CURRENCY = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"

LONGEST = 15  # characters of a special case
_SLOTS = 4096
_LONGEST_UNIT = 4

# Parts of the book that `compile_cut` writes: tables of hashes with open addressing, what belongs to their entries, and
# by the low byte of the first and of the last character the lengths of strings that begin or end so, a bit each.
_SPECIALS = 0
_CUTS = _SLOTS  # low 16 bits: where the special case is cut; next 16: where it would be without being one
_UNITS = 2 * _SLOTS
_FIRST, _LAST = 3 * _SLOTS, 3 * _SLOTS + 256
_FIRST_FACE, _LAST_FACE = _LAST + 256, _LAST + 512  # of those kept whole that the rules would cut
_BOOK = _LAST_FACE + 256

(
    _DOT, _COMMA, _COLON, _SLASH, _AT, _HYPHEN, _PLUS, _STAR, _CARET, _EQUALS, _LESS, _MORE, _TILDE, _DOLLAR, _HASH,
    _QUESTION, _UNDERSCORE, _LOW_S,
) = (ord(c) for c in ".,:/@-+*^=<>~$#?_s")  # fmt: skip
_EN_DASH, _EM_DASH, _DEGREE, _ELLIPSIS, _APOSTROPHE, _CURLY = 0x2013, 0x2014, 0xB0, 0x2026, 0x27, 0x2019


@lru_cache(maxsize=1)
def mark_table() -> Marks:
    """For each code point below TABLE_SIZE the bits above."""
    table = np.zeros(TABLE_SIZE, np.uint16)
    for code in range(TABLE_SIZE):
        char = chr(code)
        category = unicodedata.category(char)
        if category == "So":
            table[code] = PREFIX | SUFFIX | INFIX | MAY_CUT
        elif category[0] == "L":
            case = CAPITAL if category in ("Lu", "Lt") else LOWER if category == "Ll" else CAPITAL | LOWER
            table[code] = ALPHA | case | (BEFORE_DOT if case & LOWER else 0)
    for char in _PUNCTUATION:
        table[ord(char)] |= PREFIX | SUFFIX | BEFORE_DOT
    for char in _QUOTES:
        table[ord(char)] |= PREFIX | SUFFIX | BEFORE_DOT | QUOTE
    for char in "§%=—–" + _CURRENCY:
        table[ord(char)] |= PREFIX
    for char in "—–":
        table[ord(char)] |= SUFFIX
    for char in "0123456789%²-+|":
        table[ord(char)] |= BEFORE_DOT
    table[_ELLIPSIS] |= INFIX
    table[[ord(c) for c in "0123456789"]] |= DIGIT
    table[[ord(c) for c in "….,:<>=/+-*^~–—"]] |= MAY_CUT
    table[[ord(c) for c in "@:wW"]] |= WALKED
    table.setflags(write=False)
    return table


@njit(cache=True, nogil=True)
def _hash(codes: np.ndarray, a: int, b: int) -> np.uint64:
    h = SEED
    for k in range(a, b):
        h = (h ^ u(codes[u(k)])) * PRIME
        h ^= h >> u(29)
    return h | u(1)


@njit(cache=True, nogil=True)
def _hash_alone(codes: np.ndarray) -> np.uint64:
    return _hash(pointer(codes), 0, codes.size)


@njit(cache=True, nogil=True)
def _find(book: np.ndarray, table: int, codes: np.ndarray, a: int, b: int) -> int:
    """The slot of the string at a..b in a table of the book, or -1."""
    h = _hash(codes, a, b)
    slot = h >> u(52)
    while book[u(table) + slot]:
        if book[u(table) + slot] == h:
            return s64(slot)
        slot = (slot + u(1)) & u(_SLOTS - 1)
    return -1


@njit(cache=True, nogil=True, inline="always")
def _possible(book: np.ndarray, first: int, last: int, codes: np.ndarray, a: int, b: int) -> bool:
    """Whether some string of this length begins and some ends as that at a..b does."""
    lengths = book[u(first) + u(codes[u(a)] & 255)] & book[u(last) + u(codes[u(b - 1)] & 255)]
    return (lengths >> u(min(b - a, 63))) & u(1) != u(0)


@njit(cache=True, nogil=True, inline="always")
def _special(book: np.ndarray, codes: np.ndarray, a: int, b: int) -> int:
    """The slot of the special case at a..b, or -1."""
    return _find(book, _SPECIALS, codes, a, b) if _possible(book, _FIRST, _LAST, codes, a, b) else -1


@njit(cache=True, nogil=True, inline="always")
def _digit(c: int) -> bool:
    return 48 <= c <= 57


@njit(cache=True, nogil=True, inline="always")
def _bits(marks: np.ndarray, c: int) -> int:
    return s64(marks[u(c)]) if c < TABLE_SIZE else 0


@njit(cache=True, nogil=True)
def _prefix(codes: np.ndarray, marks: np.ndarray, a: int, b: int) -> int:
    """Characters to be taken off the front of a..b."""
    c = codes[u(a)]
    if _bits(marks, c) & PREFIX:
        return 1
    if c == _PLUS:
        return 0 if a + 1 < b and _digit(codes[u(a + 1)]) else 1
    if c == _DOT:
        j = a + 1
        while j < b and codes[u(j)] == _DOT:
            j += 1
        return j - a if j > a + 1 else 0
    if (c == 65 or c == 67) and a + 1 < b and codes[u(a + 1)] == _DOLLAR:  # A$, C$
        return 2
    if c == 85 and a + 2 < b and codes[u(a + 1)] == 83 and codes[u(a + 2)] == _DOLLAR:  # US$
        return 3
    return 0


@njit(cache=True, nogil=True)
def _suffix(codes: np.ndarray, marks: np.ndarray, book: np.ndarray, union: int, a: int, b: int) -> int:
    """Characters to be taken off the end of a..b: the most that any rule takes."""
    if a >= b:
        return 0
    c = codes[u(b - 1)]
    before = s64(codes[u(b - 2)]) if b - 2 >= a else 0
    if (c | 32) == _LOW_S and (before == _APOSTROPHE or before == _CURLY):
        return 2
    if c == _DOT:
        if before == _DOT:
            j = b - 2
            while j > a and codes[u(j - 1)] == _DOT:
                j -= 1
            return b - j
        bits = _bits(marks, before)
        if bits & BEFORE_DOT:
            return 1
        if bits & CAPITAL and b - 3 >= a:
            third = s64(codes[u(b - 3)])
            if _bits(marks, third) & CAPITAL or (third == _DEGREE and (before == 67 or before == 70 or before == 75)):
                return 1
        return 0
    if c == _ELLIPSIS and before == _ELLIPSIS:
        return 2
    if _bits(marks, c) & SUFFIX:
        return 1
    if union & DIGIT == 0:
        return 0
    if c == _PLUS:
        return 1 if _digit(before) else 0
    if _digit(before) and s64(marks[u(c)] if c < TABLE_SIZE else 0) & PREFIX and c != _EQUALS and c != 0xA7:
        return 1  # a currency's sign, or the sign of per cent
    for size in range(1, _LONGEST_UNIT + 1):
        k = b - size - 1
        if k < a:
            break
        if _digit(codes[u(k)]):
            return size if _find(book, _UNITS, codes, k + 1, b) >= 0 else 0
    return 0


@njit(cache=True, nogil=True)
def _infix(codes: np.ndarray, marks: np.ndarray, a: int, i: int, b: int) -> int:
    """Characters of the mark at i within a..b that cuts it there, or 0."""
    c = s64(codes[u(i)])
    bits = _bits(marks, c)
    if bits & ALPHA:
        return 0
    if bits & INFIX:
        return 1
    if c == _DOT and i + 1 < b and codes[u(i + 1)] == _DOT:
        j = i + 2
        while j < b and codes[u(j)] == _DOT:
            j += 1
        return j - i
    if i == a or i + 1 >= b:
        return 0
    before, after = s64(codes[u(i - 1)]), s64(codes[u(i + 1)])
    left, right = _bits(marks, before), _bits(marks, after)
    if c == _DOT:
        return 1 if left & (LOWER | QUOTE) and right & (CAPITAL | QUOTE) else 0
    if c == _COMMA:
        return 1 if left & ALPHA and right & ALPHA else 0
    between = _digit(before) and (_digit(after) or after == _HYPHEN)
    if between and (c == _PLUS or c == _HYPHEN or c == _STAR or c == _CARET):
        return 1
    if not (left & ALPHA or _digit(before)):
        return 0
    if c == _COLON or c == _LESS or c == _MORE or c == _EQUALS or c == _SLASH:
        return 1 if right & ALPHA else 0
    if c == _HYPHEN or c == _EN_DASH or c == _EM_DASH or c == _TILDE:
        longest = 3 if c == _HYPHEN else 2 if c == _EM_DASH else 1
        size = 1
        while size <= longest and i + size < b:
            if _bits(marks, codes[u(i + size)]) & ALPHA:
                return size
            if codes[u(i + size)] != c:
                break
            size += 1
    return 0


@njit(cache=True, nogil=True, inline="always")
def _host_char(c: int) -> bool:
    return 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or 0xA1 <= c <= 0xFFFF


@njit(cache=True, nogil=True)
def _host_ends_well(codes: np.ndarray, marks: np.ndarray, a: int, b: int) -> bool:
    """Whether a host with a top-level domain in small letters begins at a, then a port and a path or nothing."""
    labels = 0
    i = a
    while True:
        first = i
        while i < b and (_host_char(codes[u(i)]) or codes[u(i)] == _HYPHEN or codes[u(i)] == _UNDERSCORE):
            i += 1
        if i == first:
            return False
        if i < b and codes[u(i)] == _DOT:
            if i - first > 64 or not _host_char(codes[u(first)]) or not _host_char(codes[u(i - 1)]):
                return False
            labels += 1
            i += 1
            continue
        break
    if labels == 0 or not 2 <= i - first <= 63:
        return False
    for k in range(first, i):
        if not _bits(marks, codes[u(k)]) & LOWER:
            return False
    if i < b and codes[u(i)] == _COLON:
        port = i + 1
        i = port
        while i < b and _digit(codes[u(i)]):
            i += 1
        if not 2 <= i - port <= 5:
            return False
    return i == b or codes[u(i)] == _SLASH or codes[u(i)] == _QUESTION or codes[u(i)] == _HASH


@njit(cache=True, nogil=True)
def is_address(codes: np.ndarray, marks: np.ndarray, a: int, b: int) -> bool:
    """Whether a..b is a URL or an e-mail address as a whole: [scheme://][user@]host[:port][/path]."""
    dotted = False
    for i in range(a, b):
        if codes[u(i)] == _DOT:
            dotted = True
            break
    if not dotted:
        return False
    if _host_ends_well(codes, marks, a, b):
        return True
    for i in range(a + 1, b):
        c = codes[u(i)]
        if c == _AT:
            if _host_ends_well(codes, marks, i + 1, b):
                return True
        elif c == _COLON and i >= a + 2 and i + 3 < b and codes[u(i + 1)] == _SLASH and codes[u(i + 2)] == _SLASH:
            scheme = True
            for k in range(a, i):
                d = codes[u(k)]
                if not (_bits(marks, d) & ALPHA or _digit(d) or d == _PLUS or d == _HYPHEN or d == _DOT
                        or d == _UNDERSCORE):  # fmt: skip
                    scheme = False
                    break
            if scheme and _host_ends_well(codes, marks, i + 3, b):
                return True
    return False


@njit(cache=True, nogil=True)
def cut_piece(
    codes: np.ndarray,
    marks: np.ndarray,
    book: np.ndarray,
    union: int,
    a: int,
    b: int,
    starts: np.ndarray,
    ends: np.ndarray,
    tokens: int,
    n: int,
) -> int:
    """Append the tokens of the piece at a..b to `starts` and `ends`, which hold `tokens`; their new number.

    All arrays are handed over as `bytes8.pointer`. `marks` and `book`: see `compile_cut`; `union`: all bits of the
    piece's characters in `marks`. `starts` and `ends` have `n` entries and more, for a text of `n` characters; those
    not yet in use are scratch.
    """
    first_token = tokens
    suffixes = 0  # their starts lie at the end of `starts`, the outermost last
    end = b
    size = -1
    special = -1
    while a < b and b - a != size:
        special = _special(book, codes, a, b)
        if special >= 0:
            break
        size = b - a
        before = _prefix(codes, marks, a, b)
        if before:
            special = _special(book, codes, a + before, b) if a + before < b else -1
            if special >= 0:
                starts[u(tokens)] = a
                ends[u(tokens)] = a + before
                tokens += 1
                a += before
                break
        behind = _suffix(codes, marks, book, union, a + before, b)
        if behind:
            special = _special(book, codes, a, b - behind) if a < b - behind else -1
            suffixes += 1
            b -= behind
            starts[u(n - suffixes)] = b
            if special >= 0:
                break
        if before:
            starts[u(tokens)] = a
            ends[u(tokens)] = a + before
            tokens += 1
            a += before
    if a < b:
        start = a
        if special >= 0:
            mask = book[u(_CUTS) + u(special)] & u(0xFFFF)
            while mask:
                k = a + s64(trailing_zeros(mask))
                starts[u(tokens)] = start
                ends[u(tokens)] = k
                tokens += 1
                start = k
                mask &= mask - u(1)
        elif union & MAY_CUT:
            # a mark at the very front never cuts, but is stepped over as a whole
            i = a + max(1, _infix(codes, marks, a, a, b))
            while i < b:
                c = codes[u(i)]
                cut = _infix(codes, marks, a, i, b) if c < TABLE_SIZE and marks[u(c)] & MAY_CUT else 0
                if cut == 0:
                    i += 1
                    continue
                if start == a and is_address(codes, marks, a, b):
                    break
                if start < i:
                    starts[u(tokens)] = start
                    ends[u(tokens)] = i
                    tokens += 1
                starts[u(tokens)] = i
                ends[u(tokens)] = i + cut
                tokens += 1
                start = i + cut
                i = start
        if start < b:
            starts[u(tokens)] = start
            ends[u(tokens)] = b
            tokens += 1
    for k in range(suffixes, 0, -1):
        start = s64(starts[u(n - k)])
        starts[u(tokens)] = start
        ends[u(tokens)] = s64(starts[u(n - k + 1)]) if k > 1 else end
        tokens += 1
    if tokens - first_token > 1:
        tokens = _merge(codes, book, first_token, tokens, starts, ends)
    return tokens


@njit(cache=True, nogil=True)
def _merge(codes: np.ndarray, book: np.ndarray, first: int, tokens: int, starts: np.ndarray, ends: np.ndarray) -> int:
    """Put tokens together again that make a special case: `)` and `:` in `f(x):`."""
    into = i = first
    while i < tokens:
        a = s64(starts[u(i)])
        merged = 0
        if book[u(_FIRST_FACE) + u(codes[u(a)] & 255)]:
            shape = 0
            k = i + 1
            while k < tokens:
                end = s64(ends[u(k)])
                if end - a > LONGEST:
                    break
                shape |= 1 << (s64(starts[u(k)]) - a)
                if _possible(book, _FIRST_FACE, _LAST_FACE, codes, a, end):
                    slot = _find(book, _SPECIALS, codes, a, end)
                    if slot >= 0 and s64(book[u(_CUTS) + u(slot)]) == shape << 16:
                        merged = k
                k += 1
        if into != i or merged:
            starts[u(into)] = a
            ends[u(into)] = ends[u(merged if merged else i)]
        into += 1
        i = merged + 1 if merged else i + 1
    return into


def compile_cut(specials: Mapping[str, Sequence[str]], units: Iterable[str] = ()) -> tuple[Marks, Book]:
    """Tables for `cut_piece`: special cases by text, each with the tokens that it is cut into; units of measure.

    Raises ValueError for one that is empty or longer than LONGEST, or whose tokens don't make it up.
    """
    marks, book = mark_table(), np.zeros(_BOOK, np.uint64)
    for unit in units:
        if not 0 < len(unit) <= _LONGEST_UNIT:
            raise ValueError(f"unit {unit!r}: must have 1 to {_LONGEST_UNIT} characters")
        _insert(book, _UNITS, unit)
    if len(specials) > _SLOTS // 2:
        raise ValueError(f"at most {_SLOTS // 2} special cases, not {len(specials)}")
    none = book.copy()
    for text, parts in specials.items():
        if not 0 < len(text) <= LONGEST or "".join(parts) != text or not all(parts):
            raise ValueError(f"special case {text!r}: {list(parts)} don't make it up, or it is too long")
        slot = _insert(book, _SPECIALS, text)
        cuts, shape = _mask(parts), _mask(tokens_of(text, (marks, none)))
        book[_CUTS + slot] = cuts | shape << 16
        length = np.uint64(1 << len(text))
        book[_FIRST + (ord(text[0]) & 255)] |= length
        book[_LAST + (ord(text[-1]) & 255)] |= length
        if not cuts and shape and not text[0].isalnum():
            book[_FIRST_FACE + (ord(text[0]) & 255)] |= length
            book[_LAST_FACE + (ord(text[-1]) & 255)] |= length
    return marks, book


def _mask(parts: Sequence[str]) -> int:
    """Bit k: a token but the first begins at character k."""
    places = np.cumsum([len(part) for part in parts[:-1]], dtype=np.int64)
    return int(sum(1 << int(k) for k in places))


def _insert(book: Book, table: int, text: str) -> int:
    codes = np.array([ord(c) for c in text], np.uint32)
    h = np.uint64(_hash_alone(codes))
    slot = int(h >> np.uint64(52))
    while book[table + slot] and book[table + slot] != h:
        slot = (slot + 1) % _SLOTS
    book[table + slot] = h
    return slot


@njit(cache=True, nogil=True)
def _cut_alone(
    codes: np.ndarray, marks: np.ndarray, book: np.ndarray, union: int, starts: np.ndarray, ends: np.ndarray
) -> int:
    """`cut_piece` of a text that is one piece."""
    n = codes.size
    return cut_piece(
        pointer(codes), pointer(marks), pointer(book), union, 0, n, pointer(starts), pointer(ends), 0, n
    )  # fmt: skip


def tokens_of(piece: str, tables: tuple[Marks, Book]) -> list[str]:
    """The tokens of one piece, as text."""
    n = len(piece)
    codes = np.array([ord(c) for c in piece], np.uint32)
    starts, ends = np.zeros(n + 1, np.uint32), np.zeros(n + 1, np.uint32)
    union = int(np.bitwise_or.reduce(tables[0][codes[codes < TABLE_SIZE]], initial=0))
    found = _cut_alone(codes, *tables, union, starts, ends)
    return [piece[starts[k] : ends[k]] for k in range(found)]
