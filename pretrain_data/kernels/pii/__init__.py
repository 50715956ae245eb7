"""Personal data in texts: found, judged and replaced. What it looks like is data (wordlists/pii.yaml).

`find` names the spans of a batch, `names` those of persons, `evidence` drops what is knowledge rather than
personal, `actions` and `surrogates` say what becomes of a span, `replace` writes the new texts.
Offsets are code points of the text as it is given.
"""

from pretrain_data.kernels.pii.find import everywhere, find
from pretrain_data.kernels.pii.spans import Span, Spans
from pretrain_data.kernels.pii.types import known_types, secret_types, weak_types

__all__ = ["Span", "Spans", "everywhere", "find", "known_types", "secret_types", "weak_types"]
