"""Find a tokenizer by name and load it."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

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
        raise FileNotFoundError(
            f"the default tokenizer needs the package {settings['package'].replace('_', '-')}; "
            "install it, or set `tokenizer` to a folder with a tokenizer.json"
        )
    # Only its table is read: the package itself is never imported.
    return settings, Path(package.submodule_search_locations[0]) / settings["file"]


def tokenizer_files(name: str) -> list[Path]:
    """The local files that decide what `name` means; none for a hub id."""
    if name == "default":
        return [DEFAULT, _default_table()[1]]
    path = Path(name)
    if path.is_dir():
        return [file for file in (path / "tokenizer.json", path / "tokenizer_config.json") if file.exists()]
    return [path] if path.is_file() else []


def _end_of_document(tokenizer: Tokenizer, wanted: str | None, config: Path | None, name: str) -> int:
    if wanted is None and config is not None and config.exists():
        eos = json.loads(config.read_text(encoding="utf-8")).get("eos_token")
        wanted = eos.get("content") if isinstance(eos, dict) else eos
    if wanted is None:
        raise ValueError(f"tokenizer {name} does not say which token ends a document: set `end_of_document`")
    token = tokenizer.token_to_id(wanted)
    if token is None:
        raise ValueError(f"tokenizer {name} has no token {wanted!r} to end a document with")
    return int(token)


def load_tokenizer(name: str, end_of_document: str | None = None) -> TrainingTokenizer:
    """Load `default`, a folder, a `tokenizer.json`, or a hub id (which may need the network).

    `end_of_document` names the token written after each document; by default the folder's
    `eos_token`. Raises FileNotFoundError or ValueError with what is missing.
    """
    if name == "default":
        settings, table = _default_table()
        digest = hashlib.sha256(table.read_bytes()).hexdigest()
        if digest != settings["sha256"]:
            raise ValueError(f"{table} is not the table that was checked: its SHA-256 is {digest}")
        special = settings["special"]
        wanted = end_of_document or settings["end_of_document"]
        if wanted not in special:
            raise ValueError(f"tokenizer {name} has no token {wanted!r} to end a document with")
        ranks = RankTable(str(table), settings["pattern"], special, settings["nfc"])
        return TrainingTokenizer(ranks, special[wanted])
    path = Path(name)
    file = path / "tokenizer.json" if path.is_dir() else path
    config: Path | None = None
    if file.is_file():
        tokenizer = Tokenizer.from_file(str(file))
        config = file.with_name("tokenizer_config.json")
    elif path.exists() or name.startswith((".", "/")):
        raise FileNotFoundError(f"no tokenizer.json in {name}")
    else:
        tokenizer = Tokenizer.from_pretrained(name)
    eod = _end_of_document(tokenizer, end_of_document, config, name)
    return TrainingTokenizer(Library(tokenizer.to_str()), eod)
