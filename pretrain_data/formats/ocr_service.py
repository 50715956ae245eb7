"""Text of scanned PDFs from an HTTP service, which may be slow, broken or gone.

One request a document: POST of the PDF bytes as `application/pdf`; the answer is JSON, `{"text": "…"}` or
`{"pages": ["…", …]}`. Trouble is an error of that document, never of the run.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_ANSWER = 64 << 20  # bytes
_SLOTS: dict[tuple[str, int], threading.BoundedSemaphore] = {}
_LOCK = threading.Lock()


class OcrError(Exception):
    """The service gave no text for this document; says why."""


@dataclass(frozen=True)
class OcrService:
    """Where the service is and how patient we are.

    `timeout` bounds each request as a whole, in seconds. A refused connection, a time-out, a cut-off or
    broken answer and the statuses 408, 429 and 5xx are tried again, `retries` times, after `backoff`
    seconds that double each time (or what Retry-After says, at most `max_wait`). Other statuses are final.
    `concurrency` bounds the requests of one process.
    """

    url: str
    timeout: float = 60.0
    retries: int = 3
    backoff: float = 1.0
    max_wait: float = 60.0
    concurrency: int = 4

    def read(self, pdf: bytes, sleep: Callable[[float], None] = time.sleep) -> str:
        """Text of a PDF, pages parted by blank lines. Raises OcrError."""
        trouble = ""
        for attempt in range(self.retries + 1):
            try:
                with _slots(self.url, self.concurrency):
                    return self._ask(pdf)
            except _Again as again:
                trouble = str(again)
                if attempt < self.retries:
                    sleep(min(self.max_wait, max(again.wait, self.backoff * 2**attempt)))
        raise OcrError(f"after {self.retries + 1} tries: {trouble}")

    def _ask(self, pdf: bytes) -> str:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self.timeout)
        target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        deadline = time.monotonic() + self.timeout
        try:
            connection.request("POST", target, pdf, {"Content-Type": "application/pdf", "Accept": "application/json"})
            answer = connection.getresponse()
            body = _within(answer, deadline)
        except (OSError, http.client.HTTPException) as error:
            raise _Again(f"{type(error).__name__}: {error}") from None
        finally:
            connection.close()
        if answer.status in (408, 429) or answer.status >= 500:
            wait = answer.getheader("Retry-After", "")
            raise _Again(f"status {answer.status}", float(wait) if wait.isdigit() else 0.0)
        if answer.status != 200:
            raise OcrError(f"status {answer.status}")
        return _text(body, answer.getheader("Content-Type", ""))


class _Again(Exception):
    """Worth another try, after `wait` seconds at least."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def _within(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body, if it comes whole before the deadline: a socket's own time-out only bounds each read."""
    parts: list[bytes] = []
    size = 0
    while True:
        if time.monotonic() > deadline:
            raise _Again("timed out while the answer came")
        part = answer.read1(1 << 16)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER:
            raise OcrError(f"an answer of more than {MAX_ANSWER} bytes")
    if answer.length:
        raise _Again("the answer was cut off")
    return b"".join(parts)


def _text(body: bytes, kind: str) -> str:
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise OcrError(f"an answer of type {kind[:60] or 'unknown'}, not application/json")
    try:
        value = json.loads(body)
    except ValueError as error:
        raise _Again(f"broken JSON: {error}") from None
    if isinstance(value, dict):
        text, pages = value.get("text"), value.get("pages")
        if isinstance(text, str):
            return text
        if isinstance(pages, list) and all(isinstance(page, str) for page in pages):
            return "\n\n".join(pages)
    raise OcrError("an answer with neither text nor pages")


def _slots(url: str, concurrency: int) -> threading.BoundedSemaphore:
    with _LOCK:
        return _SLOTS.setdefault((url, concurrency), threading.BoundedSemaphore(concurrency))
