"""Serves the explorer on the loopback interface: a page, its scripts, and answers as JSON. Nothing is written.

Who may ask: the address holds a secret that is drawn at each start, and a request must name this host (a page from
elsewhere can neither guess the one nor fake the other). Only GET is known.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import jinja2
from markupsafe import Markup

from pretrain_data.errors import PretrainDataError
from pretrain_data.explorer.queries import Workspace
from pretrain_data.explorer.trial import trial
from pretrain_data.report.page import embedded, finite, words

LOOPBACK = "127.0.0.1"
MOST_QUERY = 8_000  # characters of a request's query
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REPORT = Path(__file__).parents[1] / "report" / "assets"
_OWN = Path(__file__).parent / "assets"
_FILES = {
    "dom.js": (_REPORT / "dom.js", "text/javascript"),
    "report.css": (_REPORT / "report.css", "text/css"),
    "explorer.js": (_OWN / "explorer.js", "text/javascript"),
}


def serve(root: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server over the workspace, not yet started; `url` of it says where. Port 0 takes a free one.

    Raises InputError where no stage has run in `root`.
    """
    workspace = Workspace(root)
    secret = secrets.token_urlsafe(16)
    answers: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
        "search": workspace.search,
        "document": lambda asked: workspace.document(asked.get("id", "")),
        "cluster": lambda asked: workspace.cluster(asked.get("id", "")),
        "try": lambda asked: trial(root / "rules", asked.get("rule", "")),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = f"{LOOPBACK}:{server.server_port}"
            path = urlsplit(self.path)
            parts = path.path.split("/")
            named = self.headers.get("Host") in (host, host.replace(LOOPBACK, "localhost"))
            if not named or len(parts) != 3 or not secrets.compare_digest(parts[1].encode(), secret.encode()):
                return self._send(404, b"", "text/plain")
            name = parts[2]
            if name == "":
                return self._send(200, _page(workspace).encode(), "text/html")
            if name in _FILES:
                file, kind = _FILES[name]
                return self._send(200, file.read_bytes(), kind)
            if name not in answers or len(path.query) > MOST_QUERY:
                return self._send(404, b"", "text/plain")
            asked = {key: values[0] for key, values in parse_qs(path.query).items()}
            try:
                found, status = answers[name](asked), 200
            except (PretrainDataError, duckdb.Error, OSError) as error:  # a run may be changing the workspace
                found, status = {"error": str(error)}, 200
            text = json.dumps(finite(found), ensure_ascii=False, default=str)
            return self._send(status, text.encode("utf-8", "replace"), "application/json")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests hold what somebody looks for: not logged."""

    server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    server.url = f"http://{LOOPBACK}:{server.server_port}/{secret}/"  # type: ignore[attr-defined]
    return server


def _page(workspace: Workspace) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pretrain_data.explorer", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    data = workspace.overview() | {"words": words()}
    return environment.get_template("explorer.html").render(title=data["workspace"], data=Markup(embedded(data)))
