"""What decides whether a stage is up to date: its config, code, resources and input, as one hash."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import xxhash

import pretrain_data
from pretrain_data.hashing import digest, file_digest
from pretrain_data.stage import Stage


def stage_fingerprint(stage: Stage[Any], seed: int, source: str) -> str:
    """32 hex digits that change when the stage's output may."""
    return digest([maker_fingerprint(stage, seed), source, *stage.asked()])


def maker_fingerprint(stage: Stage[Any], seed: int) -> str:
    """The same without the input: what turns a given shard into the same bytes again."""
    return digest(
        {
            "stage": stage.name,
            "config": config_digest(stage),
            "seed": seed,
            "resources": sorted([p.name, file_digest(p)] for f in stage.resources() for p in _files(f)),
            "code": code_version(),
        }
    )


def config_digest(stage: Stage[Any]) -> str:
    """Hash of the stage's own settings; where its input lies and how it is watched are no part of it."""
    return digest(stage.config.model_dump(mode="json", exclude=set(stage.config.OPERATIONAL)))


@functools.cache
def code_version() -> str:
    """Version and a hash of all files of this package, so that no edit goes unnoticed."""
    root = Path(__file__).parent
    files = sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    parts = [[str(p.relative_to(root)), file_digest(p)] for p in files if p.suffix not in (".nbi", ".nbc")]
    return f"{pretrain_data.__version__}+{digest(parts)[:12]}"


def stage_seed(seed: int, name: str) -> int:
    """A stage's own seed in [0, 2^63), from the config's seed and the stage's name."""
    return xxhash.xxh3_64_intdigest(f"{seed}:{name}".encode()) >> 1


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
