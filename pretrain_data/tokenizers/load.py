"""Find a tokenizer by name and load it."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pretrain_data.errors import InputError
from pretrain_data.tokenizers.engines import Library, RankTable, TrainingTokenizer

DEFAULT = Path(__file__).with_name("default.json")


@functools.lru_cache(maxsize=2)
def load_saved(path: str) -> TrainingTokenizer:
    """Load what `TrainingTokenizer.save` wrote; cached, since Spark's workers live for many tasks."""
    file = Path(path)
    record = json.loads(file.read_text(encoding="utf-8"))
    if "ranks" in record:
        ranks = record["ranks"]
        engine: RankTable | Library = RankTable(
            str(file.with_name(ranks["file"])), ranks["pattern"], ranks["special"], ranks["nfc"]
        )
    else:
        engine = Library(json.dumps(record["tokenizer"], ensure_ascii=False))
    return TrainingTokenizer(engine, record["end_of_document"])


def _default_table() -> tuple[dict[str, Any], Path]:
    settings = json.loads(DEFAULT.read_text(encoding="utf-8"))
    package = importlib.util.find_spec(settings["package"])
    if package is None or not package.submodule_search_locations:
        raise InputError(
            f"the default tokenizer needs the package {settings['package'].replace('_', '-')}; "
            "install it, or set `tokenizer` to a folder with a tokenizer.json"
        )
    # Only its table is read: the package itself is never imported.
    return settings, Path(package.submodule_search_locations[0]) / settings["file"]


#: What a tokenizer's folder may hold; the weights beside it don't matter.
FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "config.json",
)  # fmt: skip


def tokenizer_files(name: str) -> list[Path]:
    """The local files that decide what `name` means; none for a hub id."""
    if name == "default":
        return [DEFAULT, _default_table()[1]]
    path = Path(name)
    if path.is_dir():
        return [path / file for file in FILES if (path / file).exists()]
    return [path] if path.is_file() else []


def load_tokenizer(name: str, end_of_document: str | None = None) -> TrainingTokenizer:
    """Load `default`, a folder of Hugging Face's, a `tokenizer.json`, or a hub id (which may need the network).

    `end_of_document` names the token written after each document; by default the folder's
    `eos_token`. Raises InputError with what is missing.
    """
    if name == "default":
        settings, table = _default_table()
        digest = hashlib.sha256(table.read_bytes()).hexdigest()
        if digest != settings["sha256"]:
            raise InputError(f"{table} is not the table that was checked: its SHA-256 is {digest}")
        special = settings["special"]
        wanted = end_of_document or settings["end_of_document"]
        if wanted not in special:
            raise InputError(f"tokenizer {name} has no token {wanted!r} to end a document with")
        ranks = RankTable(str(table), settings["pattern"], special, settings["nfc"])
        return TrainingTokenizer(ranks, special[wanted])
    path = Path(name)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not path.exists() and name.startswith((".", "/")):
        raise InputError(f"no tokenizer at {name}")
    if file.is_file():
        tokenizer, found = _of_file(file)
    else:
        tokenizer, found = _of_transformers(name)
    wanted = end_of_document or found
    if wanted is None:
        raise InputError(f"tokenizer {name} does not say which token ends a document: set `end_of_document`")
    token = tokenizer.token_to_id(wanted)
    if token is None:
        raise InputError(f"tokenizer {name} has no token {wanted!r} to end a document with")
    return TrainingTokenizer(Library(tokenizer.to_str()), int(token))


def _of_file(file: Path) -> tuple[Tokenizer, str | None]:
    """A tokenizer.json, and the `eos_token` that a file beside it names."""
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exceptions
        raise InputError(f"{file}: not a tokenizer ({error})") from error
    for beside in ("tokenizer_config.json", "special_tokens_map.json"):
        config = file.with_name(beside)
        eos = json.loads(config.read_text(encoding="utf-8")).get("eos_token") if config.exists() else None
        if eos is not None:
            return tokenizer, eos.get("content") if isinstance(eos, dict) else eos
    return tokenizer, None


def _of_transformers(name: str) -> tuple[Tokenizer, str | None]:
    """A folder in an older form (vocabulary and merges, SentencePiece), or a hub id."""
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"tokenizer {name} can't be loaded: {error}") from error
    if not found.is_fast:
        raise InputError(f"tokenizer {name} has no fast form; save it with transformers to get a tokenizer.json")
    return found.backend_tokenizer, found.eos_token
