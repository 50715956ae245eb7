"""One question to `POST URL/chat/completions`, tried again where that may help.

The protocol is OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat), which vLLM, SGLang,
llama.cpp and most gateways speak. Which statuses are worth another try, and that a 429 may mean that the
money has run out, follows OpenAI's guide to error codes.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pretrain_data.errors import PretrainDataError
from pretrain_data.hashing import digest

MAX_ANSWER = 16 << 20  # bytes
#: Worth another try: time-out, conflict, too early, rate limit, and what servers and gateways do when overloaded.
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
#: No question will be answered: the key, the account or the address is wrong.
REFUSED = frozenset({401, 402, 403, 404, 405})
#: Codes of a 429 that no waiting mends.
SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "credit_balance_exhausted"})


class EndpointRefused(PretrainDataError):
    """The endpoint refuses us altogether: a wrong key, a wrong address, or no money left."""


class NoAnswer(Exception):
    """This question got no usable answer; says why. Never ends a run."""


class EndpointConfig(BaseModel):
    """Where the model is and how it is asked. Everything but the address and the patience decides the answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="Base address, e.g. http://localhost:8000/v1; /chat/completions is added.")
    model: str = Field(min_length=1, description="Name of the model, as the endpoint knows it.")
    key_env: str | None = Field(
        default="OPENAI_API_KEY",
        description="Environment variable that holds the key; sent as a bearer token if set. The key is never written.",
    )
    temperature: float = Field(default=0.0, ge=0, le=2, description="Sampling temperature.")
    top_p: float | None = Field(default=None, gt=0, le=1, description="Nucleus sampling; default: the endpoint's.")
    max_tokens: int = Field(default=2048, ge=1, description="Tokens of an answer at most.")
    seed: int | None = Field(default=1, description="Sampling seed, for endpoints that honour one; null: none is sent.")
    extra: dict[str, Any] = Field(default_factory=dict, description="Further fields of the request, as they are.")
    timeout_seconds: float = Field(default=300.0, gt=0, description="Time for a question as a whole.")
    retries: int = Field(default=6, ge=0, le=50, description="Further tries of a question.")
    backoff_seconds: float = Field(default=1.0, ge=0, description="Wait before the second try; doubles each time.")
    max_wait_seconds: float = Field(default=60.0, ge=0, description="Longest wait, whatever Retry-After says.")

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http address such as http://localhost:8000/v1")
        if parts.username or parts.password:
            raise ValueError("no credentials in the address: name an environment variable in key_env")
        return url.rstrip("/")

    def request(self, messages: Sequence[dict[str, str]]) -> dict[str, Any]:
        """The body of the request."""
        body: dict[str, Any] = {"model": self.model, "messages": list(messages), "temperature": self.temperature}
        body["max_tokens"] = self.max_tokens
        for name in ("top_p", "seed"):
            if getattr(self, name) is not None:
                body[name] = getattr(self, name)
        return {**body, **self.extra}

    def key(self, messages: Sequence[dict[str, str]]) -> str:
        """Names a question by all that decides its answer; the address and our patience don't."""
        return digest(self.request(messages))


@dataclass(frozen=True)
class Answer:
    """What the model said, and what it cost in tokens as the endpoint counts them (0 where it doesn't say)."""

    text: str
    finish_reason: str  # "stop", "length", "content_filter", …
    model: str  # as the endpoint names it
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def record(self) -> dict[str, Any]:
        return asdict(self)


