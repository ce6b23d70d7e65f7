"""Whether each part of the service works.

*Alive* is a process that answers at all. *Ready* is a service whose every part works: a reading
that arrives now is stored, judged in time and notified. The reasons of a part are for operators and
may hold paths and addresses, so strangers get yes or no (`health_page`).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from alerts.page import queries
from ingest.reading_counts import CountKind
from plumewatch.service.meters import CONTENT_TYPE
from storage import sqlite
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

    from alerts.notify.secrets import Secret
    from ingest.commit import GroupCommit
    from ingest.mqtt import MqttSource
    from ingest.reading_counts import ReadingCounts
    from plumewatch.service.detection_loop import DetectionLoop
    from plumewatch.service.meters import Meters
    from storage.reading import Reading
    from storage.retrying import RunUntilStored
    from storage.timeseries.records import Record
    from storage.timeseries.writer import SeriesWriter

log = logging.getLogger(__name__)

MAX_LAG_S: Final = 30.0
"""How far the detector may be behind the stored readings."""
STALLED_S: Final = 60.0
"""Without progress of the detector or of the commits for so long, the pipeline is stalled."""
SAMPLES: Final = 15
"""Samples of lateness looked back on, one a minute."""
_NEAR: Final = 0.8
HEALTH_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_LOCAL_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_OF_PROXIES: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the service; `says` is for operators."""

    name: str
    ok: bool
    says: str


class Lateness:
    """Whether this machine's clock can be right, judged by the time stamps of all sensors.

    Readings that are too old when they arrive are stored and never alert. Where this clock is
    minutes ahead of the truth, that is all of them, and nothing else would show it. A backlog after
    an outage is late too, but not for as long as this looks back.
    """

    def __init__(self) -> None:
        self._late = self._reporting = 0
        self._samples: deque[dict[str, tuple[int, int]]] = deque(maxlen=SAMPLES + 1)

    def sample(self, sensors: Iterable[str], tally: ReadingCounts) -> None:
        """Take what was counted so far, once a minute."""
        now = {}
        for sensor in sensors:
            counts = tally.of(sensor)
            now[sensor] = (counts.get(CountKind.READINGS, 0), counts.get(CountKind.LATE, 0))
        self._samples.append(now)
        if len(self._samples) <= SAMPLES:
            return
        before = self._samples[0]
        added = [(n - before[s][0], late - before[s][1]) for s, (n, late) in now.items()]
        self._reporting = sum(n > 0 for n, _ in added)
        self._late = sum(0 < n == late for n, late in added)

    @property
    def says(self) -> str:
        """What is wrong, for operators; empty if nothing is."""
        if 2 * self._late <= self._reporting:
            return ""
        return (
            f"{self._late} of {self._reporting} sensors stamp every reading so long ago that none"
            " of them can alert: is the clock of this machine right, and theirs?"
        )


class OutboxState:
    """The outbox and open incidents as last read; None of each while the disk refuses."""

    def __init__(self, database: Path, clock: Callable[[], float]) -> None:
        self.waiting: int | None = None
        self.oldest_s: float | None = None
        self.open_incidents: int | None = None
        self._database = database
        self._clock = clock
        self._failing = False

    def refresh(self) -> None:
        """Read them again; blocks."""
        try:
            with closing(sqlite.connect(self._database, read_only=True)) as db:
                found = queries.status(db, self._clock())
        except (StorageError, sqlite3.Error) as error:
            if not self._failing:
                log.warning("the outbox cannot be read for health and metrics: %s", error)
            self._failing = True
            self.waiting = self.oldest_s = self.open_incidents = None
            return
        self._failing = False
        self.waiting = sum(found["outbox"].get(status, 0) for status in ("due", "leased"))
        self.oldest_s = found["oldest_due_s"] or 0.0
        self.open_incidents = found["open_incidents"]


