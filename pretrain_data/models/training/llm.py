"""Labels by a language model behind an OpenAI-compatible endpoint, with every paid answer kept.

An answer is appended to a file, flushed, before anything else is done with it; the next run asks only what is not
there. So a crash loses no more than the requests in flight. The order of asking derives from the texts alone.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests
import xxhash

from pretrain_data.errors import ConfigError, InputError
from pretrain_data.models.training.config import Llm
from pretrain_data.models.training.labels import Example

CHARS_PER_TOKEN = 1.5  # of Chinese text; more for English: an upper bound of the cost before it is known
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT = 60.0  # seconds between two tries
WORST = 20  # requests that may fail in a row before the endpoint counts as down


class _Failed(Exception):
    """This document got no usable answer."""


class _Refused(Exception):
    """The endpoint will answer nothing: a wrong key, an unknown model."""


@dataclass
class _Spent:
    answered: int = 0
    cached: int = 0
    failed: int = 0
    unclear: int = 0  # answers that named no label
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0  # of all answers on file, this run's and earlier ones'
    stopped: str = "all asked"


def label(
    config: Llm, examples: list[Example], cache: Path, say: Callable[[str, float], None]
) -> tuple[list[Example], dict[str, Any]]:
    """Examples with labels; of those that had none, the ones that the model has answered for.

    Also what it cost. Raises ConfigError for a bad prompt or key, InputError where the endpoint can't be used.
    """
    try:
        prompt = config.prompt.read_text()
    except OSError as error:
        raise ConfigError(f"llm.prompt: {config.prompt}: {error.strerror}") from None
    if "{text}" not in prompt:
        raise ConfigError(f"llm.prompt: {config.prompt} has no {{text}} where the document goes")
    headers = {}
    if config.key_env is not None:
        if not os.environ.get(config.key_env):
            raise ConfigError(f"llm.key_env: the environment variable {config.key_env} is not set")
        headers["Authorization"] = f"Bearer {os.environ[config.key_env]}"
    kind = xxhash.xxh3_64_hexdigest(f"{config.model}\0{prompt}\0{config.chars}\0{config.max_tokens}".encode())
    spent = _Spent()
    answers = _read_cache(cache, kind, spent, config)
    open_ = sorted((e for e in examples if e.label is None), key=lambda e: e.key)[: config.documents]
    todo = [e for e in open_ if f"{e.key:016x}" not in answers]
    spent.cached = len(open_) - len(todo)
    if todo:
        cache.parent.mkdir(parents=True, exist_ok=True)
        _mend(cache)
        with cache.open("a") as file:
            _ask_all(config, prompt, headers, kind, todo, answers, file, spent, say)
    pattern = re.compile(config.answer)
    out = [e for e in examples if e.label is not None]
    for example in open_:
        content = answers.get(f"{example.key:016x}")
        if content is None:
            continue
        named = _label_of(content, pattern, config.labels)
        if named is None:
            spent.unclear += 1
        else:
            out.append(replace(example, label=named))
    if not out:
        raise InputError(
            f"llm: no usable answer from {config.url} ({spent.failed} failed, {spent.unclear} named no label)"
        )
    return sorted(out, key=lambda e: e.key), {"model": config.model, **vars(spent)}


def _label_of(content: str, pattern: re.Pattern[str], names: dict[str, str]) -> str | None:
    found = [m.group(1) for m in pattern.finditer(content.strip())]
    if not found:
        return None
    folded = {key.casefold(): value for key, value in names.items()}
    return folded.get(str(found[-1]).casefold())


def _read_cache(cache: Path, kind: str, spent: _Spent, config: Llm) -> dict[str, str]:
    """Answers on file to the same question by the same model. A torn last line, of a crash, is passed over."""
    answers: dict[str, str] = {}
    if cache.is_file():
        for line in cache.read_text(errors="replace").splitlines():
            try:
                row = json.loads(line)
                if row["kind"] == kind:
                    answers[row["key"]] = row["content"]
                spent.cost += row["cost"]
            except (ValueError, KeyError, TypeError):
                continue
    return answers


def _mend(cache: Path) -> None:
    """End a torn last line, so that what is appended begins one of its own."""
    if cache.is_file() and cache.stat().st_size:
        with cache.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")


def _ask_all(
    config: Llm,
    prompt: str,
    headers: dict[str, str],
    kind: str,
    todo: list[Example],
    answers: dict[str, str],
    file: Any,
    spent: _Spent,
    say: Callable[[str, float], None],
) -> None:
    """Ask with config.parallel requests in flight until all is asked, the budget spent, or the endpoint down."""
    local = threading.local()
    expected = (
        (len(prompt) + config.chars) / CHARS_PER_TOKEN * config.cost_per_million_in
        + config.max_tokens * config.cost_per_million_out
    ) / 1e6
    queue = iter(todo)
    running: dict[Future[dict[str, Any]], Example] = {}
    failed_in_a_row = 0
    ended = False
    with ThreadPoolExecutor(config.parallel) as pool:
        while True:
            while not ended and len(running) < config.parallel:
                if config.budget is not None and spent.cost + (len(running) + 1) * expected > config.budget:
                    spent.stopped, ended = "budget", True
                    break
                example = next(queue, None)
                if example is None:
                    ended = True
                    break
                running[pool.submit(_ask, config, prompt, headers, example, local)] = example
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                example = running.pop(future)
                try:
                    answer = future.result()
                except _Failed:
                    spent.failed += 1
                    failed_in_a_row += 1
                    if failed_in_a_row >= WORST:
                        spent.stopped, ended = "endpoint down", True
                    continue
                except _Refused as error:
                    for other in running:
                        other.cancel()
                    raise InputError(f"llm: {config.url}: {error}") from None
                failed_in_a_row = 0
                price = answer["in"] * config.cost_per_million_in + answer["out"] * config.cost_per_million_out
                row = {"kind": kind, "key": f"{example.key:016x}", "content": answer["content"], "cost": price / 1e6}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
                answers[row["key"]] = answer["content"]
                spent.answered += 1
                spent.tokens_in += answer["in"]
                spent.tokens_out += answer["out"]
                spent.cost += row["cost"]
                share = (spent.answered + spent.failed) / len(todo)
                say(f"asking {config.model}: {spent.answered:,} answers, cost {spent.cost:.2f}", share)


def _ask(config: Llm, prompt: str, headers: dict[str, str], example: Example, local: Any) -> dict[str, Any]:
    """One answer: content and the tokens that it cost. Raises _Failed after the last try, _Refused at once."""
    if not hasattr(local, "session"):
        local.session = requests.Session()
    body: dict[str, Any] = {
        "model": config.model,
        "messages": [{"role": "user", "content": prompt.replace("{text}", example.text[: config.chars])}],
        "temperature": 0,
        "max_tokens": config.max_tokens,
    }
    pause = config.backoff
    for attempt in range(config.retries + 1):
        if attempt:
            time.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 2, LONGEST_WAIT)
        try:
            reply = local.session.post(
                config.url.rstrip("/") + "/chat/completions", json=body, headers=headers, timeout=config.timeout
            )
        except requests.RequestException:
            continue
        if reply.status_code in RETRIED:
            asked = reply.headers.get("Retry-After", "")
            if asked.isdigit():
                pause = min(float(asked), LONGEST_WAIT)
            continue
        if reply.status_code in (401, 403, 404):
            raise _Refused(f"HTTP {reply.status_code}: {reply.text[:200]}")
        if reply.status_code >= 400:  # this document is not to its taste: too long, or blocked
            raise _Failed(f"HTTP {reply.status_code}")
        try:
            found = reply.json()
            content = found["choices"][0]["message"]["content"]
            usage = found.get("usage") or {}
            if isinstance(content, str):
                return {
                    "content": content,
                    "in": int(usage.get("prompt_tokens") or len(body["messages"][0]["content"]) / CHARS_PER_TOKEN),
                    "out": int(usage.get("completion_tokens") or len(content) / CHARS_PER_TOKEN),
                }
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            pass
    raise _Failed("no usable answer")
