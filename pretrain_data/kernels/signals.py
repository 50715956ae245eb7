"""Document signals: numbers computed once from a text, for rules, audits and models to read.

`compute` makes one struct a document. SIGNALS documents each field; its `value` is the formula
itself, over the exact counts of `signals_scan`. White space below means spaces, tabs and newlines;
an inked character is any other. A share whose denominator is zero is 0.

Definitions that others leave to a tokeniser are fixed here (see `signals_tokens`): Chinese is cut by
character, all else as spaCy cuts English, whose tokens datatrove counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pretrain_data.kernels import signals_counts as counts
from pretrain_data.kernels import signals_scan as scan
from pretrain_data.kernels import textscan
from pretrain_data.kernels.keywords import Matcher, compile_keywords
from pretrain_data.kernels.signals_characters import times_log
from pretrain_data.kernels.signals_tokens import heads_of, key_of
from pretrain_data.kernels.textscan import char_table, text_buffers
from pretrain_data.kernels.wordcut import compile_cut

Array = npt.NDArray[np.float64]


_LOGS = times_log()


class Counts:
    """Exact counts of a batch: `batch[counts.WORDS]` is one number a document."""

    def __init__(self, rows: npt.NDArray[np.int64], entropy: Array) -> None:
        self.rows, self.entropy = rows, entropy
        self._floats: dict[int, Array] = {}  # most rows stand under several shares

    def __getitem__(self, row: int) -> Array:
        if row not in self._floats:
            self._floats[row] = self.rows[row].astype(np.float64)
        return self._floats[row]

    def of_class(self, kind: int) -> Array:
        """Characters of one class of `textscan`."""
        return self[counts.CLASS_0 + kind]

    @property
    def spaces(self) -> Array:
        return self.of_class(textscan.SPACE) + self.of_class(textscan.NEWLINE)

    @property
    def inked(self) -> Array:
        return self[counts.CHARS] - self.spaces


def share(part: Array, whole: Array) -> Array:
    """part / whole; 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


@dataclass(frozen=True)
class Signal:
    """One field of the `signals` struct."""

    name: str
    unit: str
    formula: str
    value: Callable[[Counts], Array]
    source: str = ""  # where the definition comes from; empty: ours
    type: pa.DataType = field(default_factory=pa.float32)


def _number(name: str, unit: str, formula: str, row: int, source: str = "") -> Signal:
    return Signal(name, unit, formula, lambda c: c[row], source, pa.int32())


def _share(name: str, formula: str, part: int, whole: int, source: str = "") -> Signal:
    return Signal(name, "share", formula, lambda c: share(c[part], c[whole]), source)


def _class_share(name: str, formula: str, *kinds: int) -> Signal:
    def value(c: Counts) -> Array:
        return share(sum((c.of_class(k) for k in kinds), np.zeros(len(c.entropy))), c.inked)

    return Signal(name, "share", f"{formula} / inked characters", value)


def _diversity(c: Counts) -> Array:
    distinct, inked = c[counts.DISTINCT], c.inked
    return np.divide(np.log(np.maximum(distinct, 1)), np.log(np.maximum(inked, 2)))


GOPHER = "Rae et al. 2021, arXiv 2112.11446, appendix A1"
C4 = "Raffel et al. 2020, arXiv 1910.10683, section 2.2"
FINEWEB = "Penedo et al. 2024, arXiv 2406.17557, section 3.6"

_HAN, _LATIN = textscan.HAN, textscan.LATIN
_NEWLINES = counts.CLASS_0 + textscan.NEWLINE
_HAN_CHARS = counts.CLASS_0 + textscan.HAN

