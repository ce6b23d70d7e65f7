"""Signals that the service works: to systemd on this machine, to a dead-man's switch outside.

systemd (``Type=notify``, ``WatchdogSec=``) is notified while the pipeline *moves*: a service that
waits for a broker or a full disk needs no restart, one that hangs does. The address outside
(``[watchdog] ping_url_file``, healthchecks.io or your own) is fetched only while every part is
*ready*, so that its silence shows a machine that is off, offline or useless. The address is a
secret, is fetched without following redirects, and may lead into the own network only if
``alerts.allow_private_targets`` is set.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from alerts.notify.guarded_http import RequestError, request
from plumewatch.service.health import describe_failing
from storage.bounded_call import BoundedCallError, BoundedThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alerts.secrets import Secret
    from plumewatch.service.health import Health

log = logging.getLogger(__name__)

_TICK_S: Final = 5.0
_STARTING_S: Final = 30.0
"""How long after the start a part may fail without a log line."""
_PING_TIMEOUT_S: Final = 10.0
_PING_TOTAL_S: Final = 30.0
_PING_THREADS: Final = BoundedThreads("ping", 4)


class PingError(Exception):
    """The ping failed; the message has the reason and no part of the address."""


class Systemd:
    """systemd's notification socket, if there is one: sd_notify(3), sd_watchdog_enabled(3)."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        mine = environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        given = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(given) / 1e6 if mine and given.isdecimal() else 0.0

    def notify(self, *states: str) -> None:
        """Notify systemd, for example ``READY=1``; a failure is logged only."""
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                link.settimeout(1.0)
                link.sendto("\n".join(states).encode(), address)
        except OSError as error:
            log.warning("cannot notify systemd: %s", error)


def ping(url: str, *, allow_private: bool, timeout_s: float = _PING_TIMEOUT_S) -> None:
    """Fetch an address; blocks for at most `timeout_s` a step on the network.

    Raises `PingError` if it is not public and `allow_private` is not set, cannot be reached, or
    answers with anything but 2xx.
    """
    try:
        answer = request("GET", url, allow_private=allow_private, timeout_s=timeout_s)
    except RequestError as error:
        raise PingError(str(error)) from None
    if not 200 <= answer.status < 300:
        raise PingError(f"answers {answer.status}")


@dataclass(slots=True)
class Watchdog:
    """Notifies systemd, and pings `url` every `every_s` seconds.

    `reloading`: whether the service that ends is followed by one with another configuration.
    """

    health: Health
    url: Secret | None = None
    every_s: float = 60.0
    allow_private: bool = False
    systemd: Systemd = field(default_factory=Systemd)
    monotonic: Callable[[], float] = time.monotonic
    reloading: bool = False
    _failing: bool = False
    _started: float = 0.0
    _queue_full: bool = False
    _ready: bool | None = None

    async def run(self) -> None:
        """Check every few seconds, until cancelled."""
        self._started = self.monotonic()
        self.systemd.notify("READY=1", "STATUS=started")
        tick = min(_TICK_S, self.systemd.watchdog_s / 3 or _TICK_S)
        try:
            async with asyncio.TaskGroup() as group:
                if self.url is not None:
                    group.create_task(self._ping_on(self.url), name="ping")
                while True:
                    self.look()
                    await asyncio.sleep(tick)
        finally:
            if self.reloading:
                self.systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            else:
                self.systemd.notify("STOPPING=1")

    def look(self) -> None:
        """Notify systemd, and log every change."""
        failing = [part for part in self.health.parts() if not part.ok]
        starting = self._ready is None and self.monotonic() - self._started < _STARTING_S
        if self._ready is not False and failing and not starting:
            log.warning("not ready: %s", describe_failing(failing))
        elif self._ready is False and not failing:
            log.warning("ready again")
        full = self.health.queue_near_limit()
        if full and not self._queue_full:
            log.warning(
                "the queue of the broker is nearly full; when it is full, new messages are dropped"
            )
        self._queue_full = full
        names = ", ".join(p.name for p in failing)
        status = f"not ready: {names}" if failing else "ready"
        states = [f"STATUS={status}"] if self._ready is not (not failing) else []
        if not (failing and starting):
            self._ready = not failing
        if self.systemd.watchdog_s and self.health.moves():
            states.append("WATCHDOG=1")
        if states:
            self.systemd.notify(*states)

    async def _ping_on(self, url: Secret) -> None:
        while True:
            began = self.monotonic()
            if self.health.ready():
                error = await _ping_error(url, allow_private=self.allow_private)
                if error and not self._failing:
                    log.warning("the watchdog's address %s", error)
                elif self._failing and not error:
                    log.warning("the watchdog's address answers again")
                self._failing = bool(error)
            await asyncio.sleep(max(self.every_s - (self.monotonic() - began), 1.0))


async def _ping_error(url: Secret, *, allow_private: bool) -> str:
    """Return why a ping failed; empty if it did not."""
    try:
        await _PING_THREADS.run(
            lambda: ping(url.reveal(), allow_private=allow_private), _PING_TOTAL_S
        )
    except PingError as error:
        return str(error)
    except BoundedCallError:
        return "does not answer in time"
    except Exception as error:  # noqa: BLE001 - reported like any other
        return f"failed: {type(error).__name__}"
    return ""
