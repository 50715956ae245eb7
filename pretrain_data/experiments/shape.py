"""A well-proportioned decoder for a number of parameters.

Pre-norm decoder with grouped-query attention and SwiGLU, as Llama 3 and Qwen 2.5 have it. Layers and width grow
together: Kaplan et al. 2020 (3.1) find the loss to depend little on their ratio over a wide range, and Llama 3's three
sizes have width over layers of 128, 102 and 130 (Dubey et al. 2024, table 3); a ratio near 128 is sought, within 64 to
160.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pretrain_data.errors import InputError

RATIO, LEAST_RATIO, MOST_RATIO = 128, 64, 160
KV_HEADS = 8
MULTIPLE = 128  # of hidden and vocabulary; see `runplan`
HEADS_MULTIPLE = 8
#: Smaller models tie input and output embeddings, which are a large part of them (Qwen 2.5 up to 3B).
TIED_BELOW = 4e9


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder. `params` counts everything, embeddings included."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    tied: bool

    @property
    def per_layer(self) -> int:
        kv = self.kv_heads * self.head_dim
        return 2 * self.hidden * self.hidden + 2 * self.hidden * kv + 3 * self.hidden * self.ffn + 2 * self.hidden

    @property
    def embedding(self) -> int:
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def params(self) -> int:
        return self.layers * self.per_layer + self.hidden + self.embedding

    def attention_flops(self, sequence: int) -> float:
        """FLOPs a training token for scores and weighted sums, which 6N leaves out: 6 · layers · hidden · sequence.

        Half of Chowdhery et al. 2022 (PaLM, appendix B), since causal attention looks at half of the pairs.
        """
        return 6.0 * self.layers * self.hidden * sequence

    def kv_bytes(self, tokens: int, bytes_each: float = 2.0) -> float:
        """Bytes of keys and values of so many tokens of context."""
        return 2 * self.layers * self.kv_heads * self.head_dim * bytes_each * tokens


def padded(vocab: int) -> int:
    """The vocabulary, rounded up to a multiple of 128."""
    return math.ceil(vocab / MULTIPLE) * MULTIPLE


def shape_for(params: float, vocab: int) -> ModelShape:
    """The well-proportioned shape nearest to `params` parameters.

    Raises:
        InputError: fewer parameters than the smallest shape has.
    """
    vocab = padded(vocab)
    tied = params < TIED_BELOW
    best: tuple[float, ModelShape] | None = None
    for head_dim in (64, 128):
        for heads in range(HEADS_MULTIPLE, 513, HEADS_MULTIPLE):
            hidden = heads * head_dim
            # Heads of 128 from a width of 2,048 on, of 64 below: as the families do.
            if hidden % MULTIPLE or (head_dim == 128) != (hidden >= 2048):
                continue
            ffn = math.ceil(8 * hidden / 3 / 256) * 256
            for layers in range(max(2, math.ceil(hidden / MOST_RATIO)), hidden // LEAST_RATIO + 1):
                shape = ModelShape(layers, hidden, heads, min(KV_HEADS, heads), head_dim, ffn, vocab, tied)
                if shape.params > 1.6 * params:
                    break
                off = abs(math.log(shape.params / params)) + 0.1 * abs(math.log(hidden / layers / RATIO))
                if best is None or off < best[0]:
                    best = off, shape
    if best is None or not 0.5 < best[1].params / params < 2:
        raise InputError(f"{params:.3g} parameters are too few for a vocabulary of {vocab:,} and a width of 512")
    return best[1]
