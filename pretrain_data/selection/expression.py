"""What `keep_if` may read, and the columns as it sees them.

score            what the model gave, 0 to 1 (quality_score)
cut              the cut of the document's group
chance           a number in [0, 1) drawn by the document's id: `score >= cut or chance < 0.1`
pareto           a draw of numpy's pareto(pareto_alpha): `pareto > 1 - score` is the soft cut of Brown et al. 2020
                 (GPT-3), appendix A
chars            code points of the text
lang format source url title script domain channel lang_score domain_score zh_share en_share density
signals.NAME     what the stage rules measured
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data.errors import InputError
from pretrain_data.kernels import signals
from pretrain_data.kernels.mixture import hash_strings, mix
from pretrain_data.rules import wordlists
from pretrain_data.rules.expression import NUMBER, STRING, Batch, Predicate, Vocabulary, parse

#: Columns of text, and what stands for a missing or null value.
STRINGS: dict[str, str | None] = {
    "lang": "und", "format": "prose", "source": None, "url": None, "title": None, "script": None,
    "domain": None, "channel": None,
}  # fmt: skip
NUMBERS = ("lang_score", "domain_score", "zh_share", "en_share", "density")
MADE = ("score", "cut", "chance", "pareto", "chars")
CHANCE, COUNTED, CALIBRATED = 1, 2, 3  # salts: draws for different ends don't depend on each other


@lru_cache(maxsize=64)
def keeps(text: str) -> Predicate:
    """`keep_if` compiled. Raises ConfigError for what isn't in the language, with the nearest name."""
    return parse(text, _vocabulary(text), "keep_if")


@lru_cache(maxsize=64)
def drops(text: str) -> Predicate:
    """Its contrary, whose comparisons say what a document was dropped for."""
    return parse(f"not ({text})", _vocabulary(text), "keep_if")


def _vocabulary(text: str) -> Vocabulary:
    topics = [wordlists.topic(p) for p in wordlists.bundled()]
    topics += re.findall(r"signals\.kw_([a-z0-9_]+?)(?:_lines)?\b", text)  # word lists of the user's own
    kept = tuple(dict.fromkeys(t for t in topics if t != wordlists.STOP_WORDS))
    types = dict.fromkeys(STRINGS, STRING) | dict.fromkeys((*MADE, *NUMBERS), NUMBER)
    return Vocabulary(types | {f"signals.{f.name}": NUMBER for f in signals.fields(kept)})


def drawn(doc_id: pa.Array, seed: int, salt: int) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each document, by its id, the seed and what it is for."""
    keys = mix(hash_strings(doc_id.cast(pa.string())), seed ^ (salt << 40))
    return (keys >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def scores(batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
    """`quality_score`, NaN where there is none."""
    if "quality_score" not in batch.schema.names:
        return np.full(batch.num_rows, np.nan, np.float32)
    column = batch.column("quality_score").cast(pa.float32())
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float32)


def strings(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column of text; nulls where the batch has none of that name."""
    if name not in batch.schema.names:
        return pa.nulls(batch.num_rows, pa.string())
    column = batch.column(name)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column.cast(pa.string())


def view(batch: pa.RecordBatch, names: frozenset[str], seed: int, alpha: float) -> Batch:
    """What `names` are for each document; all but `cut`. Raises InputError for a column that isn't there."""
    found: dict[str, object] = {"score": scores(batch)}
    for name in sorted(names - {"score", "cut"}):
        if name == "chars":
            found[name] = pc.utf8_length(batch.column("text")).cast(pa.float64()).to_numpy(zero_copy_only=False)
        elif name == "chance":
            found[name] = drawn(batch.column("doc_id"), seed, CHANCE)
        elif name == "pareto":
            found[name] = (1 - drawn(batch.column("doc_id"), seed, CHANCE)) ** (-1 / alpha) - 1
        elif name.startswith("signals."):
            found[name] = _signal(batch, name)
        elif name not in batch.schema.names:
            raise InputError(f"keep_if reads {name}, which the input doesn't have")
        elif name in STRINGS:
            column, default = strings(batch, name), STRINGS[name]
            found[name] = column if default is None else pc.fill_null(column, default)
        else:
            found[name] = batch.column(name).cast(pa.float32()).to_numpy(zero_copy_only=False)
    return found


def _signal(batch: pa.RecordBatch, name: str) -> npt.NDArray[np.float32]:
    place = batch.schema.get_field_index("signals")
    inner = name.removeprefix("signals.")
    if place < 0 or batch.schema.field(place).type.get_field_index(inner) < 0:
        raise InputError(f"keep_if reads {name}, which the input doesn't have: run the stage rules before")
    found: npt.NDArray[np.float32] = pc.struct_field(batch.column(place), inner).to_numpy(zero_copy_only=False)
    return found
