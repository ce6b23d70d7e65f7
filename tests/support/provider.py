"""A push provider on loopback that follows a script of answers."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from alerts.notify.notice import Notice, NoticeReason
from detection.events import ChannelEvidence, Evidence
from tests.support.broker import free_port

RISING = Notice(
    incident="20260907-001",
    reason=NoticeReason.OPENED,
    kind="vape",
    room="Boys N2",
    floor="2",
    building="North",
    since=1_788_789_900.0,
    evidence=Evidence({}, {"pm25": ChannelEvidence(4.0, 176.0, 6.0, None)}),
    zone="America/New_York",
    link="https://plumewatch.example/incidents/20260907-001",
)


class Provider:
    """A push provider on loopback that follows a script of answers."""

    def __init__(self):
        self.answers = []
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.requests.append((self.path, dict(self.headers), body))
                status, text, headers, go_on = outer.answers.pop(0) if outer.answers else OK
                go_on.wait(60)
                if status is None:
                    self.close_connection = True
                    return
                try:
                    self.send_response(status)
                    for name, value in headers:
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_GET = do_POST  # noqa: N815 - the server's own name

            def log_message(self, *arguments):
                pass

        # the port of a test before may get a request that this sent late
        self.server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def port(self):
        return self.server.server_address[1]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(60)


AT_ONCE = threading.Event()
AT_ONCE.set()
OK = (200, b"{}", (), AT_ONCE)


def answer(status, text=b"{}", headers=(), go_on=AT_ONCE):
    """Return an answer that is sent once `go_on` is set; without a status, the connection ends."""
    return (status, text, headers, go_on)
