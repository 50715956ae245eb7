"""The counting behind `signals`: one walk over each document's code points, exact integers out.

A document is decoded once into scratch arrays (code points, classes); then lines, tokens and the
histogram of its characters are counted in separate short loops over them, all linear in its length.

A token is: a URL; a word (letters, marks and digits, joined by inner . , : / ' _ @ where they belong
to it, `don't` being two as in Penn Treebank and spaCy); one Han or Kana character; or a run of one
punctuation or symbol character. A word is a token that is not punctuation or symbol.
"""

# ruff: noqa: SIM109 - chains of == compile to better machine code than `in` a tuple

from __future__ import annotations

import numpy as np
from numba import njit

from pretrain_data.kernels.keywords import match
from pretrain_data.kernels.signals_repeat import SIEVE, count_duplicates, repetition, table_pairs
from pretrain_data.kernels.textscan import (
    BULLET,
    CLASS_MASK,
    CLASSES,
    CODE_POINTS,
    CONTROL,
    DIGIT,
    HAN,
    IMPOSSIBLE,
    KANA,
    LATIN,
    LETTER,
    NEWLINE,
    NUMBER,
    OTHER,
    PUNCT_ZH,
    SPACE,
    TABLE_SIZE,
    TERMINAL,
    UPPER,
    class_of,
    decode,
)

# --- what is counted, one row of the result each ------------------------------------------------

CHARS = 0
CLASS_0 = 1  # CLASSES rows: characters of each class
UPPERS = CLASS_0 + CLASSES
HASHES = UPPERS + 1
CURLY = HASHES + 1
ELLIPSES = CURLY + 1
DISTINCT = ELLIPSES + 1  # distinct characters that are not white space
TOP_CHAR = DISTINCT + 1  # occurrences of the most common of them
IMPOSSIBLE_HAN = TOP_CHAR + 1
ZH_STOP = IMPOSSIBLE_HAN + 1  # occurrences of Chinese stop words (single characters)
ZH_STOP_DISTINCT = ZH_STOP + 1
MOJIBAKE = ZH_STOP_DISTINCT + 1
LONGEST_RUN = MOJIBAKE + 1  # of one character that is not white space
TOKENS = LONGEST_RUN + 1
WORDS = TOKENS + 1
WORD_CHARS = WORDS + 1
ALPHA_WORDS = WORD_CHARS + 1
TOP_WORD = ALPHA_WORDS + 1
EN_STOP = TOP_WORD + 1
EN_STOP_DISTINCT = EN_STOP + 1
URLS = EN_STOP_DISTINCT + 1
URL_CHARS = URLS + 1
EMAILS = URL_CHARS + 1
SENTENCES = EMAILS + 1
LINES = SENTENCES + 1
LINE_CHARS = LINES + 1
LONGEST_LINE = LINE_CHARS + 1
TERMINAL_LINES = LONGEST_LINE + 1
ELLIPSIS_LINES = TERMINAL_LINES + 1
BULLET_LINES = ELLIPSIS_LINES + 1
SHORT_LINES = BULLET_LINES + 1
DUP_LINES = SHORT_LINES + 1
DUP_LINE_CHARS = DUP_LINES + 1
PARAGRAPHS = DUP_LINE_CHARS + 1
DUP_PARAGRAPHS = PARAGRAPHS + 1
DUP_PARAGRAPH_CHARS = DUP_PARAGRAPHS + 1
C4_LINES = DUP_PARAGRAPH_CHARS + 1
C4_SENTENCES = C4_LINES + 1
C4_CURLY = C4_SENTENCES + 1
C4_LOREM = C4_CURLY + 1
TOP_2 = C4_LOREM + 1  # three rows: 2-, 3-, 4-grams
DUP_5 = TOP_2 + 3  # six rows: 5- to 10-grams
COUNTS = DUP_5 + 6

SEED = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x9E3779B97F4A7C15)

_QUOTE, _HASH, _APOSTROPHE = ord('"'), ord("#"), ord("'")
_CURLY_APOSTROPHE, _CURLY_QUOTE = 0x2019, 0x201D
_DOT, _COMMA, _COLON, _SLASH, _AT, _UNDERSCORE, _HYPHEN = (ord(c) for c in ".,:/@_-")
_BRACE, _SQUARE, _UNSQUARE, _ROUND, _SEMICOLON = (ord(c) for c in "{[]);")
_LESS, _MORE, _QUESTION, _BANG, _LOW_H, _LOW_W = (ord(c) for c in "<>?!hw")
_ELLIPSIS = 0x2026

