"""Many questions at once, within limits: answers come in the order of the questions."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from pretrain_data.llm.cache import AnswerCache
from pretrain_data.llm.endpoint import Answer, Endpoint, EndpointRefused, NoAnswer

#: Characters of text that make a token at the least: what a question may cost before the endpoint has counted.
#: A Chinese character may be a token of its own.
CHARS_PER_TOKEN = 1


class Limits(BaseModel):
    """What a run may spend. Answers in the cache are free, and were counted when they were given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: int = Field(default=16, ge=1, le=1024, description="Questions under way at once.")
    max_requests: int | None = Field(default=None, ge=0, description="Requests of this run, further tries included.")
    max_tokens_total: int | None = Field(
        default=None,
        ge=0,
        description="Tokens, prompts and answers, of all answers in the cache folder: earlier runs count, so that a "
        "run that is started again and again can't spend more.",
    )


@dataclass(frozen=True)
class Prompt:
    """A question: `name` is the caller's, `messages` the protocol's ({"role": …, "content": …})."""

    name: str
    messages: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Failure:
    """No answer. `kind` is "no_answer", or "budget" or "refused", after which nothing was asked any more."""

    kind: str
    detail: str


class _Spent(Exception):
    """The budget doesn't allow another request."""


class Asker:
    """Asks an endpoint through a cache, within limits.

    Every answer is in the cache, synced, before it is handed out. A crash can lose no more than answers that were on
    their way at that moment: `concurrency` of them at most.
    """

    def __init__(self, endpoint: Endpoint, cache: AnswerCache, limits: Limits) -> None:
        self.endpoint, self.cache, self.limits = endpoint, cache, limits
        #: How many questions were answered from the cache, answered anew, and not answered.
        self.cached = self.answered = self.failed = 0
        self._lock = threading.Lock()
        self._requests = 0
        self._reserved = 0  # tokens that questions under way may cost
        self._stop: Failure | None = None
        self._under_way: dict[str, Future[Answer | Failure]] = {}

    def ask(self, prompts: Iterable[Prompt]) -> Iterator[tuple[Prompt, Answer | Failure]]:
        """Yield each question with its answer, in order. Questions are taken as there is room for them."""
        waiting: deque[tuple[Prompt, Future[Answer | Failure]]] = deque()
        pool = ThreadPoolExecutor(self.limits.concurrency, thread_name_prefix="llm")
        try:
            for prompt in prompts:
                waiting.append((prompt, self._submit(pool, prompt)))
                # Twice the concurrency, so that one slow answer at the head doesn't leave the others idle.
                while waiting and (len(waiting) >= 2 * self.limits.concurrency or waiting[0][1].done()):
                    yield self._counted(*waiting.popleft())
            while waiting:
                yield self._counted(*waiting.popleft())
        finally:
            self._stop = self._stop or Failure("stopped", "the run was stopped")
            pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, pool: ThreadPoolExecutor, prompt: Prompt) -> Future[Answer | Failure]:
        """The same question twice is asked once."""
        key = self.endpoint.key(prompt.messages)
        with self._lock:
            future = self._under_way.get(key)
            if future is None:
                future = pool.submit(self._one, key, prompt.messages)
                self._under_way[key] = future
                future.add_done_callback(lambda _: self._under_way.pop(key, None))
        return future

    def _counted(self, prompt: Prompt, future: Future[Answer | Failure]) -> tuple[Prompt, Answer | Failure]:
        result = future.result()
        if isinstance(result, Failure):
            self.failed += 1
        return prompt, result

    def _one(self, key: str, messages: Sequence[dict[str, str]]) -> Answer | Failure:
        known = self.cache.get(key)
        if known is not None:
            with self._lock:
                self.cached += 1
            return known
        most = sum(len(m["content"]) for m in messages) // CHARS_PER_TOKEN + self.endpoint.config.max_tokens
        try:
            self._reserve(most)
        except _Spent as spent:
            return Failure("budget", str(spent))
        try:
            if self._stop is not None:
                return self._stop
            answer = self.endpoint.ask(messages, self._allowed)
            self.cache.put(key, answer)
            with self._lock:
                self.answered += 1
            return answer
        except _Spent as spent:
            return Failure("budget", str(spent))
        except EndpointRefused as refused:
            self._stop = Failure("refused", str(refused))
            return self._stop
        except NoAnswer as none:
            return self._stop or Failure("no_answer", str(none))
        finally:
            with self._lock:
                self._reserved -= most

    def _reserve(self, most: int) -> None:
        """Put aside what a question may cost, so that many at once can't overspend together."""
        limit = self.limits.max_tokens_total
        with self._lock:
            if limit is not None and self.cache.tokens + self._reserved + most > limit:
                raise _Spent(
                    f"max_tokens_total {limit:,}: {self.cache.tokens:,} spent, up to {most:,} for this question"
                )
            self._reserved += most

    def _allowed(self) -> None:
        with self._lock:
            if self._stop is not None:
                raise NoAnswer(self._stop.detail)
            limit = self.limits.max_requests
            if limit is not None and self._requests >= limit:
                raise _Spent(f"max_requests {limit:,} are made")
            self._requests += 1
