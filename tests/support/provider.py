"""A push provider on loopback that follows a script of answers."""

from __future__ import annotations

import threading
from urllib.parse import urlencode

from alerts.notify.notice import Notice, NoticeReason
from detection.events import ChannelEvidence, Evidence
from tests.support.fake_server import FakeServer

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
        self.answers, self.requests = [], []
        self._server = FakeServer(self._answer).__enter__()
        self.port = self._server.port

    def _answer(self, _method, path, query, headers, body):
        self.requests.append((f"{path}?{urlencode(query)}" if query else path, headers, body))
        status, text, more, go_on = self.answers.pop(0) if self.answers else OK
        go_on.wait(60)
        return None if status is None else (status, dict(more), text)

    def close(self):
        self._server.__exit__()


AT_ONCE = threading.Event()
AT_ONCE.set()
OK = (200, b"{}", (), AT_ONCE)


def answer(status, text=b"{}", headers=(), go_on=AT_ONCE):
    """Return a response that is sent once `go_on` is set; without a status, the connection
    closes."""
    return (status, text, headers, go_on)
