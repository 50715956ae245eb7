"""A `tokenizers.Tokenizer` from a table of byte-pair ranks (the `.tiktoken` format).

Such a table lists every token's bytes with its rank; a merge's priority is the rank of what it
makes. The `tokenizers` library wants the merges themselves, as pairs. Each token of two bytes or
more is made by exactly one pair when its own bytes are merged lowest rank first among the ranks
below its own; that pair is the merge that the table left out.
"""

from __future__ import annotations

import base64
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers


def read_ranks(path: Path) -> dict[bytes, int]:
    """Token bytes → rank, from lines of `base64 rank`."""
    ranks: dict[bytes, int] = {}
    with open(path, "rb") as lines:
        for line in lines:
            if line.strip():
                token, rank = line.split()
                ranks[base64.b64decode(token)] = int(rank)
    return ranks


def printable_bytes() -> list[str]:
    """The character that byte-level BPE writes for each byte value (GPT-2's table)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in shown}
    hidden = (byte for byte in range(256) if byte not in table)
    table.update({byte: chr(0x100 + i) for i, byte in enumerate(hidden)})
    return [table[byte] for byte in range(256)]


def last_merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes] | None:
    """The pair whose merge makes `token`; null if its bytes never meet below its own rank."""
    parts = [token[i : i + 1] for i in range(len(token))]
    limit = ranks[token]
    while len(parts) > 2:
        best, at = limit, -1
        for i in range(len(parts) - 1):
            rank = ranks.get(parts[i] + parts[i + 1], limit)
            if rank < best:
                best, at = rank, i
        if at < 0:
            return None
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return (parts[0], parts[1]) if len(parts) == 2 else None


def from_ranks(ranks: dict[bytes, int], pattern: str, special: dict[str, int], nfc: bool) -> Tokenizer:
    """Byte-level BPE over the pieces that `pattern` finds, with `special` tokens at their ids."""
    shown = printable_bytes()

    def show(token: bytes) -> str:
        return "".join(shown[byte] for byte in token)

    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        if len(token) > 1:
            pair = last_merge(token, ranks)
            if pair is not None:
                merges.append((show(pair[0]), show(pair[1])))
    vocabulary = {show(token): rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    ordered = sorted(special, key=special.__getitem__)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in ordered])
    for name in ordered:
        if tokenizer.token_to_id(name) != special[name]:
            raise ValueError(f"{name} has id {tokenizer.token_to_id(name)} instead of {special[name]}: table with gaps")
    return tokenizer