SIGNALS: tuple[Signal, ...] = (
    _number("chars", "code points", "length of the text", counts.CHARS),
    _number("lines", "lines", "lines with an inked character", counts.LINES),
    _number("paragraphs", "paragraphs", "runs of lines between blank lines", counts.PARAGRAPHS, GOPHER),
    _number(
        "sentences",
        "sentences",
        "stretches with a word, ended by . ! ? before white space, a CJK end mark, or the line's end; "
        "not after an initial",
        counts.SENTENCES,
    ),
    _number("tokens", "tokens", "words, marks, Han and Kana, as `wordcut` cuts them", counts.TOKENS),
    _number("words", "words", "tokens with a letter or digit; one a Han or Kana", counts.WORDS, GOPHER),
    _share("mean_word_chars", "characters in words / words", counts.WORD_CHARS, counts.WORDS, GOPHER),
    _share("alpha_word_share", "words with a letter / words", counts.ALPHA_WORDS, counts.WORDS, GOPHER),
    _share("alpha_token_share", "words with a letter / tokens", counts.ALPHA_WORDS, counts.TOKENS),
    _share("top_word_share", "occurrences of the most common word / words", counts.TOP_WORD, counts.WORDS),
    # characters
    _class_share("zh_share", "Han", _HAN),
    _class_share("latin_share", "Latin letters, full-width ones too", _LATIN),
    _class_share("kana_share", "Hiragana, Katakana, Bopomofo", textscan.KANA),
    _class_share("letter_share", "letters of other scripts, combining marks", textscan.LETTER, textscan.MARK),
    _class_share("digit_share", "decimal digits and other numbers", textscan.DIGIT, textscan.NUMBER),
    _class_share("punct_share", "punctuation of all scripts", textscan.PUNCT, textscan.PUNCT_ZH),
    _class_share("zh_punct_share", "CJK and full-width punctuation", textscan.PUNCT_ZH),
    _class_share("symbol_share", "symbols: mathematics, currency, arrows, emoji", textscan.SYMBOL),
    Signal("space_share", "share", "white space / characters", lambda c: share(c.spaces, c[counts.CHARS])),
    _share("newline_share", "newlines / characters", _NEWLINES, counts.CHARS),
    Signal(
        "upper_share",
        "share",
        "upper-case letters / letters of Latin and other scripts",
        lambda c: share(c[counts.UPPERS], c.of_class(textscan.LATIN) + c.of_class(textscan.LETTER)),
    ),
    Signal(
        "invisible_share",
        "share",
        "control and format characters / characters",
        lambda c: share(c.of_class(textscan.CONTROL), c[counts.CHARS]),
    ),
    Signal(
        "char_entropy",
        "bits",
        "Shannon entropy of the inked characters",
        lambda c: c.entropy,
        "Shannon 1948",
    ),
    _number("distinct_chars", "characters", "distinct inked characters", counts.DISTINCT),
    Signal(
        "char_diversity",
        "0..1",
        "log(distinct inked) / log(inked): Herdan's C, steady in length where distinct / inked falls",
        _diversity,
        "Herdan 1960",
    ),
    Signal(
        "top_char_share",
        "share",
        "most common inked character / inked",
        lambda c: share(c[counts.TOP_CHAR], c.inked),
    ),
    _number("longest_run", "code points", "longest run of one inked character", counts.LONGEST_RUN),
    # words
    _number("en_stop_words", "words", "distinct English stop words, case-sensitive", counts.EN_STOP_DISTINCT, GOPHER),
    _share("en_stop_share", "English stop words / words", counts.EN_STOP, counts.WORDS),
    _number("zh_stop_words", "characters", "distinct Chinese stop words of one character", counts.ZH_STOP_DISTINCT),
    _share("zh_stop_share", "one-character Chinese stop words / Han", counts.ZH_STOP, _HAN_CHARS),
    _share("hash_word_ratio", "# / tokens", counts.HASHES, counts.TOKENS, GOPHER),
    Signal(
        "ellipsis_word_ratio",
        "ratio",
        "(... and …) / tokens",
        lambda c: share(c[counts.ELLIPSES], c[counts.TOKENS]),
        GOPHER,
    ),
    _share("newline_word_ratio", "newlines / tokens", _NEWLINES, counts.TOKENS, FINEWEB),
    # lines
    _share("mean_line_chars", "characters in lines / lines", counts.LINE_CHARS, counts.LINES),
    _number("longest_line", "code points", "length of the longest line", counts.LONGEST_LINE),
    _share(
        "terminal_line_share",
        "lines ending in a sentence mark of any script / lines",
        counts.TERMINAL_LINES,
        counts.LINES,
        FINEWEB,
    ),
    _share("ellipsis_line_share", "lines ending in ... or … / lines", counts.ELLIPSIS_LINES, counts.LINES, GOPHER),
    _share(
        "bullet_line_share",
        "lines beginning with a bullet or hyphen / lines",
        counts.BULLET_LINES,
        counts.LINES,
        GOPHER,
    ),
    _share(
        "short_line_share",
        "lines of at most `short_line` characters / lines",
        counts.SHORT_LINES,
        counts.LINES,
        FINEWEB,
    ),
    _share("dup_line_share", "lines that occurred before / lines", counts.DUP_LINES, counts.LINES, GOPHER),
    _share(
        "dup_line_char_share",
        "characters of such lines / characters",
        counts.DUP_LINE_CHARS,
        counts.CHARS,
        GOPHER,
    ),
    _share(
        "dup_paragraph_share",
        "paragraphs that occurred before / paragraphs",
        counts.DUP_PARAGRAPHS,
        counts.PARAGRAPHS,
        GOPHER,
    ),
    _share(
        "dup_paragraph_char_share",
        "characters of such paragraphs / characters",
        counts.DUP_PARAGRAPH_CHARS,
        counts.CHARS,
        GOPHER,
    ),
    # repetition
    *(
        _share(
            f"top_{n}gram_share",
            f"characters of the most common {n}-gram of tokens times its occurrences / characters; "
            "the first one's where none occurs twice",
            counts.TOP_2 + n - 2,
            counts.CHARS,
            GOPHER,
        )
        for n in (2, 3, 4)
    ),
    *(
        _share(
            f"dup_{n}gram_share",
            f"characters in {n}-grams of tokens that occurred before, without overlap / characters",
            counts.DUP_5 + n - 5,
            counts.CHARS,
            GOPHER,
        )
        for n in range(5, 11)
    ),
    # the web's leavings
    _number(
        "url_count",
        "addresses",
        "http://, https://, and www. before a letter, where no letter or digit goes before",
        counts.URLS,
    ),
    _share("url_share", "characters in such addresses / characters", counts.URL_CHARS, counts.CHARS),
    _number("emails", "addresses", "e-mail addresses in ASCII", counts.EMAILS),
    _number("curly_braces", "characters", "{", counts.CURLY, C4),
    _number(
        "c4_lines",
        "lines",
        "lines that C4 keeps: end in . ? ! \" ' after citations, but not in ...; "
        "`c4_min_words` words; no word over `c4_max_word`; no javascript or policy phrase",
        counts.C4_LINES,
        C4,
    ),
    _number("c4_sentences", "sentences", "sentences in those lines", counts.C4_SENTENCES, C4),
    _number("c4_curly_lines", "lines", "those lines that hold {", counts.C4_CURLY, C4),
    _number("c4_lorem_lines", "lines", "lines ending like C4's that hold lorem ipsum", counts.C4_LOREM, C4),
    # garbled text
    Signal(
        "mojibake_share",
        "share",
        "(U+FFFD, private use, and pairs such as 锟斤, Ã©, â€) / inked characters",
        lambda c: share(c[counts.MOJIBAKE] + c.of_class(textscan.REPLACEMENT) + c.of_class(textscan.PRIVATE), c.inked),
    ),
    _share(
        "gbk_mojibake_share",
        "Han that UTF-8 read as GBK makes frequent (GBK E4..E9, 80..BF) / Han; 0.3 and more in such text",
        counts.IMPOSSIBLE_HAN,
        _HAN_CHARS,
    ),
    _share("unassigned_share", "code points without a meaning / characters", counts.CLASS_0, counts.CHARS),
)

