"""Makes the untrained student: a WordPiece vocabulary of the training texts, and word vectors taken from the teacher.

    python scripts/default_models/start.py TEACHER START TEXTS.parquet... [--without SOURCE...]

Chinese goes by character, a newline is a token of its own (menus and lists show in short lines). A piece's vector is
the mean of the teacher's vectors of it, brought down to HIDDEN dimensions by their principal components.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from pretrain_data.rules import wordlists

VOCABULARY = 11_000
HIDDEN, LAYERS, HEADS = 192, 2, 6
NEWLINE = "⏎"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SEED = 20260101


def main() -> None:
    """Write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("start", type=Path)
    parser.add_argument("texts", type=Path, nargs="+")
    parser.add_argument("--without", nargs="*", default=[], help="Sources that are held out of all training.")
    args = parser.parse_args()
    tokenizer = learn_tokenizer(texts(args.texts, set(args.without)))
    torch.manual_seed(SEED)
    model = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=4 * HIDDEN,
            max_position_embeddings=512,
            pad_token_id=0,
        )
    )
    vectors = word_vectors(
        args.teacher, [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda t: t[1])]
    )
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.copy_(torch.from_numpy(vectors))
    model.save_pretrained(args.start)
    tokenizer.save_pretrained(args.start)


def texts(paths: list[Path], without: set[str]) -> Iterator[str]:
    """The heads of all texts but those of held-out sources."""
    for path in paths:
        for row in pq.read_table(path, columns=["text", "source"]).to_pylist():
            if row["source"] not in without:
                yield (row["text"] or "")[:3000]


def learn_tokenizer(lines: Iterator[str]) -> PreTrainedTokenizerFast:
    """WordPiece over NFKC, lower case, Chinese by character."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.Sequence(
        [normalizers.Replace("\n", f" {NEWLINE} "), normalizers.NFKC(), normalizers.BertNormalizer(lowercase=True)]
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    common = wordlists.read(Path(wordlists.__file__).parents[1] / "wordlists" / "common_characters.txt")
    alphabet = sorted({c for entry in common for c in entry if not c.isspace()})
    made.train_from_iterator(
        lines,
        trainers.WordPieceTrainer(
            vocab_size=VOCABULARY,
            min_frequency=3,
            limit_alphabet=6500,
            initial_alphabet=[NEWLINE, "•", *alphabet],
            special_tokens=SPECIAL,
            show_progress=False,
        ),
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=512, **dict(zip(names, SPECIAL, strict=True))
    )


def word_vectors(teacher: Path, pieces: list[str]) -> np.ndarray:
    """(pieces, HIDDEN) float32, of BERT's usual spread."""
    table = AutoModel.from_pretrained(teacher).embeddings.word_embeddings.weight.detach().numpy()
    encode = AutoTokenizer.from_pretrained(teacher)
    ids = encode([p.removeprefix("##") for p in pieces], add_special_tokens=False)["input_ids"]
    vectors = np.stack([table[i].mean(0) if i else np.zeros(table.shape[1], np.float32) for i in ids])
    vectors -= vectors.mean(0)
    _, _, axes = np.linalg.svd(vectors, full_matrices=False)
    reduced = vectors @ axes[:HIDDEN].T
    return (reduced * (0.04 / reduced.std())).astype(np.float32)


if __name__ == "__main__":
    main()
