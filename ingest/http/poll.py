"""Poll sensors over HTTP if they send only alarms, or nothing, on their own.

A task for each sensor requests its values every `every_s` seconds. Answers are processed like
messages to HTTP ingest: decoder, checks, group commit. An answer is accepted only for the
registered sensor. If a device cannot be reached, that is logged once, and the sensor is listed in
`HttpPolls.failing`. Like any sensor, it counts as offline once its readings stop.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.http.sources import HttpSource
from storage.http_client import Reach, RequestError, request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from ingest.http.server import HttpIngest
    from ingest.http.sources import HiddenText

log = logging.getLogger(__name__)

_DEADLINE_S: Final = 5.0
_LARGEST: Final = 65_536
_REACH: Final = Reach(allow_private=True)


class PollError(Exception):
    """A device did not answer, or its answer cannot be used."""


@dataclass(frozen=True, slots=True)
class PolledSensor:
    """A registered sensor, and how to request its values.

    `secret`: the password of `user` or, if there is no user, the whole value of `header`.
    """

    sensor: str
    decoder: str
    url: str
    topic: str = "+"
    every_s: float = 5.0
    user: str = ""
    header: str = "Authorization"
    secret: HiddenText | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def build_headers(self) -> dict[str, str]:
        """Return the headers of a request."""
        if self.secret is None:
            return {}
        if not self.user:
            return {self.header: self.secret.reveal()}
        pair = f"{self.user}:{self.secret.reveal()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


async def get(polled: PolledSensor) -> bytes:
    """Return a device's answer.

    Raises `PollError`. Its message omits the address, because that may be secret.
    """
    try:
        answer = await request(
            "GET",
            polled.url,
            _REACH,
            headers={"Accept": "*/*", **polled.build_headers()},
            timeout_s=_DEADLINE_S,
            max_bytes=_LARGEST + 1,
            device_ca=polled.ca_file,
        )
    except RequestError as error:
        raise PollError(f"it {error}") from None
    if answer.status != HTTPStatus.OK:
        raise PollError(f"HTTP status {answer.status}")
    if len(answer.body) > _LARGEST:
        raise PollError(f"an answer of more than {_LARGEST} bytes")
    return answer.body


class PollFailure(NamedTuple):
    """Why requests to a device fail, and since when (Unix seconds)."""

    reason: str
    since: float


class HttpPolls:
    """Poll sensors until cancelled; tests replace `fetch` and `sleep`.

    `failing`: sensors whose last request failed.
    """

    def __init__(
        self,
        sensors: Sequence[PolledSensor],
        ingest: HttpIngest,
        fetch: Callable[[PolledSensor], Awaitable[bytes]] = get,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sensors = tuple(sensors)
        self.failing: dict[str, PollFailure] = {}
        self._ingest, self._fetch, self._sleep, self._clock = ingest, fetch, sleep, clock

    async def run(self) -> None:
        """Poll every sensor at its interval; spread the first requests over the interval."""
        async with asyncio.TaskGroup() as group:
            for i, polled in enumerate(self.sensors):
                first_s = polled.every_s * i / len(self.sensors)
                group.create_task(self._ask(polled, first_s), name=f"poll {polled.sensor}")

    async def _ask(self, polled: PolledSensor, first_s: float) -> None:
        own = frozenset((polled.sensor,))
        source = HttpSource("poll", polled.decoder, own, topic=polled.topic)
        clock, name = asyncio.get_running_loop().time, polled.sensor
        due = clock() + first_s
        while True:
            await self._sleep(max(0.0, due - clock()))
            due = max(due + polled.every_s, clock())
            try:
                body = await self._fetch(polled)
            except PollError as error:
                before = self.failing.get(name)
                if before is None:
                    log.warning("%s cannot be polled: %s", name, error)
                self.failing[name] = PollFailure(
                    str(error), before.since if before else self._clock()
                )
                continue
            if self.failing.pop(name, None):
                log.info("%s answers again", name)
            self._ingest.enter_polled(source, name, body)