BY_NAME = {signal.name: signal for signal in SIGNALS}

#: Keyword categories with a part in C4's own line rules.
C4_BAD_LINE = ("c4_javascript", "c4_policy")
C4_LOREM = ("c4_lorem",)


class SignalOptions:
    """What the signals depend on beside the text. Arrays inside; build once, use for many batches.

    `short_line` is in code points; `c4_min_words` in words by white space; `c4_max_word` in code
    points. `keywords` maps a category to its terms: each category adds the fields `kw_CATEGORY`
    (matches) and `kw_CATEGORY_lines` (lines with a match) to the struct. `special_cases` maps strings to the
    tokens that they are cut into against the rules of `wordcut`; `units` are cut off numbers.
    """

    def __init__(
        self,
        en_stop_words: Iterable[str] = (),
        zh_stop_words: Iterable[str] = (),
        keywords: Mapping[str, Sequence[str]] | None = None,
        short_line: int = 30,
        c4_min_words: int = 3,
        c4_max_word: int = 1000,
        special_cases: Mapping[str, Sequence[str]] | None = None,
        units: Iterable[str] = (),
    ) -> None:
        self.stop_keys = _stop_table(list(en_stop_words))
        self.zh_stop = np.zeros(textscan.TABLE_SIZE, np.uint8)
        for char in zh_stop_words:
            if len(char) != 1 or ord(char) >= textscan.TABLE_SIZE:
                raise ValueError(f"Chinese stop word {char!r}: must be one character")
            self.zh_stop[ord(char)] = 1
        self.matcher: Matcher = compile_keywords(keywords or {})
        self.cutting = (*compile_cut(special_cases or {}, units), *heads_of(special_cases or {}))
        self.short_line, self.c4_min_words, self.c4_max_word = short_line, c4_min_words, c4_max_word

    @property
    def categories(self) -> tuple[str, ...]:
        return self.matcher.categories

    def bits(self, categories: Sequence[str]) -> int:
        """Bit set of those of `categories` that exist."""
        return sum(1 << i for i, name in enumerate(self.categories) if name in categories)


