"""Text of documents made fit to be shown: short, without control characters, personal data masked."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Longest piece of a text that a page carries, in code points; scrubbed before it is cut.
SNIPPET = 600
_READ = 4_000
# Control characters, and those that turn the direction of what stands around them.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]")


def shown(text: object, most: int = 120) -> str:
    """One line or text of at most `most` code points; invisible controls become `·`, a cut is marked by `…`."""
    plain = _CONTROL.sub("·", str(text)[: most + 1])
    plain = plain.encode("utf-8", "replace").decode("utf-8")
    return plain if len(plain) <= most else plain[:most] + "…"


def masked(texts: Sequence[str | None], most: int = SNIPPET) -> list[str]:
    """Each text with personal data replaced by its type, cut to `most` code points, fit to be shown."""
    import pyarrow as pa

    from pretrain_data.kernels.pii import find
    from pretrain_data.kernels.pii.replace import placeholders

    heads = pa.array([(text or "")[: max(_READ, most)] for text in texts], pa.large_string())
    return [shown(text, most) for text in placeholders(heads, find(heads)).to_pylist()]
