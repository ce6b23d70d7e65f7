"""Health of the service by part: its pages, and signals to systemd and an external watchdog.

A process that answers is *alive*; a service is *ready* if every part works. ``/healthz`` and the
state of each part in ``/readyz`` are public. Details of a part may contain addresses and paths.
Like ``/metrics``, they are shown only to clients with the bearer token of ``[metrics]``, and to
clients on this machine if the staff page listens on loopback without a proxy in between.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from alerts.page.guard import is_local
from ingest.integrity import CountKind
from storage.http_client import RequestError, find_reach, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from alerts.secrets import Secret
    from ingest.integrity import ReadingCounts
    from plumewatch.service.consumers import DetectionLoop, SeriesWriters
    from plumewatch.service.ingestion import Ingestion
    from plumewatch.service.meters import Meters
    from plumewatch.service.resources import Resources

log = logging.getLogger(__name__)

MAX_LAG_S: Final = 30.0
"""Longest acceptable delay of the detector behind the stored readings."""
STALLED_S: Final = 60.0
"""Longest acceptable time without progress of the detector or the commits."""
SAMPLES: Final = 15
"""Window of the check for late readings: this many samples, one per minute."""
_NEAR: Final = 0.8
HEALTH_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_LOCAL_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the service; `detail` is for operators."""

    name: str
    ok: bool
    detail: str


class Lateness:
    """Checks this machine's clock against the time stamps of all sensors.

    Readings that are too old on arrival never raise alerts; if this clock is minutes ahead, all
    readings look too old. A backlog after an outage is late too, but for less than `SAMPLES`
    minutes.
    """

    def __init__(self) -> None:
        self._late = self._reporting = 0
        self._samples: deque[dict[str, tuple[int, int]]] = deque(maxlen=SAMPLES + 1)

    def sample(self, sensors: Iterable[str], tally: ReadingCounts) -> None:
        """Record the counts so far; call this once a minute."""
        now = {}
        for sensor in sensors:
            counts = tally.get_counts(sensor)
            now[sensor] = (counts.get(CountKind.READINGS, 0), counts.get(CountKind.LATE, 0))
        self._samples.append(now)
        if len(self._samples) <= SAMPLES:
            return
        before = self._samples[0]
        added = [(n - before[s][0], late - before[s][1]) for s, (n, late) in now.items()]
        self._reporting = sum(n > 0 for n, _ in added)
        self._late = sum(0 < n == late for n, late in added)

    @property
    def problem(self) -> str:
        """The problem, for operators; empty if there is none."""
        if 2 * self._late <= self._reporting:
            return ""
        return (
            f"{self._late} of {self._reporting} sensors send only readings whose time stamps are"
            " too old to raise alerts: check the clocks of this machine and of the sensors"
        )


@dataclass(slots=True)
class Health:
    """Reports the state of a running service, by part."""

    resources: Resources
    ingestion: Ingestion
    detection: DetectionLoop
    writers: SeriesWriters
    monotonic: Callable[[], float] = time.monotonic
    lateness: Lateness = field(default_factory=Lateness)
    _groups: int = 0
    _groups_since: float = field(init=False)

    def __post_init__(self) -> None:
        """Measure progress from now on."""
        self._groups_since = self.monotonic()

    def check_parts(self) -> list[Part]:
        """Return every part, in the order in which readings pass through them."""
        clock, writers = self.lateness.problem, self.writers
        store = writers.readings.state.failing or writers.records.state.failing
        disk = "; ".join(f"{what}: {why}" for what, why in self._find_disk_failures().items())
        return [
            self._check_broker(),
            self._check_canary(),
            Part("clocks", not clock, clock or "readings arrive on time"),
            Part("journal", not disk, disk or "written"),
            self._check_detector(),
            Part("store", not store, store or "written"),
        ]

    def is_ready(self) -> bool:
        """Return whether every part works."""
        return all(part.ok for part in self.check_parts())

    def is_moving(self) -> bool:
        """Return whether the pipeline makes progress or waits for the disk.

        Call this more often than every `STALLED_S`.
        """
        now, commits = self.monotonic(), self.ingestion.commits
        if commits.groups != self._groups or not commits.waiting or commits.failing:
            self._groups, self._groups_since = commits.groups, now
        elif now - self._groups_since > STALLED_S:
            return False
        retried = self.resources.run_until_stored.last_failure
        return now - max(self.detection.beat, retried) <= STALLED_S

    def find_failing(self) -> dict[str, str]:
        """Return the storage work that is failing, with the reasons."""
        series = {
            "series": self.writers.readings.state.failing,
            "records of the series": self.writers.records.state.failing,
        }
        return self._find_disk_failures() | {what: why for what, why in series.items() if why}

    def is_queue_near_limit(self) -> bool:
        """Return whether the broker's queue is nearly full."""
        limit = self.resources.config.broker.max_queued_messages
        return (self.ingestion.source.state.broker_stored or 0) >= _NEAR * limit

    def _check_broker(self) -> Part:
        state = self.ingestion.source.state
        if not state.connected:
            return Part("broker", ok=False, detail=state.last_error or "not connected")
        if state.refused_topics:
            return Part("broker", ok=False, detail=f"refuses {', '.join(state.refused_topics)}")
        faults = self.ingestion.operations.describe_broker_faults()
        return Part("broker", ok=True, detail=faults or "connected and subscribed")

    def _check_canary(self) -> Part:
        canary = self.ingestion.source.canary
        if canary is None:
            return Part("canary", ok=True, detail="switched off")
        now = self.monotonic()
        age = canary.get_age_s(now)
        if age is None:
            detail = f"none of {canary.sent} canaries returned"
        else:
            detail = f"last returned {age:.0f} s ago (round trip {canary.round_trip_s:.3f} s)"
        return Part("canary", canary.is_fresh(now), detail)

    def _check_detector(self) -> Part:
        readings, seconds = self.detection.measure_lag()
        detail = f"{readings} readings, {seconds:.1f} s behind"
        return Part("detector", seconds <= MAX_LAG_S and self.is_moving(), detail)

    def _find_disk_failures(self) -> dict[str, str]:
        failing = self.resources.find_hanging() | self.resources.run_until_stored.failing
        if why := self.ingestion.commits.failing:
            failing["journal"] = why
        return dict(sorted(failing.items()))


