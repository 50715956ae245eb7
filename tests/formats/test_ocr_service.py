"""The OCR service misbehaves in every way it can; each document gets its text or its error."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pretrain_data.formats.ocr_service import OcrError, OcrService


class Service(ThreadingHTTPServer):
    daemon_threads = True
    calls = 0
    busy = 0
    most = 0
    lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, kind: str = "application/json", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Service)
        got = self.rfile.read(int(self.headers["Content-Length"]))
        server.calls += 1
        good = json.dumps({"pages": ["第一页", f"{len(got)} bytes"]}).encode()
        try:
            match self.path:
                case "/good":
                    self.answer(good)
                case "/text":
                    self.answer(b'{"text": "whole"}', kind="application/json; charset=utf-8")
                case "/second":
                    self.answer(good if server.calls > 1 else b"", 200 if server.calls > 1 else 503)
                case "/500":
                    self.answer(b"no", 500)
                case "/404":
                    self.answer(b"no", 404)
                case "/slow":
                    time.sleep(1)
                    self.answer(good)
                case "/drip":
                    self.send_response(200)
                    self.send_header("Content-Length", "100")
                    self.end_headers()
                    for _ in range(20):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                        time.sleep(0.05)
                case "/cut":
                    self.answer(good[:5], length=len(good))
                case "/html":
                    self.answer(b"<p>", kind="text/html")
                case "/broken":
                    self.answer(b'{"text": ')
                case "/other":
                    self.answer(b"[1]")
                case "/busy":
                    # Over before the answer goes out: what the caller does once it has it doesn't count.
                    with server.lock:
                        server.busy += 1
                        server.most = max(server.most, server.busy)
                    time.sleep(0.05)
                    with server.lock:
                        server.busy -= 1
                    self.answer(good)
        except OSError:
            pass  # the caller has gone


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def at(server: Service, path: str, **settings: float) -> OcrService:
    return OcrService(f"http://127.0.0.1:{server.server_port}{path}", **{"timeout": 10, **settings})  # type: ignore[arg-type]


def test_good_answers(service: Service) -> None:
    assert at(service, "/good").read(b"%PDF-") == "第一页\n\n5 bytes"
    assert at(service, "/text").read(b"%PDF-") == "whole"


def test_a_second_try_helps_and_waits_longer_each_time(service: Service) -> None:
    waits: list[float] = []
    assert at(service, "/second").read(b"%PDF-", waits.append).startswith("第一页")
    assert waits == [1.0]
    waits = []
    with pytest.raises(OcrError, match="after 4 tries: status 500"):
        at(service, "/500", backoff=0.5, max_wait=1.5).read(b"", waits.append)
    assert waits == [0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    ("path", "calls", "message"),
    [
        ("/404", 1, "status 404"),
        ("/slow", 2, "timed out"),
        ("/drip", 2, "timed out"),
        ("/cut", 2, "cut off|IncompleteRead"),
        ("/html", 1, "not application/json"),
        ("/broken", 2, "broken JSON"),
        ("/other", 1, "neither text nor pages"),
    ],
)
def test_misbehaviour_is_an_error_of_the_document(service: Service, path: str, calls: int, message: str) -> None:
    patience = 0.3 if "timed" in message else 10
    with pytest.raises(OcrError, match=message):
        at(service, path, retries=1, timeout=patience).read(b"%PDF-", lambda _: None)
    assert service.calls == calls


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(OcrError, match="after 1 tries"):
        OcrService(f"http://127.0.0.1:{port}/", timeout=0.3, retries=0).read(b"")


def test_concurrency_is_bounded(service: Service) -> None:
    asked = at(service, "/busy", concurrency=2)
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(asked.read, [b"%PDF-"] * 8))) == 8
    assert service.most == 2