LINE_BAD = 1  # a C4 line must not hold this: javascript, a policy phrase
LINE_LOREM = 2  # nor a C4 document this
LINE_C4 = 4  # long enough, ends a sentence, no overlong word
LINE_CURLY = 8


@njit(cache=True, nogil=True, inline="always")
def _mix(h: np.uint64, code: np.uint64) -> np.uint64:
    h = (h ^ code) * PRIME
    return h ^ (h >> np.uint64(29))


@njit(cache=True, nogil=True, inline="always")
def _wordish(kind: int) -> bool:
    return LATIN <= kind <= NUMBER


@njit(cache=True, nogil=True)
def hash_codes(codes: np.ndarray) -> np.uint64:
    """The hash that a token made of these code points gets."""
    h = SEED
    for c in codes:
        h = _mix(h, np.uint64(c))
    return h


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
        elif c == _DOT and j > i and j + 1 < limit and codes[j + 1] < 128 and _wordish(flags[j + 1] & 15):
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
def _word_end(codes: np.ndarray, flags: np.ndarray, i: int, n: int, hashed: np.ndarray) -> tuple[int, bool, bool]:
    """End of the word that begins at i, whether it holds a letter, whether it is an e-mail address.

    Its hash goes to `hashed[0]`.
    """
    h = _mix(SEED, np.uint64(codes[i]))
    kind = flags[i] & CLASS_MASK
    alpha = kind == LATIN or kind == LETTER
    email = False
    j = i + 1
    while j < n:
        c = codes[j]
        kind = flags[j] & CLASS_MASK
        if _wordish(kind):
            alpha = alpha or kind == LATIN or kind == LETTER
            h = _mix(h, np.uint64(c))
            j += 1
            continue
        if j + 1 >= n or not (c < 128 or c == _CURLY_APOSTROPHE):
            break
        following = flags[j + 1]
        before = flags[j - 1]
        joins = False
        if not _wordish(following & CLASS_MASK):
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
            while tail < n and tail < j + 4 and _wordish(flags[tail] & CLASS_MASK):
                tail += 1
            joins = tail == j + 4  # three letters or more: O'Brien; else it's, don't, we'll
        elif c == _AT and not email:
            end = _domain_end(codes, flags, j + 1, n)
            email = end > j + 1
            joins = email
            while email and j < end - 1:
                h = _mix(h, np.uint64(codes[j]))
                j += 1
            if email:
                alpha = True
        if not joins:
            break
        h = _mix(h, np.uint64(codes[j]))
        j += 1
    hashed[0] = h
    return j, alpha, email