@dataclass(frozen=True, slots=True)
class HealthPages:
    """Serves the health pages in front of an application; scrapers authenticate with `token`.

    Without `meters`, the service is still starting and has no metrics.
    """

    app: ASGIApp
    health: Health
    meters: Meters | None
    token: Secret | None
    on_loopback: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for health, or pass it on."""
        if scope["type"] != "http" or scope["path"] not in HEALTH_PATHS:
            await self.app(scope, receive, send)
            return
        response = await self._answer(Request(scope))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return Response(status_code=405, headers={"allow": "GET, HEAD"})
        path = request.url.path
        if path == "/healthz":
            return JSONResponse({"status": "ok"})
        trusted = self._is_trusted(request)
        if path == "/readyz":
            return self._answer_readiness(detailed=trusted)
        if not trusted:
            return Response(status_code=401, headers={"www-authenticate": "Bearer"})
        if self.meters is None:
            return Response(status_code=503)
        await asyncio.to_thread(self.meters.refresh)
        return PlainTextResponse(self.meters.format_metrics(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    def _answer_readiness(self, *, detailed: bool) -> Response:
        parts = self.health.check_parts()
        ready = all(part.ok for part in parts)
        shown = {p.name: {"ok": p.ok, **({"detail": p.detail} if detailed else {})} for p in parts}
        content = {"status": "ready" if ready else "not ready", "parts": shown}
        return JSONResponse(content, 200 if ready else 503)

    def _is_trusted(self, request: Request) -> bool:
        kind, _, sent = request.headers.get("authorization", "").partition(" ")
        if self.token is not None and kind.lower() == "bearer" and self.token.matches(sent):
            return True
        try:
            name = urlsplit(f"//{request.headers.get('host', '')}").hostname
        except ValueError:
            return False
        return self.on_loopback and name in _LOCAL_NAMES and is_local(request)


_TICK_S: Final = 5.0
_STARTING_S: Final = 30.0
"""For this long after startup, failing parts are not logged."""
_PING_TIMEOUT_S: Final = 10.0


class Systemd:
    """systemd's notification socket, if any: sd_notify(3), sd_watchdog_enabled(3)."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        mine = environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        given = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(given) / 1e6 if mine and given.isdecimal() else 0.0

    def notify(self, *states: str) -> None:
        """Send states such as ``READY=1`` to systemd; a failure is only logged."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                link.settimeout(1.0)
                link.sendto("\n".join(states).encode(), self._address)
        except OSError as error:
            log.warning("cannot notify systemd: %s", error)


@dataclass(slots=True)
class Watchdog:
    """Notifies systemd, and pings `url`.

    `reloading` is set if the process starts another service after this one.

    systemd is notified while the pipeline makes progress or waits for the disk, because a full disk
    needs no restart. The external address is pinged only while the service is *ready*.
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
        """Check every few seconds, until canceled."""
        self._started = self.monotonic()
        self.systemd.notify("READY=1", "STATUS=started")
        tick = min(_TICK_S, self.systemd.watchdog_s / 3 or _TICK_S)
        try:
            async with asyncio.TaskGroup() as group:
                if self.url is not None:
                    group.create_task(self._keep_pinging(self.url), name="ping")
                while True:
                    self.check()
                    await asyncio.sleep(tick)
        finally:
            if self.reloading:
                self.systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            else:
                self.systemd.notify("STOPPING=1")

    def check(self) -> None:
        """Notify systemd, and log every change."""
        failing = [part for part in self.health.check_parts() if not part.ok]
        starting = self._ready is None and self.monotonic() - self._started < _STARTING_S
        if self._ready is not False and failing and not starting:
            log.warning("not ready: %s", "; ".join(f"{p.name}: {p.detail}" for p in failing))
        elif self._ready is False and not failing:
            log.warning("ready again")
        full = self.health.is_queue_near_limit()
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
        if self.systemd.watchdog_s and self.health.is_moving():
            states.append("WATCHDOG=1")
        if states:
            self.systemd.notify(*states)

    async def _keep_pinging(self, url: Secret) -> None:
        while True:
            began = self.monotonic()
            if self.health.is_ready():
                error = ""
                try:
                    await ping(url.reveal(), allow_private=self.allow_private)
                except RequestError as refusal:
                    error = str(refusal)
                except Exception as failure:  # noqa: BLE001 - reported like any other
                    error = f"failed: {type(failure).__name__}"
                if error and not self._failing:
                    log.warning("cannot ping the watchdog: %s", error)
                elif self._failing and not error:
                    log.warning("the watchdog answers again")
                self._failing = bool(error)
            await asyncio.sleep(max(self.every_s - (self.monotonic() - began), 1.0))


async def ping(url: str, *, allow_private: bool) -> None:
    """Fetch an address; raises `RequestError` if that is not allowed or fails."""
    reach = find_reach(url, allow_private=allow_private)
    answer = await request("GET", url, reach, timeout_s=_PING_TIMEOUT_S)
    if not 200 <= answer.status < 300:
        raise RequestError(f"answers {answer.status}")
