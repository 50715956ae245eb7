"""Scores texts with encoders: tokenised ahead of the device, sorted by length, batched by tokens, hardly any padding.

The shape of the work, for a window of some thousand texts:

    read      a text is cut to what can matter, tokenised in Rust threads, and its ids laid end to end (`Tokens`)
    sort      rows by length, longest first, so that a batch that is too large fails at once
    batch     as many rows as fit the budget of tokens, padded to the longest of them
    forward   bf16 or fp32; a batch that the device has no memory for is halved, and the budget with it

While the device works on one window, a thread reads the next (`ahead`). Results come in the order
of the texts and do not depend on what else is in the window.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

CHARS_PER_TOKEN = 12  # more characters than this for each token that is kept are never looked at
#: Characters a token that are looked at first, for texts of at most so many bytes a character; most texts need no more.
FIRST_LOOK = ((1.3, 5.0), (2.2, 4.0), (4.0, 1.6))
#: Tokens beyond those kept that a first look must have to be believed: what a word that the look cuts can come to
#: (WordPiece reads words of at most 100 characters).
MARGIN = 128
#: Tokens in a batch: on a CPU as many as fit its cache (larger batches are up to 1.4 times slower), on a GPU as many as
#: keep it busy.
BATCH_CPU, BATCH_GPU = 1_024, 131_072
#: What of a text that is longer than the model reads: its head, or a half from its head and a quarter each from middle
#: and tail.
Reading = Literal["head", "head-middle-tail"]
MULTIPLE = 64  # on a GPU widths are rounded up to this, so that few shapes occur (torch.compile, tensor cores)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tokens:
    """Token ids of texts, end to end: row i is ids[offsets[i]:offsets[i + 1]], special tokens included."""

    ids: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.offsets)

    def row(self, i: int) -> npt.NDArray[np.int64]:
        return self.ids[self.offsets[i] : self.offsets[i + 1]]


def read(tokenizer: Any, texts: Sequence[str], max_tokens: int, reading: Reading = "head") -> Tokens:
    """Tokenise what is read of each text, at most `max_tokens` tokens with the special ones."""
    prefix, suffix = specials(tokenizer)
    room = max(1, max_tokens - len(prefix) - len(suffix))
    reach = room * CHARS_PER_TOKEN
    rows = _heads(tokenizer, texts, room) if reading == "head" else _three_parts(tokenizer, texts, room, reach)
    lengths = np.fromiter((len(r) for r in rows), np.int64, len(rows)) + len(prefix) + len(suffix)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.empty(int(offsets[-1]), np.int64)
    at = 0
    for row in rows:
        for part in (prefix, row, suffix):
            ids[at : at + len(part)] = part
            at += len(part)
    return Tokens(ids, offsets)


def specials(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens that this tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True)["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    return [], []


def _ids(tokenizer: Any, texts: list[str], most: int) -> list[list[int]]:
    if not texts:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:  # straight to Rust: the wrapper costs as much again in lists of masks and types
        backend.no_padding()
        backend.no_truncation()
        return [e.ids[:most] for e in backend.encode_batch_fast(texts, add_special_tokens=False)]
    found: list[list[int]] = tokenizer(texts, add_special_tokens=False, truncation=True, max_length=most)["input_ids"]
    return found


def _heads(tokenizer: Any, texts: Sequence[str], room: int) -> list[list[int]]:
    """The first `room` tokens of each text, of not much more of it than that takes.

    The cut of a first look changes no tokens but those of the word it falls into; so the look is believed where MARGIN
    tokens follow on those that are kept, and the other texts are read again up to the full reach.
    """
    reach = room * CHARS_PER_TOKEN
    looks = [text[: _first_look(text, room, reach)] for text in texts]
    rows = _ids(tokenizer, looks, room + MARGIN)
    again = [i for i, row in enumerate(rows) if len(row) < room + MARGIN and len(looks[i]) < min(len(texts[i]), reach)]
    for i, row in zip(again, _ids(tokenizer, [texts[i][:reach] for i in again], room), strict=True):
        rows[i] = row
    return [row[:room] for row in rows]


def _first_look(text: str, room: int, reach: int) -> int:
    """Characters that most likely hold enough tokens, by the bytes a character of the text's beginning."""
    head = text[:500]
    density = len(head.encode("utf-8", "surrogatepass")) / max(1, len(head))
    chars = next(chars for most, chars in FIRST_LOOK if density <= most)
    return min(reach, int((room + MARGIN) * chars))


def _three_parts(tokenizer: Any, texts: Sequence[str], room: int, reach: int) -> list[list[int]]:
    """Whole texts where they fit, else half the room from the head and a quarter each from the middle and the tail."""
    short = [len(text) <= reach for text in texts]
    whole = iter(_ids(tokenizer, [t for t, s in zip(texts, short, strict=True) if s], reach))
    rows: list[list[int]] = []
    quarter = room // 4
    head = room - 2 * quarter
    pieces: list[str] = []
    for text, fits in zip(texts, short, strict=True):
        if fits:
            continue
        middle = len(text) // 2
        span = quarter * CHARS_PER_TOKEN
        pieces += [text[:reach], text[middle : middle + span], text[max(0, len(text) - span) :]]
    cut = iter(_ids(tokenizer, pieces, reach))
    for fits in short:
        if fits:
            ids = next(whole)
            if len(ids) > room:
                middle = len(ids) // 2 - quarter // 2
                ids = ids[:head] + ids[middle : middle + quarter] + ids[len(ids) - quarter :]
            rows.append(ids)
            continue
        first, second, third = next(cut), next(cut), next(cut)
        rows.append(first[:head] + second[:quarter] + third[max(0, len(third) - quarter) :])
    return rows


