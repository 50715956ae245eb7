"""Questions to a language model behind an OpenAI-compatible endpoint, none of them paid for twice.

    prompts → cache (answered before?) → budget (may we?) → endpoint (ask, with patience) → cache, then the caller

`endpoint` speaks the protocol, `cache` keeps every answer on disk before anybody sees it, `ask` runs many
questions at once within limits. Labelling and synthesis both stand on it.
"""

from pretrain_data.llm.ask import Asker, Failure, Limits, Prompt
from pretrain_data.llm.cache import AnswerCache
from pretrain_data.llm.endpoint import Answer, Endpoint, EndpointConfig, EndpointRefused, NoAnswer

__all__ = [
    "Answer",
    "AnswerCache",
    "Asker",
    "Endpoint",
    "EndpointConfig",
    "EndpointRefused",
    "Failure",
    "Limits",
    "NoAnswer",
    "Prompt",
]
