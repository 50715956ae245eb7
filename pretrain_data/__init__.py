"""Turns a crawl into LLM pretraining data: a Spark batch pipeline driven by YAML."""

from __future__ import annotations

from typing import Any

from pretrain_data import _numba_cache

__version__ = "0.1.0"

_numba_cache.use()


def __getattr__(name: str) -> Any:
    # On demand: a worker that only runs kernels should not pay for the reader's imports.
    if name == "open_blocks":
        from pretrain_data.reader import open_blocks

        return open_blocks
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