def padded(rows: Sequence[Sequence[int]], pad: int, device: Any, multiple: int = 1) -> tuple[Any, Any]:
    """(ids, mask) of shape (rows, longest row), the width rounded up to `multiple`."""
    import torch

    width = max(1, max(len(row) for row in rows))
    width = -(-width // multiple) * multiple
    ids = np.full((len(rows), width), pad, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    made = torch.from_numpy(ids), torch.from_numpy(mask)
    if str(device).startswith("cuda"):
        return made[0].pin_memory().to(device, non_blocking=True), made[1].pin_memory().to(device, non_blocking=True)
    return made


def forward(
    model: Any, tokens: Tokens, tokens_per_batch: int, pad: int = 0, span: tuple[float, float] | None = None
) -> Floats:
    """Class probabilities (texts × labels) in the order of the texts.

    Of one logit, its sigmoid, or where `span` is given, where it lies between the two, within 0 and 1 (texts × 1).
    """
    import torch

    out = np.empty((len(tokens), model.config.num_labels), np.float32)
    lengths = tokens.lengths
    order = np.argsort(-lengths, kind="stable")
    device = next(model.parameters()).device
    multiple = MULTIPLE if device.type == "cuda" else 1
    at = 0
    pending: list[tuple[npt.NDArray[np.int64], Any]] = []
    while at < len(order):
        width = -(-int(lengths[order[at]]) // multiple) * multiple
        rows = order[at : at + max(1, tokens_per_batch // max(1, width))]
        try:
            pending.append((rows, _batch(model, [tokens.row(r) for r in rows], pad, device, multiple, span)))
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            tokens_per_batch = max(width, len(rows) * width // 2)
            if device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        at += len(rows)
    for rows, found in pending:  # fetched at the end: on a GPU the queue stays full meanwhile
        out[rows] = found.cpu().numpy()
    return out


def _batch(
    model: Any,
    rows: list[npt.NDArray[np.int64]],
    pad: int,
    device: Any,
    multiple: int,
    span: tuple[float, float] | None = None,
) -> Any:
    import torch

    ids, mask = padded(rows, pad, device, multiple)  # type: ignore[arg-type]
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask).logits.float()
        if logits.shape[1] > 1:
            return torch.softmax(logits, dim=1)
        if span is None:
            return torch.sigmoid(logits)
        return ((logits - span[0]) / (span[1] - span[0])).clamp(0, 1)


def batch_tokens(model: Any) -> int:
    """Tokens in a batch that suit the device the model is on."""
    return BATCH_GPU if next(model.parameters()).device.type == "cuda" else BATCH_CPU


def limit_of(model: Any, max_tokens: int) -> int:
    """`max_tokens`, or what the model's positions allow where that is less (RoBERTa's begin behind the padding's)."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is None or positions < 0:
        return max_tokens
    if model.config.model_type in ("roberta", "xlm-roberta", "camembert"):
        positions -= model.config.pad_token_id + 1
    return int(min(max_tokens, positions))


def probabilities(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    max_tokens: int,
    tokens_per_batch: int,
    reading: Reading = "head",
) -> Floats:
    """Class probabilities of one window of texts by one model. See `forward`."""
    tokens = read(tokenizer, texts, limit_of(model, max_tokens), reading)
    return forward(model, tokens, tokens_per_batch, int(tokenizer.pad_token_id or 0))


def ahead(items: Iterable[Any], work: Callable[[Any], Any]) -> Iterator[tuple[Any, Any]]:
    """(item, work(item)) in order, `work` on the next item running in a thread while the caller uses this one."""
    source = iter(items)
    with ThreadPoolExecutor(1) as pool:
        try:
            item = next(source)
        except StopIteration:
            return
        coming = pool.submit(work, item)
        for following in source:
            done = coming.result()
            coming = pool.submit(work, following)
            yield item, done
            item = following
        yield item, coming.result()


def device_of_task() -> str:
    """`cuda:N` where Spark gave this task a GPU or the process sees one, else `cpu`. Call inside a task only.

    Spark hands out addresses as the executor sees them. Where CUDA_VISIBLE_DEVICES lists devices, as resource managers
    set it, an address is looked up there, since torch counts from 0 within that list.
    """
    import torch
    from pyspark import TaskContext

    context = TaskContext.get()
    address = address_of_task(context)
    if not torch.cuda.is_available():
        return "cpu"
    if torch.cuda._is_in_bad_fork():  # a shard done with care, in a fork: neither CUDA nor threads came along
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        return "cpu"
    if address is not None:
        visible = [d.strip() for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d.strip()]
        return f"cuda:{visible.index(address) if address in visible else int(address)}"
    partition = context.partitionId() if context is not None else 0
    return f"cuda:{partition % torch.cuda.device_count()}"


def address_of_task(context: Any) -> str | None:
    """The first GPU that Spark's scheduler gave to this task."""
    given = context.resources().get("gpu") if context is not None else None
    return str(given.addresses[0]) if given is not None and given.addresses else None
