"""Turns a crawl into LLM pretraining data: a Spark batch pipeline driven by YAML."""

__version__ = "0.1.0"