def _stop_table(words: Sequence[str]) -> npt.NDArray[np.uint64]:
    if len(words) > 128:
        raise ValueError(f"at most 128 English stop words, not {len(words)}")
    keys = np.zeros(256, np.uint64)
    for word in dict.fromkeys(words):
        key = key_of(word)
        slot = int(scan.stop_slot(key))
        while keys[slot]:
            slot = (slot + 1) & 255
        keys[slot] = key
    return keys


def fields(categories: Sequence[str] = ()) -> list[pa.Field]:
    """The fields of the struct, keyword categories last."""
    plain = [pa.field(s.name, s.type) for s in SIGNALS]
    return plain + [pa.field(f"kw_{c}{tail}", pa.int32()) for c in categories for tail in ("", "_lines")]


def compute(text: pa.Array, options: SignalOptions | None = None) -> pa.StructArray:
    """The signals of each text (string or large_string; a null counts as empty)."""
    options = options or _default_options()
    data, offsets = text_buffers(text)
    n = len(text)
    results = np.zeros((n, counts.COUNTS), np.int64)
    entropy = np.zeros(n, np.float64)
    hits = np.zeros((n, len(options.categories)), np.int64)
    hit_lines = np.zeros_like(hits)
    scan.count(
        data,
        offsets,
        char_table(),
        _LOGS,
        options.zh_stop,
        options.stop_keys,
        options.short_line,
        options.c4_min_words,
        options.c4_max_word,
        options.matcher.arrays,
        options.cutting,
        options.bits(C4_BAD_LINE),
        options.bits(C4_LOREM),
        results,
        entropy,
        hits,
        hit_lines,
    )
    batch = Counts(np.ascontiguousarray(results.T), entropy)
    arrays = [pa.array(s.value(batch).astype(s.type.to_pandas_dtype())) for s in SIGNALS]
    for row in range(len(options.categories)):
        arrays += [pa.array(hits[:, row].astype(np.int32)), pa.array(hit_lines[:, row].astype(np.int32))]
    return pa.StructArray.from_arrays(arrays, fields=fields(options.categories))


_DEFAULT: list[SignalOptions] = []


def _default_options() -> SignalOptions:
    if not _DEFAULT:
        _DEFAULT.append(SignalOptions())
    return _DEFAULT[0]