@njit(cache=True, nogil=True, inline="always")
def _is_initial(flags: np.ndarray, i: int) -> bool:
    """Whether a word of one upper-case letter ends at i."""
    return i >= 0 and flags[i] & UPPER and (i == 0 or not _wordish(flags[i - 1] & CLASS_MASK))


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
def _scan_tokens(
    codes: np.ndarray,
    flags: np.ndarray,
    n: int,
    stop_keys: np.ndarray,
    stop_index: np.ndarray,
    token_hash: np.ndarray,
    token_start: np.ndarray,
    token_length: np.ndarray,
    is_word: np.ndarray,
    line_sentences: np.ndarray,
    out: np.ndarray,
) -> int:
    """Cut into tokens, count them, words, stop words, URLs, e-mails and sentences."""
    tokens = words = word_chars = alpha_words = stop_hits = sentences = 0
    urls = url_chars = emails = ellipses = 0
    stop_seen = np.uint64(0)
    stop_slots = np.uint64(stop_keys.size - 1)
    hashed = np.empty(1, np.uint64)
    line = 0
    line_sentences[0] = 0
    is_open = False  # a sentence has begun
    i = 0
    while i < n:
        c = codes[i]
        flag = flags[i]
        kind = flag & CLASS_MASK
        if kind == SPACE or kind == CONTROL:
            i += 1
            continue
        if kind == NEWLINE:
            if is_open:
                sentences += 1
                line_sentences[line] += 1
                is_open = False
            line += 1
            line_sentences[line] = 0
            i += 1
            continue
        word = False
        if kind == HAN or kind == KANA:
            j = i + 1
            hashed[0] = _mix(SEED, np.uint64(c))
            word = True
            alpha_words += 1
        elif _wordish(kind) or (
            (c == _APOSTROPHE or c == _CURLY_APOSTROPHE)
            and i > 0
            and _wordish(flags[i - 1] & CLASS_MASK)
            and i + 1 < n
            and _wordish(flags[i + 1] & CLASS_MASK)
        ):
            word = True
            lower = c | 32
            if (lower == _LOW_H or lower == _LOW_W) and _url_at(codes, i, n):
                j = _url_end(codes, flags, i, n)
                h = SEED
                for k in range(i, j):
                    h = _mix(h, np.uint64(codes[k]))
                hashed[0] = h
                urls += 1
                url_chars += j - i
                alpha_words += 1
            else:
                j, alpha, email = _word_end(codes, flags, i, n, hashed)
                if alpha:
                    alpha_words += 1
                if email:
                    emails += 1
                if j - i <= 16:
                    slot = hashed[0] & stop_slots
                    while stop_keys[slot] != 0:
                        if stop_keys[slot] == hashed[0]:
                            stop_hits += 1
                            stop_seen |= np.uint64(1) << np.uint64(stop_index[slot])
                            break
                        slot = (slot + np.uint64(1)) & stop_slots
        else:
            j = i + 1
            while j < n and codes[j] == c:
                j += 1
            hashed[0] = _mix(_mix(SEED, np.uint64(c)), np.uint64(j - i))
            if c == _DOT:
                ellipses += (j - i) // 3
            if flag & TERMINAL and is_open and _sentence_ends(codes, flags, i, j, n):
                sentences += 1
                line_sentences[line] += 1
                is_open = False
        if word:
            is_open = True
            words += 1
            word_chars += j - i
        token_hash[tokens] = hashed[0]
        token_start[tokens] = i
        token_length[tokens] = j - i
        is_word[tokens] = word
        tokens += 1
        i = j
    if is_open:
        sentences += 1
        line_sentences[line] += 1
    seen = 0
    while stop_seen:
        stop_seen &= stop_seen - np.uint64(1)
        seen += 1
    out[TOKENS] = tokens
    out[WORDS] = words
    out[WORD_CHARS] = word_chars
    out[ALPHA_WORDS] = alpha_words
    out[EN_STOP] = stop_hits
    out[EN_STOP_DISTINCT] = seen
    out[URLS] = urls
    out[URL_CHARS] = url_chars
    out[EMAILS] = emails
    out[SENTENCES] = sentences
    out[ELLIPSES] = ellipses
    return tokens


@njit(cache=True, nogil=True, inline="always")
def _ends_in_ellipsis(codes: np.ndarray, first: int, last: int) -> bool:
    if codes[last] == _ELLIPSIS:
        return True
    return last - first >= 2 and codes[last] == _DOT and codes[last - 1] == _DOT and codes[last - 2] == _DOT


@njit(cache=True, nogil=True)
def _before_citation(codes: np.ndarray, flags: np.ndarray, first: int, last: int) -> int:
    """The last character of the line before any [12] at its end."""
    while last - first >= 3 and codes[last] == _UNSQUARE:
        j = last - 1
        while j > first and flags[j] & CLASS_MASK == DIGIT:
            j -= 1
        if j == last - 1 or codes[j] != _SQUARE or j == first:
            break
        last = j - 1
    return last


@njit(cache=True, nogil=True)
def _scan_lines(
    codes: np.ndarray,
    flags: np.ndarray,
    n: int,
    short_line: int,
    c4_words: int,
    c4_longest_word: int,
    line_hash: np.ndarray,
    line_length: np.ndarray,
    paragraph_hash: np.ndarray,
    paragraph_length: np.ndarray,
    line_flags: np.ndarray,
    out: np.ndarray,
) -> int:
    """Count lines and paragraphs; hash them; mark lines for C4. Number of raw lines is returned."""
    lines = raw = paragraphs = 0
    paragraph = SEED
    paragraph_begin = paragraph_stop = -1
    start = 0
    while start <= n:
        first = last = -1
        word = longest_word = split_words = 0
        curly = False
        h = SEED
        i = start
        while i < n:
            c = codes[i]
            if c == 10:
                break
            h = _mix(h, np.uint64(c))
            if flags[i] & CLASS_MASK == SPACE:
                word = 0
            else:
                if word == 0:
                    split_words += 1
                word += 1
                if word > longest_word:
                    longest_word = word
                if first < 0:
                    first = i
                last = i
                if c == _BRACE:
                    curly = True
            i += 1
        mark = 0
        if first >= 0:
            line_hash[lines] = h
            line_length[lines] = i - start
            lines += 1
            out[LINE_CHARS] += i - start
            out[LONGEST_LINE] = max(out[LONGEST_LINE], i - start)
            if flags[last] & TERMINAL:
                out[TERMINAL_LINES] += 1
            if _ends_in_ellipsis(codes, first, last):
                out[ELLIPSIS_LINES] += 1
            if flags[first] & BULLET:
                out[BULLET_LINES] += 1
            if i - start <= short_line:
                out[SHORT_LINES] += 1
            final = _before_citation(codes, flags, first, last)
            c = codes[final]
            ends = c == _DOT or c == _QUESTION or c == _BANG or c == _QUOTE or c == _APOSTROPHE
            if (
                ends
                and split_words >= c4_words
                and longest_word <= c4_longest_word
                and not (c == _DOT and _ends_in_ellipsis(codes, first, final))
            ):
                mark = LINE_C4
            if curly:
                mark |= LINE_CURLY
            if paragraph_begin < 0:
                paragraph_begin = start
                paragraph = SEED
            paragraph = _mix(paragraph, h)
            paragraph_stop = i
        if paragraph_begin >= 0 and (first < 0 or i >= n):
            paragraph_hash[paragraphs] = paragraph
            paragraph_length[paragraphs] = paragraph_stop - paragraph_begin
            paragraphs += 1
            paragraph_begin = -1
        line_flags[raw] = mark
        raw += 1
        start = i + 1
    out[LINES] = lines
    out[PARAGRAPHS] = paragraphs
    return raw


