"""A local server that speaks chat completions, and misbehaves on demand."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What the server may do with a request; `good` answers it.
TRICKS = ("good", "500", "429", "slow", "cut", "cut_chunked", "malformed", "html", "not_a_completion", "drop")


class FakeLlm(ThreadingHTTPServer):
    """`reply(question)` gives the text of an answer, `trick(question, nth)` what happens to its nth request, from 0.

    `asked` and `paid` count requests and whole answers by question (the last message's content); `most` is the
    largest number of requests that were under way at once.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, reply: Callable[[str], str], trick: Callable[[str, int], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply, self.trick = reply, trick
        self.asked: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.busy = self.most = 0
        self.delay = 0.0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_: Any) -> None:
        pass  # clients that were killed


@contextmanager
def fake_llm(
    reply: Callable[[str], str] = lambda question: f"answer to {question}",
    trick: Callable[[str, int], str] = lambda question, nth: "good",
) -> Iterator[FakeLlm]:
    server = FakeLlm(reply, trick)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeLlm

    def log_message(self, *args: object) -> None:
        pass

    def send(self, body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", headers.pop("length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"]
        with server.lock:
            nth = server.asked[question]
            server.asked[question] += 1
            server.bodies.append(body)
            server.keys.add(self.headers.get("Authorization"))
            server.busy += 1
            server.most = max(server.most, server.busy)
        try:
            time.sleep(server.delay)
            trick = server.trick(question, nth)
        finally:
            with server.lock:
                server.busy -= 1
        text = server.reply(question)
        usage = {"prompt_tokens": len(question), "completion_tokens": len(text)}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        good = json.dumps({"model": f"{body['model']}-0101", "choices": [choice], "usage": usage}).encode()
        match trick:
            case "good":
                self.send(good)
                with server.lock:
                    server.paid[question] += 1
            case "429":
                self.send(b'{"error": {"message": "slow down", "code": "rate_limit"}}', 429, Retry_After="2")
            case "quota":
                self.send(b'{"error": {"message": "no money", "code": "insufficient_quota"}}', 429)
            case "slow":
                self.send_response(200)
                self.send_header("Content-Length", str(len(good)))
                self.end_headers()
                for i in range(len(good)):
                    self.wfile.write(good[i : i + 1])
                    self.wfile.flush()
                    time.sleep(0.02)
            case "cut":
                self.close_connection = True
                self.send(good[:-20], length=str(len(good)))
            case "cut_chunked":
                self.close_connection = True
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n" % len(good) + good[:-20])
            case "malformed":
                self.send(good[:-20])
            case "html":
                self.send(b"<p>", kind="text/html")
            case "not_a_completion":
                self.send(b'{"choices": []}')
            case "no_text":
                self.send(json.dumps({"choices": [{"message": {"content": None}, "finish_reason": "length"}]}).encode())
            case "drop":
                self.close_connection = True
            case status:
                self.send(b'{"error": {"message": "as asked for"}}', int(status))
