"""Names by a token classifier of the user's own: any Hugging Face model for NER, by folder or hub id."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from pretrain_data.errors import ConfigError
from pretrain_data.kernels.pii.spans import Spans

#: Labels that stand for persons, without B- and I-.
PERSON_LABELS = frozenset({"PER", "PERSON", "NAME", "PRIVATE_PERSON", "GIVENNAME", "SURNAME"})
STRIDE = 64  # tokens that neighbouring windows share


@lru_cache(maxsize=1)
def _load(model: str) -> Any:
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, use_fast=True)
        network = AutoModelForTokenClassification.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ConfigError(f"names.engine: {model}: no token classifier can be loaded: {error}") from None
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


def hugging_face(text: pa.Array, model: str, threshold: float) -> Spans:
    """Spans of persons with a score of `threshold` or more; a null has none."""
    tag = _load(model)
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