@njit(cache=True, nogil=True)
def _scan_characters(
    codes: np.ndarray,
    n: int,
    table: np.ndarray,
    zh_stop: np.ndarray,
    flags: np.ndarray,
    histogram: np.ndarray,
    touched: np.ndarray,
    out: np.ndarray,
) -> float:
    """Classes, runs and garbling evidence; everything that the histogram of characters tells.

    Fills `flags`; leaves `histogram` all zero again. Entropy in bits per character that is not white
    space is returned.
    """
    distinct = 0
    longest = run = 0
    mojibake = 0
    previous = 0
    for i in range(n):
        c = codes[i]
        if c < TABLE_SIZE:
            flags[i] = table[c]
        else:
            flags[i] = class_of(c, table)
        if histogram[c] == 0:
            touched[distinct] = c
            distinct += 1
        histogram[c] += 1
        kind = flags[i] & CLASS_MASK
        if kind == SPACE or kind == NEWLINE:
            run = 0
        elif c == previous:
            run += 1
        else:
            run = 1
        longest = max(longest, run)
        if c >= 0x80 and c != previous and _garbled_pair(previous, c):
            mojibake += 2
        previous = c
    inked = shown = top = 0
    total = 0.0
    zh_stops = zh_seen = 0
    for k in range(distinct):
        c = touched[k]
        times = histogram[c]
        histogram[c] = 0
        flag = table[c] if c < TABLE_SIZE else class_of(c, table)
        kind = flag & CLASS_MASK
        out[CLASS_0 + kind] += times
        if kind != SPACE and kind != NEWLINE:
            inked += times
            shown += 1
            top = max(top, times)
            total += times * np.log2(times)
        if flag & UPPER:
            out[UPPERS] += times
        if flag & IMPOSSIBLE:
            out[IMPOSSIBLE_HAN] += times
        if c < TABLE_SIZE and zh_stop[c]:
            zh_stops += times
            zh_seen += 1
        if c == _HASH:
            out[HASHES] = times
        elif c == _BRACE:
            out[CURLY] = times
    out[CHARS] = n
    out[DISTINCT] = shown
    out[TOP_CHAR] = top
    out[ZH_STOP] = zh_stops
    out[ZH_STOP_DISTINCT] = zh_seen
    out[MOJIBAKE] = mojibake
    out[LONGEST_RUN] = longest
    return np.log2(inked) - total / inked if inked > 0 else 0.0


@njit(cache=True, nogil=True, inline="always")
def _garbled_pair(a: int, b: int) -> bool:
    """Two neighbours that UTF-8 read as Latin-1 or Windows-1252 leaves, or 锟斤/斤拷 (U+FFFD read as GBK)."""
    if a == 0xC2 or a == 0xC3:  # Â Ã before a continuation byte
        return 0x80 <= b <= 0xBF or b == 0x20AC or b == 0x2122 or b == 0x153
    if a == 0xE2:  # â€
        return b == 0x20AC or 0x80 <= b <= 0x9F
    if a == 0xEF:  # ï»¿ ï¿½ ï¼
        return b == 0xBB or b == 0xBC or b == 0xBF
    if 0xE4 <= a <= 0xE9:  # Chinese: ä¸­, æ–‡
        return 0x80 <= b <= 0x9F or 0xA1 <= b <= 0xBF
    return (a == 0x951F and b == 0x65A4) or (a == 0x65A4 and b == 0x62F7)


