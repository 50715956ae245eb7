"""Names by a token classifier of the user's own: any Hugging Face model for NER, by folder or hub id.

Weights are read from safetensors only and no code from a checkpoint is ever run, as for scorers (`loading`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from pretrain_data.errors import ConfigError
from pretrain_data.kernels.pii.spans import Spans
from pretrain_data.models.loading import explained, open_tokenizer

#: Labels that stand for persons, without B- and I-.
PERSON_LABELS = frozenset({"PER", "PERSON", "NAME", "PRIVATE_PERSON", "GIVENNAME", "SURNAME"})
STRIDE = 64  # tokens that neighbouring windows share


@lru_cache(maxsize=1)
def _load(model: str, revision: str | None) -> Any:
    from transformers import AutoModelForTokenClassification, pipeline

    where, tokenizer = open_tokenizer(model, "names", revision)
    with explained(model):
        network = AutoModelForTokenClassification.from_pretrained(
            where, revision=revision, use_safetensors=True, trust_remote_code=False
        )
    labels = {str(label).upper().removeprefix("B-").removeprefix("I-") for label in network.config.id2label.values()}
    if not labels & PERSON_LABELS:
        raise ConfigError(f"names.engine: {model} has no label for persons; it has {', '.join(sorted(labels))}")
    # A tokenizer without a limit of its own would make one window of a whole document.
    longest = min(tokenizer.model_max_length, getattr(network.config, "max_position_embeddings", 512))
    tokenizer.model_max_length = longest
    stride = min(STRIDE, longest // 4)
    return pipeline(
        "token-classification", model=network, tokenizer=tokenizer, aggregation_strategy="simple", stride=stride
    )


def hugging_face(text: pa.Array, model: str, threshold: float, revision: str | None = None) -> Spans:
    """Spans of persons with a score of `threshold` or more; a null has none.

    Raises InputError where the model can't be loaded, ConfigError where it knows no persons.
    """
    tag = _load(model, revision)
    found = []
    for row, value in enumerate(text.to_pylist()):
        if not value or not value.strip():
            continue
        last = 0
        for entity in tag(value):
            start, end = int(entity["start"]), int(entity["end"])
            if entity["entity_group"].upper() in PERSON_LABELS and entity["score"] >= threshold and start >= last:
                found.append((row, start, end, 0))
                last = end
    spans = Spans.build(found, ("PERSON",))
    assert spans.rows.dtype == np.int64
    return spans
