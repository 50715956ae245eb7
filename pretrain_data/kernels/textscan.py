"""Unicode classes of characters as lookup tables, and a UTF-8 decoder over Arrow buffers.

Everything that reads characters reads them through these tables, so that a character means the
same to every kernel. Code points below `TABLE_SIZE` have a table entry; above it only planes of one
use are left (Han extensions, tags, private use), which `class_of` knows by range.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

TABLE_SIZE = 0x20000
CODE_POINTS = 0x110000

OTHER = 0  # unassigned
HAN = 1
KANA = 2  # Hiragana, Katakana, Bopomofo: written without spaces, like Han
LATIN = 3
LETTER = 4  # letters of any other script
MARK = 5  # combining marks: part of the word they follow
DIGIT = 6  # decimal digits of any script, full-width ones too
NUMBER = 7  # other numbers: ①, Ⅳ, ½
PUNCT = 8
PUNCT_ZH = 9  # CJK and full-width punctuation
SYMBOL = 10
SPACE = 11
NEWLINE = 12  # \n only: the schema promises that every line ends so
CONTROL = 13  # Cc and Cf: control and invisible formatting characters
PRIVATE = 14
REPLACEMENT = 15  # U+FFFD, what a decoder writes where the bytes made no sense
CLASSES = 16

CLASS_MASK = 0x0F
UPPER = 0x10  # upper-case letter
TERMINAL = 0x20  # ends a sentence (STERMS below)
BULLET = 0x40  # begins a list item
IMPOSSIBLE = 0x80  # Han that only UTF-8 read as GBK makes frequent, see `_gbk_leads`

#: Characters that end a sentence: Unicode's Sentence_Terminal for the scripts a crawl holds, and the
#: ellipsis. FineWeb's line rule uses such a list (Penedo et al. 2024, arXiv 2406.17557).
STERMS = ".!?。！？｡．…‼⁇⁈⁉؟۔।॥։។៕၊။᠃᠉⸮﹒﹖﹗"
BULLETS = "•-*●○◦‣▪▫■□◆◇▶►·∙⁃"


def _plain_class(code: int) -> int:
    """Class of one code point below TABLE_SIZE, from Unicode's general category and name."""
    char = chr(code)
    category = unicodedata.category(char)
    if code == 0x0A:
        return NEWLINE
    if code == 0xFFFD:
        return REPLACEMENT
    if category in ("Zs", "Zl", "Zp") or char in "\t\r\v\f\x85":
        return SPACE
    if category == "Cs":
        return OTHER
    if category in ("Cc", "Cf"):
        return CONTROL
    if category == "Co":
        return PRIVATE
    if category[0] == "M":
        return MARK
    if category == "Nd":
        return DIGIT
    if _is_han(code):
        return HAN
    if category in ("No", "Nl"):
        return NUMBER
    if category[0] == "P":
        return PUNCT_ZH if 0x3000 <= code <= 0x303F or 0xFE10 <= code <= 0xFFEF else PUNCT
    if category[0] == "S":
        return SYMBOL
    if category[0] == "L":
        if 0x3040 <= code <= 0x312F or 0x31A0 <= code <= 0x31FF or 0xFF66 <= code <= 0xFF9F:
            return KANA
        if code < 0x250 or 0x1E00 <= code <= 0x1EFF or 0xFF21 <= code <= 0xFF5A:
            return LATIN
        return LETTER
    return OTHER


def _is_han(code: int) -> bool:
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0xF900 <= code <= 0xFAFF
        or code in (0x3005, 0x3007)  # 々 〇
    )


def _gbk_leads() -> set[str]:
    """Han that appear where the UTF-8 of Chinese was read as GBK: E4..E9 followed by 80..BF.

    Every common Chinese character begins with such two bytes in UTF-8, so that in text so garbled
    every second or third character is one of these 384, which are otherwise rare.
    """
    pairs = (bytes((lead, trail)) for lead in range(0xE4, 0xEA) for trail in range(0x80, 0xC0))
    return {pair.decode("gbk") for pair in pairs}


@lru_cache(maxsize=1)
def char_table() -> npt.NDArray[np.uint8]:
    """For each code point below TABLE_SIZE: its class in the low four bits, and flags above them."""
    table = np.fromiter((_plain_class(c) for c in range(TABLE_SIZE)), np.uint8, TABLE_SIZE)
    upper = [c for c in range(TABLE_SIZE) if table[c] in (LATIN, LETTER) and chr(c).isupper()]
    table[upper] |= UPPER
    table[[ord(c) for c in STERMS]] |= TERMINAL
    table[[ord(c) for c in BULLETS]] |= BULLET
    table[[ord(c) for c in _gbk_leads()]] |= IMPOSSIBLE
    table.setflags(write=False)
    return table


@njit(cache=True, nogil=True, inline="always")
def class_of(code: int, table: npt.NDArray[np.uint8]) -> int:
    """Class and flags of any code point."""
    if code < TABLE_SIZE:
        return table[code]
    if code < 0x40000:
        return HAN
    if code >= 0xF0000:
        return PRIVATE if code & 0xFFFE != 0xFFFE else OTHER
    if 0xE0100 <= code < 0xE01F0:  # variation selectors
        return MARK
    if code == 0xE0001 or 0xE0020 <= code < 0xE0080:  # tags
        return CONTROL
    return OTHER


@njit(cache=True, nogil=True)
def decode(data: npt.NDArray[np.uint8], start: int, end: int, codes: npt.NDArray[np.uint32]) -> int:
    """Write the code points of valid UTF-8 `data[start:end]` to `codes`; their number is returned."""
    n = 0
    i = start
    while i < end:
        b = data[i]
        if b < 0x80:
            codes[n] = b
            i += 1
        elif b < 0xE0:
            codes[n] = (b & 0x1F) << 6 | data[i + 1] & 0x3F
            i += 2
        elif b < 0xF0:
            codes[n] = (b & 0x0F) << 12 | (data[i + 1] & 0x3F) << 6 | data[i + 2] & 0x3F
            i += 3
        else:
            codes[n] = (b & 0x07) << 18 | (data[i + 1] & 0x3F) << 12 | (data[i + 2] & 0x3F) << 6 | data[i + 3] & 0x3F
            i += 4
        n += 1
    return n


def text_buffers(text: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """UTF-8 bytes and `len(text) + 1` offsets into them; a null counts as the empty string.

    `text` is string or large_string, possibly a slice. No text is copied, save where there are nulls.
    """
    if not (pa.types.is_string(text.type) or pa.types.is_large_string(text.type)):
        raise TypeError(f"text must be string or large_string, not {text.type}")
    if text.null_count:
        text = text.fill_null("")
    width = np.int32 if pa.types.is_string(text.type) else np.int64
    _, offset_buffer, data_buffer = text.buffers()
    if len(text) == 0 or offset_buffer is None:
        return np.zeros(0, np.uint8), np.zeros(len(text) + 1, np.int64)
    offsets = np.frombuffer(offset_buffer, width)[text.offset : text.offset + len(text) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.zeros(0, np.uint8)
    return data, offsets.astype(np.int64)