class Endpoint:
    """A connection pool to one endpoint; safe to use from many threads.

    Where the endpoint asks for patience (Retry-After), all threads wait, not only the one that was told.
    """

    def __init__(
        self, config: EndpointConfig, connections: int = 16, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.config, self._sleep = config, sleep
        self.pool = urllib3.PoolManager(num_pools=1, maxsize=connections, retries=False, block=False)
        key = os.environ.get(config.key_env, "") if config.key_env else ""
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._lock = threading.Lock()
        self._not_before = 0.0
        #: Requests sent so far, tries included.
        self.requests = 0

    def key(self, messages: Sequence[dict[str, str]]) -> str:
        """See EndpointConfig.key."""
        return self.config.key(messages)

    def ask(self, messages: Sequence[dict[str, str]], allowed: Callable[[], None] = lambda: None) -> Answer:
        """Ask, with further tries. `allowed` is called before each request and may raise to stop.

        Raises:
            NoAnswer: no usable answer after all tries, or one that no further try would mend.
            EndpointRefused: no question will get an answer here.
        """
        body = json.dumps(self.config.request(messages), ensure_ascii=False).encode()
        trouble = ""
        for attempt in range(self.config.retries + 1):
            self._be_patient()
            allowed()
            with self._lock:
                self.requests += 1
            try:
                return self._once(body)
            except _Again as again:
                trouble = str(again)
                wait = min(self.config.max_wait_seconds, max(again.wait, self.config.backoff_seconds * 2**attempt))
                if again.wait:
                    with self._lock:
                        self._not_before = max(self._not_before, time.monotonic() + wait)
                elif attempt < self.config.retries:
                    self._sleep(wait)
        raise NoAnswer(f"after {self.config.retries + 1} tries: {trouble}")

    def _be_patient(self) -> None:
        with self._lock:
            wait = self._not_before - time.monotonic()
        if wait > 0:
            self._sleep(wait)

    def _once(self, body: bytes) -> Answer:
        deadline = time.monotonic() + self.config.timeout_seconds
        try:
            response = self.pool.request(
                "POST",
                f"{self.config.url}/chat/completions",
                body=body,
                headers=self._headers,
                timeout=urllib3.Timeout(total=self.config.timeout_seconds),
                preload_content=False,
                redirect=False,
            )
        except urllib3.exceptions.LocationValueError as error:
            raise EndpointRefused(f"{self.config.url}: {error}") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _Again(f"{type(error).__name__}: {error}") from None
        try:
            content = _within(response, deadline)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            response.close()
            raise _Again(f"{type(error).__name__}: {error}") from None
        except BaseException:
            response.close()
            raise
        response.release_conn()
        if response.status != 200:
            self._failed(response.status, response.headers.get("Retry-After", ""), content)
        return _answer(content)

    def _failed(self, status: int, retry_after: str, content: bytes) -> None:
        """Raise what a status other than 200 means."""
        code, message = _fault(content)
        what = f"status {status}" + (f": {message}" if message else "")
        if status in REFUSED or (status == 429 and code in SPENT):
            raise EndpointRefused(f"{self.config.url}: {what}; see to the address, the model's name and the key")
        if status in AGAIN:
            raise _Again(what, float(retry_after) if retry_after.strip().isdigit() else 0.0)
        raise NoAnswer(what)


class _Again(Exception):
    """Worth another try, after `wait` seconds at least (0: the endpoint didn't say)."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def _within(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """The body, if it comes whole before the deadline: a socket's own time-out only bounds each read."""
    parts: list[bytes] = []
    size = 0
    while part := response.read1(1 << 16):
        if time.monotonic() > deadline:
            raise _Again("timed out while the answer came")
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER:
            raise NoAnswer(f"an answer of more than {MAX_ANSWER} bytes")
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and "Content-Encoding" not in response.headers and size < int(length):
        raise _Again("the answer was cut off")
    return b"".join(parts)


def _fault(content: bytes) -> tuple[str, str]:
    """(code, message) of an error in the protocol's form; the message is the server's, cut short."""
    try:
        error = json.loads(content)["error"]
        return str(error.get("code") or error.get("type") or ""), str(error.get("message") or "")[:200]
    except (ValueError, TypeError, KeyError, AttributeError):
        return "", ""


def _answer(content: bytes) -> Answer:
    """The first choice of a completion. Broken JSON is worth another try, a refusal to answer isn't."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise _Again(f"broken JSON: {error}") from None
    try:
        choice = value["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason") or ""
        model = str(value.get("model") or "")
    except (TypeError, KeyError, IndexError, AttributeError):
        raise _Again(f"an answer that isn't a chat completion: {content[:80]!r}") from None
    if not isinstance(text, str):
        raise NoAnswer(f"a completion without text (finish_reason {str(finish) or 'none'})")
    used = value.get("usage")
    used = used if isinstance(used, dict) else {}
    return Answer(text, str(finish), model, _count(used.get("prompt_tokens")), _count(used.get("completion_tokens")))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
