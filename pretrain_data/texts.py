"""The kernels over a list of strings: what the pipeline knows of a text, asked for in a notebook.

Each function takes a list, tuple, pandas Series, NumPy or Arrow array of texts (null counts as empty) and gives one
entry a text, in order.

    >>> from pretrain_data import texts
    >>> texts.scrub(["Call 13812345678"])
    ['Call <|phone|>']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

    from pretrain_data.models.config import ModelKeys

Texts = Any  # list[str | None], tuple, pandas.Series, numpy.ndarray, pyarrow.Array or ChunkedArray


def as_arrow(texts: Texts) -> pa.Array:
    """The texts as one large_string array without nulls. A single string is an error: it is no list of texts."""
    if isinstance(texts, str | bytes):
        raise TypeError("a list of texts is wanted, not one text: write [text]")
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if not isinstance(texts, pa.Array):
        texts = pa.array(list(texts), pa.large_string(), from_pandas=True)
    return texts.cast(pa.large_string()).fill_null("")


def _each(texts: Texts, function: Callable[[str], Any]) -> list[Any]:
    return [function(text) for text in as_arrow(texts).to_pylist()]


def decoded(bodies: Iterable[bytes], label: str = "") -> pd.DataFrame:
    """Bytes of pages read as ingest reads them: columns `text`, `encoding`, `bad_share` (0..1, what can't be read).

    `label` is the charset that their HTTP headers name, if any; evidence outweighs it.
    """
    import pandas as pd

    from pretrain_data.kernels.charset import decode

    return pd.DataFrame([vars(decode(body, label)) for body in bodies], columns=["text", "encoding", "bad_share"])


def html(pages: Texts) -> pd.DataFrame:
    """Main text of HTML pages: columns `text` (Markdown-like), `title`, `author`, `published` (date); null if absent.

    A page that nests too deeply to be walked safely has an empty text.
    """
    import pandas as pd

    from pretrain_data.kernels.html import Page, extract

    found = [vars(page or Page("", None)) for page in _each(pages, extract)]
    return pd.DataFrame(found, columns=["text", "title", "author", "published"])


def signals(texts: Texts, keywords: Mapping[str, Iterable[str]] | None = None) -> pd.DataFrame:
    """Document signals, one row a text and one column a signal (units: `kernels.signals.SIGNALS`).

    `keywords` maps a category to terms; each adds `kw_CATEGORY` and `kw_CATEGORY_lines`.
    """
    from pretrain_data.kernels.signals import SignalOptions, compute
    from pretrain_data.rules import englishcut
    from pretrain_data.rules.wordlists import BUNDLED, STOP_WORDS, read

    english, chinese = (read(BUNDLED / f"{STOP_WORDS}.{lang}.txt") for lang in ("en", "zh"))
    special_cases, units = englishcut.load()
    listed = {name: list(terms) for name, terms in (keywords or {}).items()}
    options = SignalOptions(english, chinese, listed, special_cases=special_cases, units=units)
    return pa.Table.from_struct_array(compute(as_arrow(texts), options)).to_pandas()


def languages(texts: Texts) -> pd.DataFrame:
    """Columns `lang` (ISO 639-1, `und` where undecided), `lang_score`, `zh_share`, `en_share` (0..1 of letters)."""
    import pandas as pd

    from pretrain_data.kernels.language import profile

    found = _each(texts, profile)
    columns = {"lang": "code", "lang_score": "score", "zh_share": "zh", "en_share": "en"}
    return pd.DataFrame({name: [getattr(p, attribute) for p in found] for name, attribute in columns.items()})


def scripts(texts: Texts) -> list[str | None]:
    """`hans`, `hant` or `mixed` of Chinese texts; None where no character tells."""
    from pretrain_data.kernels.script import script

    return _each(texts, script)


def formats(texts: Texts) -> list[str]:
    """prose, code, markdown, latex or data."""
    from pretrain_data.kernels.format import detect

    return _each(texts, detect)


def generated(texts: Texts) -> list[str | None]:
    """The words by which a source file says that a program wrote it; None where it says nothing of the kind."""
    from pretrain_data.kernels.sourcecode import generated as one

    return _each(texts, one)


def clean(texts: Texts) -> list[str]:
    """As ingest cleans: line ends, control characters, NFC, stored mojibake repaired."""
    from pretrain_data.kernels.clean import clean as one
    from pretrain_data.kernels.mojibake import repair

    return _each(texts, lambda text: one(repair(text)))


def densities(texts: Texts) -> npt.NDArray[np.float64]:
    """Deflated bytes per code point of each head; low where a text repeats itself."""
    from pretrain_data.kernels.density import density

    return np.array(_each(texts, density), np.float64)


def without_boilerplate(texts: Texts) -> list[str]:
    """Without reprint notices, credits, reference lists and the like."""
    from pretrain_data.kernels.boilerplate import remove

    return remove(as_arrow(texts))[0].to_pylist()  # type: ignore[no-any-return]


def pii(texts: Texts, types: Iterable[str] | None = None) -> list[list[tuple[int, int, str]]]:
    """Personal data: (start, end, type) in code points, sorted, without overlaps."""
    from pretrain_data.kernels.pii import find

    column = as_arrow(texts)
    spans = find(column, tuple(types) if types is not None else None).lists(len(column))
    return [[(span.start, span.end, span.type) for span in found] for found in spans]


def scrub(texts: Texts, types: Iterable[str] | None = None) -> list[str]:
    """The texts with personal data replaced by its type: `<|email|>`, `<|phone|>` …"""
    from pretrain_data.kernels.pii import find
    from pretrain_data.kernels.pii.replace import placeholders

    column = as_arrow(texts)
    found = find(column, tuple(types) if types is not None else None)
    return placeholders(column, found).to_pylist()  # type: ignore[no-any-return]


def tokens(texts: Texts, tokenizer: str = "default") -> npt.NDArray[np.int32]:
    """Length of each text in tokens of the training tokenizer."""
    from pretrain_data.kernels.tokens import count_column
    from pretrain_data.tokenizers.load import load_tokenizer

    return count_column(as_arrow(texts), load_tokenizer(tokenizer))


def signatures(texts: Texts, permutations: int = 128, shingle: int = 5) -> npt.NDArray[np.uint32]:
    """MinHash signatures, one row a text: the share of equal values in two rows estimates their Jaccard similarity.

    Shingles are of words, in Chinese and Japanese of characters (Broder, On the resemblance and containment of
    documents, 1997).
    """
    from pretrain_data.kernels import minhash

    column = as_arrow(texts)
    return minhash.sign(column, _by_character(column), permutations, shingle).signatures


def similarities(texts: Texts, shingle: int = 5) -> npt.NDArray[np.float32]:
    """Exact Jaccard similarity of every two texts over their shingles: a square, for a few thousand texts at most."""
    from pretrain_data.kernels import minhash
    from pretrain_data.kernels.similarity import exact

    column = as_arrow(texts)
    values, offsets = minhash.shingle_sets(column, _by_character(column), shingle)
    n = len(column)
    first, second = (side.astype(np.int64) for side in np.triu_indices(n, 1))
    out = np.eye(n, dtype=np.float32)
    if len(first):
        out[first, second] = out[second, first] = exact(values, offsets[:-1], offsets[1:], first, second)
    return out


def without_repeats(texts: Texts, min_tokens: int = 20) -> list[str]:
    """Without lines and paragraphs of `min_tokens` tokens or more that stood before, in this text or an earlier one."""
    from pretrain_data.kernels import passages

    column = as_arrow(texts)
    found = passages.find(column, lines=True, paragraphs=True, min_tokens=min_tokens)
    first = np.zeros(len(found.row), np.bool_)
    first[np.unique(found.hash, return_index=True)[1]] = True
    again = found.where(~first)
    gone = again.where(passages.outermost(again))
    return passages.without(column, gone).to_pylist()  # type: ignore[no-any-return]


def overlaps(texts: Texts, benchmark: Texts, n: int = 13) -> pd.DataFrame:
    """How much of a benchmark stands in each text: `share` of the n-grams of `item` (its index) that the text holds.

    The item of which most is there; −1 and 0 where nothing is. n counts words, in Chinese characters. Items
    shorter than n are not looked for (Brown et al., Language Models are Few-Shot Learners, 2020, appendix C).
    """
    import pandas as pd

    from pretrain_data.kernels.ngrams import Benchmarks

    share, item = Benchmarks(as_arrow(benchmark), n).match(as_arrow(texts))
    return pd.DataFrame({"share": share, "item": item})


def quality(texts: Texts, model: str = "default") -> npt.NDArray[np.float32]:
    """The quality scorer's number from 0 to 1 for each text, made for prose; `model` is default or a folder.

    The quality stage asks it for documents in prose alone.
    """
    from pretrain_data.models.config import ScorerKeys

    keys = ScorerKeys(model=model)
    found, labels = _scores(texts, keys, "quality")
    return found[:, keys.score_of(labels)]


def domains(texts: Texts, model: str = "default") -> pd.DataFrame:
    """Probabilities (0..1, each row adds up to 1) of the domain model's labels: one column a label, one row a text.

    What the classify stage makes of them (formats first, abstaining) is `run_stage("classify", …)`.
    """
    import pandas as pd

    from pretrain_data.models.config import ModelKeys

    keys = ModelKeys(model=model, max_tokens=384, reading="head-middle-tail")  # as classify reads by default
    found, labels = _scores(texts, keys, "domain")
    return pd.DataFrame(found, columns=list(labels))


def _scores(texts: Texts, keys: ModelKeys, task: str) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    from pretrain_data.kernels import scoring
    from pretrain_data.models.config import open_scorer

    scorer = open_scorer(keys, task, scoring.device_of_task())
    read = scorer.read(as_arrow(texts).to_pylist(), keys.max_tokens, keys.reading)
    return scorer.score(read, keys.tokens_per_batch), tuple(scorer.labels)


def _by_character(column: pa.Array) -> npt.NDArray[np.bool_]:
    from pretrain_data.kernels.language import detect

    return np.array([detect(text)[0] in ("zh", "ja") for text in column.to_pylist()], np.bool_)
