"""Turns a crawl into LLM pretraining data: a Spark batch pipeline driven by YAML."""

from pretrain_data import _numba_cache

__version__ = "0.1.0"

_numba_cache.use()
