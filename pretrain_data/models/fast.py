"""fastText under the interface of the encoders: some hundred times cheaper, a little less right.

Chinese is cut by character and newlines are kept as a token, as the carried encoders do; vectors are of words, of pairs
of words and of hashed pieces (Joulin et al. 2016, https://arxiv.org/abs/1607.01759).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrain_data.errors import InputError
from pretrain_data.kernels.scoring import CHARS_PER_TOKEN, Reading
from pretrain_data.models.loading import FASTTEXT

if TYPE_CHECKING:
    from pretrain_data.models.training.config import TrainConfig
    from pretrain_data.models.training.labels import Example

PREFIX = "__label__"
_WORD = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]|[^\W_]+|[^\w\s]|\n")


@dataclass(frozen=True)
class FastText:
    """A supervised model and its labels."""

    model: Any
    labels: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path) -> FastText:
        """Load `folder`/fasttext.bin. Raises InputError."""
        import fasttext

        try:
            model = fasttext.load_model(str(folder / FASTTEXT))
        except ValueError as error:
            raise InputError(f"{folder / FASTTEXT}: not a fastText model ({error})") from None
        return cls(model, tuple(sorted(label.removeprefix(PREFIX) for label in model.get_labels())))

    def read(self, texts: Sequence[str], max_tokens: int, reading: Reading = "head") -> list[str]:
        """Each text as a line of at most `max_tokens` words, from its head or from head, middle and tail."""
        return [line(text, max_tokens, reading) for text in texts]

    def score(self, read: list[str], tokens_per_batch: int | None = None) -> np.ndarray:
        """Probabilities, texts × labels, each row's sum 1."""
        out = np.zeros((len(read), len(self.labels)), np.float32)
        place = {PREFIX + label: i for i, label in enumerate(self.labels)}
        for row, text in enumerate(read):
            for share, label in self.model.f.predict(text + "\n", len(self.labels), 0.0, "strict"):
                out[row, place[label]] = share
        return out / np.maximum(out.sum(1, keepdims=True), 1e-9)


def line(text: str, max_words: int, reading: Reading = "head") -> str:
    """NFKC, lower case, Chinese by character, a newline as ⏎."""
    reach = max_words * CHARS_PER_TOKEN
    if reading == "head" or len(text) <= reach:
        parts = [text[:reach]]
        rooms = [max_words]
    else:
        quarter = max_words // 4
        middle, span = len(text) // 2, quarter * CHARS_PER_TOKEN
        parts = [text[:reach], text[middle : middle + span], text[-span:]]
        rooms = [max_words - 2 * quarter, quarter, quarter]
    words: list[str] = []
    for part, room in zip(parts, rooms, strict=True):
        words += ["⏎" if w == "\n" else w for w in _WORD.findall(unicodedata.normalize("NFKC", part).lower())[:room]]
    return " ".join(words)


def train(config: TrainConfig, examples: list[Example], folder: Path, seconds: float | None) -> FastText:
    """Train on `examples` and write `folder`/fasttext.bin. One thread, so that the same input gives the same model.

    fastText has no weights of examples: rarer labels are repeated, at most tenfold. Where `seconds` are few, so are the
    epochs (a first epoch is timed). With `config.features` the model is quantised (Joulin et al. 2016,
    https://arxiv.org/abs/1612.03651): the features of the largest norm stay, and their vectors are learned once more.
    """
    import tempfile
    import time

    import fasttext

    from pretrain_data.models.training.bert import balance

    folder.mkdir(parents=True, exist_ok=True)
    weights = balance(examples, config.balance)
    times = np.maximum(1, np.round(weights / weights.min())).astype(int).clip(max=10)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "train.txt"
        lines = [f"{PREFIX}{e.label} {line(e.text, config.max_tokens, config.reading)}" for e in examples]
        order = np.random.default_rng(config.seed).permutation(np.repeat(np.arange(len(lines)), times))
        path.write_text("\n".join(lines[i] for i in order) + "\n")
        options: dict[str, Any] = {
            "lr": 0.3, "dim": 64, "wordNgrams": 2, "minCount": 2, "bucket": 100_000, "thread": 1, "verbose": 0,
            "seed": config.seed % 2**31,
        }  # fmt: skip
        epochs = max(5, config.epochs)
        if seconds is not None:
            began = time.monotonic()
            fasttext.train_supervised(str(path), epoch=1, **options)
            each = time.monotonic() - began
            epochs = int(min(epochs, max(1, (seconds - each) / max(each, 1e-3))))
        model = fasttext.train_supervised(str(path), epoch=epochs, **options)
        if config.features is not None:
            model.quantize(str(path), cutoff=config.features, retrain=True, qnorm=True, thread=1, verbose=0)
        model.save_model(str(folder / FASTTEXT))
    return FastText(model, tuple(sorted(label.removeprefix(PREFIX) for label in model.get_labels())))