@njit(cache=True, nogil=True)
def count(
    data: np.ndarray,
    offsets: np.ndarray,
    table: np.ndarray,
    zh_stop: np.ndarray,
    stop_keys: np.ndarray,
    stop_index: np.ndarray,
    short_line: int,
    c4_words: int,
    c4_longest_word: int,
    trie: tuple,
    bad_lines: int,
    lorem_lines: int,
    counts: np.ndarray,
    entropy: np.ndarray,
    hits: np.ndarray,
    hit_lines: np.ndarray,
) -> None:
    """Fill one column a document of `counts` (COUNTS rows), `entropy`, `hits` and `hit_lines`.

    `trie` holds the keywords (`keywords.Matcher.arrays`).
    `bad_lines` and `lorem_lines` are bit sets of the keyword categories that spoil a line or a
    document for C4.
    """
    documents = offsets.size - 1
    longest = 0
    for d in range(documents):
        longest = max(longest, offsets[d + 1] - offsets[d])
    size = longest + 2
    codes = np.empty(size, np.uint32)
    flags = np.empty(size, np.uint8)
    histogram = np.zeros(CODE_POINTS, np.uint32)
    touched = np.empty(min(size, CODE_POINTS), np.uint32)
    token_hash = np.empty(size, np.uint64)
    token_start = np.empty(size, np.uint32)
    token_length = np.empty(size, np.uint32)
    is_word = np.empty(size, np.uint8)
    line_hash = np.empty(size, np.uint64)
    line_length = np.empty(size, np.uint32)
    paragraph_hash = np.empty(size, np.uint64)
    paragraph_length = np.empty(size, np.uint32)
    line_flags = np.empty(size, np.uint8)
    line_sentences = np.empty(size, np.uint32)
    line_masks = np.empty(size, np.uint32)
    symbols = np.empty(size, np.uint16)
    slots = np.zeros(1 << 16, np.uint64)
    at = np.empty(size, np.uint32)
    place = np.empty(size, np.uint32)
    gram = np.empty(size, np.uint64)
    sieve = np.empty(SIEVE, np.uint8)
    out = np.empty(COUNTS, np.int64)
    for d in range(documents):
        out[:] = 0
        n = decode(data, offsets[d], offsets[d + 1], codes)
        entropy[d] = _scan_characters(codes, n, table, zh_stop, flags, histogram, touched, out)
        raw = _scan_lines(
            codes, flags, n, short_line, c4_words, c4_longest_word, line_hash, line_length,
            paragraph_hash, paragraph_length, line_flags, out,
        )  # fmt: skip
        tokens = _scan_tokens(
            codes, flags, n, stop_keys, stop_index, token_hash, token_start, token_length, is_word,
            line_sentences, out,
        )  # fmt: skip
        line_masks[:raw] = 0
        match(codes, n, trie, symbols, hits[:, d], hit_lines[:, d], line_masks)
        for r in range(raw):
            mark = line_flags[r]
            if mark & LINE_C4:
                mask = line_masks[r]
                if mask & lorem_lines:
                    out[C4_LOREM] += 1
                if mask & bad_lines:
                    continue
                if mark & LINE_CURLY:
                    out[C4_CURLY] += 1
                out[C4_LINES] += 1
                out[C4_SENTENCES] += line_sentences[r]
        slots = _room(slots, max(tokens, out[LINES]))
        duplicates, chars = count_duplicates(line_hash, line_length, out[LINES], slots)
        out[DUP_LINES] = duplicates
        out[DUP_LINE_CHARS] = chars
        duplicates, chars = count_duplicates(paragraph_hash, paragraph_length, out[PARAGRAPHS], slots)
        out[DUP_PARAGRAPHS] = duplicates
        out[DUP_PARAGRAPH_CHARS] = chars
        out[TOP_WORD] = repetition(
            token_hash, token_start, token_length, is_word, tokens, slots, at, place, gram, sieve,
            out[TOP_2 : TOP_2 + 3], out[DUP_5:],
        )  # fmt: skip
        counts[:, d] = out


@njit(cache=True, nogil=True)
def _room(slots: np.ndarray, keys: int) -> np.ndarray:
    """`slots`, or a larger array that holds a table of so many keys."""
    size = 2 * table_pairs(keys)
    return slots if size <= slots.size else np.zeros(size, np.uint64)
