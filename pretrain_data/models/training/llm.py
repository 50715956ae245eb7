"""Labels by a language model behind an OpenAI-compatible endpoint; every paid answer is kept (see `llm.cache`)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretrain_data.errors import ConfigError, InputError
from pretrain_data.llm import AnswerCache, Asker, Endpoint, Failure, Prompt
from pretrain_data.models.training.config import Llm
from pretrain_data.models.training.labels import Example

WORST = 20  # questions in a row without an answer before the endpoint counts as down


def label(
    config: Llm, examples: list[Example], cache: Path, say: Callable[[str, float], None]
) -> tuple[list[Example], dict[str, Any]]:
    """Examples with labels; of those that had none, the ones that the model has answered for.

    `cache` is the folder of its answers. Also what it cost: counts of answers, tokens, and money of all answers that
    were used. Raises ConfigError for a bad prompt, InputError where the endpoint can't be used.
    """
    template = _template(config.prompt)
    pattern, names = re.compile(config.answer), {key.casefold(): value for key, value in config.labels.items()}
    open_ = sorted((e for e in examples if e.label is None), key=lambda e: e.key)[: config.documents]
    out = [e for e in examples if e.label is not None]
    counts: Counter[str] = Counter(dict.fromkeys(("unclear", "failed", "tokens_in", "tokens_out"), 0))
    failed_in_a_row, stopped, last = 0, "all asked", ""
    with AnswerCache(cache) as known:
        asker = Asker(Endpoint(config.endpoint, config.limits.concurrency), known, config.limits)
        answers = asker.ask(_prompt(template, e.text[: config.chars], e) for e in open_)
        for done, (example, (_, answer)) in enumerate(zip(open_, answers, strict=True), 1):
            if isinstance(answer, Failure):
                if answer.kind == "refused":
                    raise InputError(f"llm: {answer.detail}")
                counts["failed"] += 1
                failed_in_a_row += 1
                last = answer.detail
                if answer.kind == "budget" or failed_in_a_row >= WORST:
                    stopped = "budget" if answer.kind == "budget" else "endpoint down"
                    break
                continue
            failed_in_a_row = 0
            counts["tokens_in"] += answer.prompt_tokens
            counts["tokens_out"] += answer.completion_tokens
            named = _label_of(answer.text, pattern, names)
            if named is None:
                counts["unclear"] += 1
            else:
                out.append(replace(example, label=named))
            say(f"asking {config.endpoint.model}: {done:,} of {len(open_):,}", done / len(open_))
    if not out:
        raise InputError(
            f"llm: no usable answer from {config.endpoint.url} ({counts['failed']} failed, "
            f"{counts['unclear']} named no label){': ' + last if last else ''}"
        )
    price = counts["tokens_in"] * config.cost_per_million_in + counts["tokens_out"] * config.cost_per_million_out
    spent = {"model": config.endpoint.model, "answered": asker.answered, "cached": asker.cached, **counts}
    return sorted(out, key=lambda e: e.key), spent | {"cost": price / 1e6, "stopped": stopped}


def _template(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"llm.prompt: {path}: {error.strerror}") from None
    if "{text}" not in text:
        raise ConfigError(f"llm.prompt: {path} has no {{text}} where the document goes")
    return text


def _prompt(template: str, text: str, example: Example) -> Prompt:
    return Prompt(f"{example.key:016x}", ({"role": "user", "content": template.replace("{text}", text)},))


def _label_of(answer: str, pattern: re.Pattern[str], names: dict[str, str]) -> str | None:
    """The label that the answer names last, None where it names none."""
    found = [m.group(1) for m in pattern.finditer(answer.strip())]
    return names.get(found[-1].casefold()) if found else None
