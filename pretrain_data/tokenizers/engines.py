"""Encode documents as plain text, by the `tokenizers` library or, for rank tables, by tiktoken.

Both give the same ids (a test holds them against each other); tiktoken is about six times as fast
per core. It overflows its stack on very long runs of white space, so such documents go to the
library.
"""

from __future__ import annotations

import functools
import json
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from pretrain_data.hashing import digest, file_digest
from pretrain_data.tokenizers.ranks import from_ranks, read_ranks

#: White-space runs from this length (characters) on are not given to tiktoken's regular expressions.
LONG_RUN = 2_000
_LONG_RUN = re.compile(rf"\s{{{LONG_RUN}}}")


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """Set a tokenizer to read all of a text as text, whole and unpadded.

    A crawled page may well spell "<|endoftext|>": it must stay text and not end a document.
    """
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@dataclass(frozen=True)
class RankTable:
    """A byte-pair vocabulary as ranks: the file, the pattern that cuts text, the special tokens."""

    path: str
    pattern: str
    special: dict[str, int]
    nfc: bool

    @functools.cached_property
    def library(self) -> Tokenizer:
        """The same tokenizer in the `tokenizers` library (takes seconds to build)."""
        return plain(from_ranks(read_ranks(Path(self.path)), self.pattern, self.special, self.nfc))

    @functools.cached_property
    def _fast(self):  # type: ignore[no-untyped-def]
        import tiktoken

        return tiktoken.Encoding(
            Path(self.path).stem,
            pat_str=self.pattern,
            mergeable_ranks=read_ranks(Path(self.path)),
            special_tokens=self.special,
        )

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        encoded = []
        for text in texts:
            if self.nfc and not unicodedata.is_normalized("NFC", text):
                text = unicodedata.normalize("NFC", text)
            if len(text) >= LONG_RUN and _LONG_RUN.search(text):
                encoded.append(np.array(self.library.encode(text, add_special_tokens=False).ids, np.uint32))
            else:
                ids = self._fast.encode_to_numpy(text, allowed_special=set(), disallowed_special=())
                encoded.append(ids)
        return encoded


@dataclass(frozen=True)
class Library:
    """A tokenizer of the `tokenizers` library, as its JSON."""

    text: str

    @functools.cached_property
    def library(self) -> Tokenizer:
        return plain(Tokenizer.from_str(self.text))

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        # One core a Spark task: the library's own threads would fight with the other tasks.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        encodings = self.library.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.uint32) for encoding in encodings]


@dataclass(frozen=True)
class TrainingTokenizer:
    """A tokenizer and the token that it writes after each document."""

    engine: RankTable | Library
    end_of_document: int

    @functools.cached_property
    def fingerprint(self) -> str:
        """Changes when the ids of any text, or the end of a document, could."""
        engine = self.engine
        if isinstance(engine, RankTable):
            what: object = [file_digest(Path(engine.path)), engine.pattern, engine.special, engine.nfc]
        else:
            what = json.loads(engine.text)
        return digest([what, self.end_of_document])

    @functools.cached_property
    def vocabulary_size(self) -> int:
        """All ids are below this."""
        if isinstance(self.engine, RankTable):
            return max(self.engine.special.values()) + 1
        return max(self.engine.library.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def dtype(self) -> np.dtype:
        """The narrowest type that Megatron knows and that holds every id."""
        return np.dtype(np.uint16) if self.vocabulary_size < 65_500 else np.dtype(np.int32)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of each text, without any special token, as uint32 arrays."""
        return self.engine.encode(texts)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of token ids, special tokens spelled out."""
        return self.engine.library.decode([int(i) for i in ids], skip_special_tokens=False)

    def save(self, path: Path) -> None:
        """Write all of it as one JSON file that `load_saved` reads on any machine."""
        path.parent.mkdir(parents=True, exist_ok=True)
        record: dict[str, object] = {"end_of_document": self.end_of_document}
        if isinstance(self.engine, RankTable):
            table = path.with_name(path.name + ".ranks")
            table.write_bytes(Path(self.engine.path).read_bytes())
            record["ranks"] = {
                "file": table.name,
                "pattern": self.engine.pattern,
                "special": self.engine.special,
                "nfc": self.engine.nfc,
            }
        else:
            record["tokenizer"] = json.loads(self.engine.text)
        scratch = path.with_name(path.name + ".writing")
        scratch.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
        os.replace(scratch, path)
