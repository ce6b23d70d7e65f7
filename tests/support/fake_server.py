"""A server on loopback; a test defines its responses."""

from __future__ import annotations

import contextlib
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.support.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client died while it sent the request
            self.close_connection = True
            return
        answered = self.server.fake.decide(
            self.command, parts.path, query, dict(self.headers.items()), body
        )
        if answered is None:
            self.close_connection = True
            return
        with contextlib.suppress(ConnectionError):
            self._send(*answered)

    def _send(self, status: int, headers: Mapping[str, str], content: Any) -> None:
        if not isinstance(content, bytes):  # even the headers never end
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 %d Slow\r\nX-Slow: " % status)
            for piece in content:
                self.wfile.write(piece)
            return
        self.send_response_only(status)
        for key, value in {"Date": self.date_time_string(), **headers}.items():
            self.send_header(key, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 204:
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - its names

    def log_message(self, *_: object) -> None:
        pass


class FakeServer:
    """An HTTP server on a free port that records requests; a function defines its responses.

    Parameters
    ----------
    answer : callable
        ``answer(method, path, query, headers, body)`` returns status, headers and body (an iterator
        for an endless body), or None to close the connection without a response.
    """

    def __init__(self, answer: Callable[..., Any]) -> None:
        self.requests: list[tuple[Any, ...]] = []
        self._answer = answer
        # the port may get late requests from an earlier test
        self.port = free_port()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _Handler)
        self._server.fake = self
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.port}"

    def decide(self, *asked: Any) -> Any:
        """Record a request and return the response."""
        self.requests.append(asked)
        return self._answer(*asked)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
