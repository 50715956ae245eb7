"""What makes a name, an address or a birthday personal: another identifier beside it, or a document about a person.

The name of an author, an actor or a judge is knowledge; the same name beside a telephone number is a contact.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data.kernels.pii.spans import Spans
from pretrain_data.kernels.pii.surrogates import pseudonym
from pretrain_data.kernels.pii.types import data, known_types


def personal(text: pa.Array, hard: Spans) -> npt.NDArray[np.bool_]:
    """Which documents are of personal kind: a word for one in their head, or many identifiers.

    `hard` are the spans of types that identify by themselves.
    """
    rules = data()["personal"]
    head = pc.utf8_slice_codeunits(text, 0, rules["head"])
    pattern = "(?i)" + "|".join(rules["words"])
    said = pc.fill_null(pc.match_substring_regex(head, pattern), False).to_numpy(zero_copy_only=False)
    return said | (hard.per_row(len(text)) >= rules["identifiers"])


def scrubbed_before(text: pa.Array) -> npt.NDArray[np.bool_]:
    """Which documents hold one of our placeholders or made-up names: names are not looked for in them again.

    A tagger judges by what stands around, which its own replacements change; patterns don't need this.
    """
    kinds = "|".join(name.lower() for name in known_types())
    pattern = rf"<\|(?:{kinds})(?::[0-9a-f]{{16}})?\|>|{pseudonym()}"
    return pc.fill_null(pc.match_substring_regex(text, pattern), False).to_numpy(zero_copy_only=False)


def beside(spans: Spans, weak: Iterable[str], whole: npt.NDArray[np.bool_], distance: int) -> Spans:
    """`spans` without those of the types `weak` that stand alone.

    One stays in a document that is personal as a whole, and within `distance` characters of a span of another
    type that isn't weak.
    """
    doubtful = spans.of(weak)
    if not doubtful.any():
        return spans
    # Rows are laid behind each other on one line, further apart than the distance.
    length = int(spans.ends.max()) + distance + 1
    low, high = spans.rows * length + spans.starts, spans.rows * length + spans.ends
    sure_low, sure_high = low[~doubtful], high[~doubtful]
    keep = ~doubtful
    if len(sure_low):
        after = np.searchsorted(sure_low, high)
        next_start = sure_low[np.minimum(after, len(sure_low) - 1)]
        last_end = sure_high[np.maximum(after - 1, 0)]
        keep |= (after < len(sure_low)) & (next_start - high <= distance)
        keep |= (after > 0) & (low - last_end <= distance)
    return spans.where(keep | whole[spans.rows])
