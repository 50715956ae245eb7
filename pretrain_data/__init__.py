"""Turns a crawl into LLM pretraining data: a Spark batch pipeline driven by YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pretrain_data import _numba_cache

if TYPE_CHECKING:
    from pretrain_data import texts as texts
    from pretrain_data.notebook import run_stage as run_stage
    from pretrain_data.reader import open_blocks as open_blocks

__version__ = "0.1.0"

_numba_cache.use()

#: What `from pretrain_data import …` offers, and the module that has it.
_OFFERED = {"open_blocks": "reader", "run_stage": "notebook", "texts": "texts"}


def __getattr__(name: str) -> Any:
    # On demand: a worker that only runs kernels should not pay for the reader's imports.
    if name in _OFFERED:
        from importlib import import_module

        module = import_module(f"pretrain_data.{_OFFERED[name]}")
        return module if name == _OFFERED[name] else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_OFFERED})