class Health:
    """Looks at the parts of a running service; changes nothing.

    Parameters
    ----------
    monotonic : callable
        Seconds.
    queue_limit : int
        Messages that the broker keeps for us at most.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        source: MqttSource,
        commits: GroupCommit,
        writer: SeriesWriter[Reading],
        records: SeriesWriter[Record],
        retrying: RunUntilStored,
        detection: DetectionLoop,
        queue_limit: int,
    ) -> None:
        self._monotonic = monotonic
        self._source = source
        self._commits = commits
        self._writer = writer
        self._records = records
        self._retrying = retrying
        self._detection = detection
        self._queue_limit = queue_limit
        self._groups = (0, monotonic())
        self.lateness = Lateness()

    def parts(self) -> list[Part]:
        """Return every part, in the order of the data."""
        return [
            self._broker(),
            self._canary(),
            self._clocks(),
            self._disk(),
            self._detector(),
            self._store(),
        ]

    def ready(self) -> bool:
        """Whether every part works."""
        return all(part.ok for part in self.parts())

    def moves(self) -> bool:
        """Whether the pipeline makes progress, or waits for the disk and says so.

        Call it at least every `STALLED_S`.
        """
        now = self._monotonic()
        groups, since = self._groups
        if self._commits.groups != groups or not self._commits.waiting or self._commits.failing:
            self._groups = (self._commits.groups, now)
        elif now - since > STALLED_S:
            return False
        return now - max(self._detection.beat, self._retrying.last_failure) <= STALLED_S

    def failing(self) -> dict[str, str]:
        """Return why work on storage fails at the moment, by name of the work."""
        found = {
            **dict(sorted(self._retrying.failing.items())),
            "journal": self._commits.failing,
            "series": self._writer.state.failing,
            "records of the series": self._records.state.failing,
        }
        return {what: why for what, why in found.items() if why}

    def queue_near_limit(self) -> bool:
        """Whether the broker holds nearly as many messages as it keeps."""
        return (self._source.state.broker_stored or 0) >= _NEAR * self._queue_limit

    def _broker(self) -> Part:
        state = self._source.state
        if not state.connected:
            return Part("broker", ok=False, says=state.last_error or "not connected")
        if state.refused_topics:
            return Part("broker", ok=False, says=f"refuses {', '.join(state.refused_topics)}")
        return Part("broker", ok=True, says="connected and subscribed")

    def _canary(self) -> Part:
        canary = self._source.canary
        if canary is None:
            return Part("canary", ok=True, says="switched off")
        now = self._monotonic()
        age = canary.age_s(now)
        if age is None:
            says = f"none of {canary.sent} came back"
        else:
            says = f"came back {age:.0f} s ago after {canary.round_trip_s:.3f} s"
        return Part("canary", ok=canary.fresh(now), says=says)

    def _clocks(self) -> Part:
        says = self.lateness.says
        return Part("clocks", ok=not says, says=says or "readings come in time")

    def _disk(self) -> Part:
        failing = {**self._retrying.failing}
        if self._commits.failing:
            failing["journal"] = self._commits.failing
        says = "; ".join(f"{what}: {why}" for what, why in sorted(failing.items()))
        return Part("journal", ok=not failing, says=says or "written")

    def _detector(self) -> Part:
        readings, seconds = self._detection.lag()
        says = f"{readings} readings, {seconds:.1f} s behind"
        return Part("detector", ok=seconds <= MAX_LAG_S and self.moves(), says=says)

    def _store(self) -> Part:
        failing = self._writer.state.failing or self._records.state.failing
        return Part("store", ok=not failing, says=failing or "written")


class HealthPages:
    """Answer for health, and pass everything else on.

    Parameters
    ----------
    token : Secret or None
        Bearer token of whoever scrapes.
    on_loopback : bool
        Whether the page is reached from this machine only.
    """

    def __init__(
        self,
        app: ASGIApp,
        health: Health,
        meters: Meters,
        token: Secret | None,
        *,
        on_loopback: bool,
    ) -> None:
        self._app = app
        self._health = health
        self._meters = meters
        self._token = token
        self._on_loopback = on_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] not in HEALTH_PATHS:
            await self._app(scope, receive, send)
            return
        response = await self._answer(Request(scope))
        response.headers["cache-control"] = "no-store"
        response.headers["x-content-type-options"] = "nosniff"
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return Response(status_code=405, headers={"allow": "GET, HEAD"})
        path = request.url.path
        if path == "/healthz":
            return JSONResponse({"status": "ok"})
        trusted = self._trusted(request)
        if path == "/readyz":
            return self._readiness(detailed=trusted)
        if not trusted:
            return Response(status_code=401, headers={"www-authenticate": "Bearer"})
        await asyncio.to_thread(self._meters.refresh)
        return PlainTextResponse(self._meters.exposition(), media_type=CONTENT_TYPE)

    def _readiness(self, *, detailed: bool) -> Response:
        parts = self._health.parts()
        ready = all(part.ok for part in parts)
        content = {
            "status": "ready" if ready else "not ready",
            "parts": {
                p.name: {"ok": p.ok, **({"says": p.says} if detailed else {})} for p in parts
            },
        }
        return JSONResponse(content, 200 if ready else 503)

    def _trusted(self, request: Request) -> bool:
        kind, _, sent = request.headers.get("authorization", "").partition(" ")
        if self._token is not None and kind.lower() == "bearer" and self._token.matches(sent):
            return True
        try:
            name = urlsplit(f"//{request.headers.get('host', '')}").hostname
        except ValueError:
            return False
        through_proxy = any(header in request.headers for header in _OF_PROXIES)
        return self._on_loopback and name in _LOCAL_NAMES and not through_proxy
