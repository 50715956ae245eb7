"""Scores texts with an encoder: sorted by length, in batches of a bounded number of tokens, no padding to spare."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

CHARS_PER_TOKEN = 12  # more characters than this for each token that is kept are never looked at


def probabilities(
    model: Any, tokenizer: Any, texts: list[str], max_tokens: int, tokens_per_batch: int
) -> npt.NDArray[np.float32]:
    """Class probabilities (texts × labels, float32) in the order of `texts`; of one logit, its sigmoid (texts × 1).

    A text is judged by its first `max_tokens` tokens. Batches hold at most `tokens_per_batch` tokens, padding
    included; where the device has too little memory for one, it is halved.
    """
    import torch

    if not texts:
        return np.empty((0, model.config.num_labels), np.float32)
    limit = min(max_tokens, getattr(model.config, "max_position_embeddings", max_tokens))
    heads = [text[: limit * CHARS_PER_TOKEN] for text in texts]
    encoded = tokenizer(heads, truncation=True, max_length=limit, add_special_tokens=True, padding=False)["input_ids"]
    lengths = np.array([len(ids) for ids in encoded])
    out = np.empty((len(texts), model.config.num_labels), np.float32)
    order = np.argsort(-lengths, kind="stable")
    at = 0
    while at < len(order):
        size = max(1, tokens_per_batch // max(1, int(lengths[order[at]])))
        rows = order[at : at + size]
        try:
            out[rows] = _batch(model, tokenizer, [encoded[r] for r in rows])
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            tokens_per_batch = max(1, tokens_per_batch // 2)
            torch.cuda.empty_cache()
            continue
        at += len(rows)
    return out


def _batch(model: Any, tokenizer: Any, rows: list[list[int]]) -> npt.NDArray[np.float32]:
    import torch

    width = max(1, max(map(len, rows)))
    ids = torch.full((len(rows), width), int(tokenizer.pad_token_id or 0), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, : len(row)] = 1
    device = next(model.parameters()).device
    with torch.inference_mode():
        logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits.float()
        found = torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)
    result: npt.NDArray[np.float32] = found.cpu().numpy()
    return result


def device_of_task() -> str:
    """`cuda:N` where Spark gave this task a GPU or the process sees one, else `cpu`. Call inside a task only."""
    import torch
    from pyspark import TaskContext

    context = TaskContext.get()
    given = context.resources().get("gpu") if context is not None else None
    if not torch.cuda.is_available():
        return "cpu"
    if given is not None and given.addresses:
        return f"cuda:{given.addresses[0]}"
    partition = context.partitionId() if context is not None else 0
    return f"cuda:{partition % torch.cuda.device_count()}"
