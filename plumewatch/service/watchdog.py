"""Who is told that the service works: systemd on this machine, a dead-man's switch outside.

systemd (``Type=notify``, ``WatchdogSec=``) is told while the pipeline *moves*: a service that waits
for a broker or a full disk says so and needs no restart, one that hangs does. The address outside
(``[watchdog] ping_url_file``, healthchecks.io or your own) is fetched only while the service is
*ready* in every part, so that its silence says what this machine itself cannot: that it is off, cut
off, or of no use. The address is a secret, is fetched without following redirects, and may lead
into the own network only where ``alerts.allow_private_targets`` says so.
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
from storage.bounded_call import BoundedCallError, BoundedThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alerts.notify.secrets import Secret
    from plumewatch.service.health import Health

log = logging.getLogger(__name__)

_TICK_S: Final = 5.0
_STARTING_S: Final = 30.0
"""For so long nobody is told that the broker has not answered yet."""
_PING_TIMEOUT_S: Final = 10.0
_PING_TOTAL_S: Final = 30.0
_PING_THREADS: Final = BoundedThreads("ping", 4)


class PingError(Exception):
    """The ping did not arrive; the message says why and names no part of the address."""


class Systemd:
    """systemd's notification socket; says nothing where there is none.

    Parameters
    ----------
    environ : mapping of str to str
        ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are read.

    References
    ----------
    sd_notify(3), sd_watchdog_enabled(3).
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        mine = environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        given = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(given) / 1e6 if mine and given.isdecimal() else 0.0

    def notify(self, *states: str) -> None:
        """Tell systemd, for example ``READY=1``; what cannot be sent is left."""
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
    """Fetch an address; blocks.

    Parameters
    ----------
    allow_private : bool
        Whether it may lead to an address that is not public.
    timeout_s : float
        For each step on the network.

    Raises
    ------
    PingError
        If it is refused, cannot be reached, or answers with anything but 2xx.
    """
    try:
        answer = request("GET", url, allow_private=allow_private, timeout_s=timeout_s)
    except RequestError as error:
        raise PingError(str(error)) from None
    if not 200 <= answer.status < 300:
        raise PingError(f"answers {answer.status}")


@dataclass(slots=True)
class Watchdog:
    """Tell systemd and the outside, until cancelled.

    Attributes
    ----------
    url : Secret or None
        What to ping.
    every_s : float
        Time between pings.
    reloading : bool
        Whether the service that ends is followed by one with another configuration.
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
        """Look every few seconds."""
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
        """Tell systemd what there is to tell, and the log of every change."""
        failing = [part for part in self.health.parts() if not part.ok]
        starting = self._ready is None and self.monotonic() - self._started < _STARTING_S
        if self._ready is not False and failing and not starting:
            log.warning("not ready: %s", "; ".join(f"{p.name}: {p.says}" for p in failing))
        elif self._ready is False and not failing:
            log.warning("ready again")
        full = self.health.queue_near_limit()
        if full and not self._queue_full:
            log.warning(
                "the broker holds nearly as many messages as it keeps; then it drops new ones"
            )
        self._queue_full = full
        changed = self._ready is not (not failing)
        if not (failing and starting):
            self._ready = not failing
        said = "not ready: " + ", ".join(p.name for p in failing) if failing else "ready"
        states = [f"STATUS={said}"] if changed else []
        if self.systemd.watchdog_s and self.health.moves():
            states.append("WATCHDOG=1")
        if states:
            self.systemd.notify(*states)

    async def _ping_on(self, url: Secret) -> None:
        while True:
            began = self.monotonic()
            if self.health.ready():
                await self._ping(url)
            await asyncio.sleep(max(self.every_s - (self.monotonic() - began), 1.0))

    async def _ping(self, url: Secret) -> None:
        error = await _fetched(lambda: ping(url.reveal(), allow_private=self.allow_private))
        if error is not None and not self._failing:
            log.warning("the watchdog's address %s", error)
        elif error is None and self._failing:
            log.warning("the watchdog's address answers again")
        self._failing = error is not None


async def _fetched(work: Callable[[], None]) -> PingError | None:
    """Return what went wrong; None if nothing did."""
    try:
        await _PING_THREADS.run(work, _PING_TOTAL_S)
    except PingError as error:
        return error
    except BoundedCallError:
        return PingError("does not answer in time")
    except Exception as caught:  # noqa: BLE001 - reported like any other
        return PingError(f"failed: {type(caught).__name__}")
    return None
