"""Sensors that are asked for their values over HTTP: those that push only alarms, or nothing.

Each is asked every `every_s` seconds by its own task, whose answers go the way of HTTP ingest: the
decoder of the sensor, its checks, the group commit. An answer is for the registered sensor alone,
whatever it names. A request has a deadline, no redirects, and a bounded answer. A device that
cannot be reached is logged once, counted, named in `HttpPolls.failing`, and offline when its
readings stay away, as any sensor.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import logging
import ssl
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from ingest.http_sources import HttpSource
from storage.bounded_call import BoundedCallError, BoundedThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from ingest.http import HttpIngest
    from ingest.http_sources import HiddenText

log = logging.getLogger(__name__)

_DEADLINE_S: Final = 5.0
_LARGEST: Final = 65_536


class PollError(Exception):
    """A device gave no answer that can be used."""


@dataclass(frozen=True, slots=True)
class PolledSensor:
    """A registered sensor and how it is asked; without `user`, `secret` is the whole `header`."""

    sensor: str
    decoder: str
    url: str
    topic: str = "+"
    every_s: float = 5.0
    user: str = ""
    header: str = "Authorization"
    secret: HiddenText | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers of a request."""
        if self.secret is None:
            return {}
        if not self.user:
            return {self.header: self.secret.reveal()}
        pair = f"{self.user}:{self.secret.reveal()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def get(polled: PolledSensor) -> bytes:
    """Return a device's answer; raise `PollError`, without the address, which may be secret."""
    timeout = _DEADLINE_S
    connection: http.client.HTTPConnection
    try:
        parts = urlsplit(polled.url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=polled.ca_file)
            context.check_hostname = polled.ca_file is None  # it is the device's own certificate
            connection = http.client.HTTPSConnection(
                host, parts.port, timeout=timeout, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("GET", path, headers={"Accept": "*/*", **polled.headers()})
            answer = connection.getresponse()
            body = answer.read(_LARGEST + 1)
        finally:
            connection.close()
    except ValueError as error:  # its message may quote the address or the secret
        raise PollError("the address or the secret has characters that cannot be sent") from error
    except (OSError, http.client.HTTPException) as error:
        raise PollError(f"no answer ({type(error).__name__})") from error
    if answer.status != http.client.OK:
        raise PollError(f"HTTP status {answer.status}")
    if len(body) > _LARGEST:
        raise PollError(f"an answer of more than {_LARGEST} bytes")
    return body


class PollFailure(NamedTuple):
    """Why a device gives no answer that can be used, and since when, Unix seconds."""

    reason: str
    since: float


class HttpPolls:
    """Ask sensors until cancelled; `fetch`, `sleep` and `clock` are replaced in tests.

    `requests`: requests by what became of them, ``answered`` or ``failed``.
    `failing`: sensors whose last request failed.
    """

    def __init__(
        self,
        sensors: Sequence[PolledSensor],
        ingest: HttpIngest,
        fetch: Callable[[PolledSensor], bytes] = get,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sensors = tuple(sensors)
        self.requests = Counter(answered=0, failed=0)
        self.failing: dict[str, PollFailure] = {}
        self._ingest, self._fetch, self._sleep, self._clock = ingest, fetch, sleep, clock

    async def run(self) -> None:
        """Ask every sensor at its interval, their first requests spread over it."""
        async with asyncio.TaskGroup() as group:
            for i, polled in enumerate(self.sensors):
                first_s = polled.every_s * i / len(self.sensors)
                group.create_task(self._ask(polled, first_s), name=f"poll {polled.sensor}")

    async def _ask(self, polled: PolledSensor, first_s: float) -> None:
        own = frozenset((polled.sensor,))
        source = HttpSource("poll", polled.decoder, own, topic=polled.topic)
        threads = BoundedThreads(f"poll-{polled.sensor}", 1)
        clock, name = asyncio.get_running_loop().time, polled.sensor
        due = clock() + first_s
        while True:
            await self._sleep(max(0.0, due - clock()))
            due = max(due + polled.every_s, clock())
            try:
                body = await threads.run(lambda: self._fetch(polled), _DEADLINE_S)
            except (PollError, BoundedCallError) as error:
                self.requests["failed"] += 1
                before = self.failing.get(name)
                if before is None:
                    log.warning("%s cannot be asked: %s", name, error)
                self.failing[name] = PollFailure(
                    str(error), before.since if before else self._clock()
                )
                continue
            self.requests["answered"] += 1
            if self.failing.pop(name, None):
                log.info("%s answers again", name)
            self._ingest.enter_polled(source, name, body)
