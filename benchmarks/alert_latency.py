"""Measure the time from a detector event to a provider receiving the notice.

Run: ``python benchmarks/alert_latency.py [open_incidents] [alerts] [--pictures]``.

The setup is a state database on disk with many open incidents, the alert engine, the notice pump,
apprise, and a JSON receiver on loopback. The clock starts just before an alert's transaction and
stops when the receiver has the request. With ``--pictures``, each alert includes an evidence
picture drawn from an embedded time series.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from alerts.access import schema as access
from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.outbox import add_answer_link
from alerts.notify.pictures import IncidentPictures, NoticePictures
from alerts.notify.pump import OutboxPump
from alerts.policy import AlertPolicy, EscalationTimings, StaffMember
from alerts.secrets import Secret
from detection.events import ChannelEvidence, Event, EventKind, EventPhase
from storage import sqlite
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Sequence


def make_event(sensor: str, now: float) -> Event:
    """Return a vape event with high probability, decided now."""
    return Event(
        sensor,
        EventKind.VAPE,
        EventPhase.ALERTED,
        now - 6,
        now,
        now,
        None,
        0.97,
        {"vape": 0.97, "spray": 0.02},
        {"pm25": ChannelEvidence(4, 176, 6, None)},
        "bench",
    )


class Provider:
    """Answers requests on loopback as configured, and records when each one arrived."""

    def __init__(self, behavior: str = "works") -> None:
        self.behavior = behavior
        self.arrived: dict[str, float] = {}
        self.pictured: set[str] = set()
        self._server: asyncio.Server | None = None
        self.url = Secret("not open yet")

    async def open(self) -> None:
        """Listen on a free port, unless configured to refuse connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = Secret(f"json://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/")
        if self.behavior == "refuses the connection":
            self._server.close()

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await self._answer(reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        length = int(asked.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        self.arrived.setdefault(body["incident"], time.perf_counter())
        if body["attachments"]:
            self.pictured.add(body["incident"])
        if self.behavior == "hangs":
            await asyncio.sleep(60)
        elif self.behavior == "drips a byte a second":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            for _ in range(60):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)
        code = self.behavior.removeprefix("answers ") if "answers" in self.behavior else "200"
        head = f"HTTP/1.1 {code} X\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + b"{}")
        await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def alerting(
    folder: Path,
    staff: Sequence[StaffMember],
    rooms: int,
    make_pictures: Callable[[Path, Registry], NoticePictures | None] = lambda *_: None,
) -> AsyncIterator[tuple[sqlite3.Connection, AlertEngine, asyncio.Event]]:
    """Run engine and pump in `folder`; yield the state database, engine and pump's wake event."""
    registry = Registry.build(
        (Room(f"r{n}", f"Room {n}", "1", "Main", "School") for n in range(rooms)),
        (Sensor(f"s{n}", f"r{n}") for n in range(rooms)),
    )
    unthrottled = EscalationTimings(notices_per_hour=1000, storm_rooms=999)  # no digests
    page = "https://page.example"
    policy = AlertPolicy(staff=tuple(staff), timings=unthrottled, page_url=page)
    engine, database = AlertEngine(registry, policy), folder / "state.db"
    db = sqlite.connect(database)
    sqlite.migrate(db, schema.COMPONENT, schema.SCRIPTS)
    sqlite.migrate(db, access.COMPONENT, access.SCRIPTS)
    wake, notifier = asyncio.Event(), AppriseNotifier(NotifySettings(allow_private=True))
    source = make_pictures(database, registry)
    pump = OutboxPump(
        database, engine, notifier, wake, pictures=source, personalize=add_answer_link
    )
    task = asyncio.create_task(pump.run(), name="pump")
    yield db, engine, wake
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    db.close()


async def until(met: Callable[[], bool]) -> None:
    """Wait up to a minute for a condition."""
    async with asyncio.timeout(60):
        while not met():  # noqa: ASYNC110 - a benchmark may poll
            await asyncio.sleep(0.05)


async def measure(open_incidents: int, alerts: int, folder: Path, *, pictures: bool) -> None:
    """Run the benchmark and print the result."""
    provider, total = Provider(), open_incidents + alerts
    await provider.open()
    started: dict[str, float] = {}
    decided = []
    with SqliteSeries(folder / "series.db") as series, contextlib.ExitStack() as stack:

        def drawn(database: Path, registry: Registry) -> NoticePictures:
            source = NoticePictures(IncidentPictures(database, registry, series, "UTC"))
            source.open()
            stack.callback(source.close)
            return source

        staff = [StaffMember("a", "A", targets=(provider.url,))]
        make_pictures = (drawn,) if pictures else ()
        async with alerting(folder, staff, total, *make_pictures) as (db, engine, wake):
            now = time.time()
            with sqlite.transaction(db) as tx:
                engine.on_events(tx, [make_event(f"s{n}", now) for n in range(open_incidents)], now)
                tx.execute("UPDATE outbox SET status = 'cancelled'")
            for n in range(open_incidents, total) if pictures else ():
                values = {"pm25": 4.0, "voc_index": 100.0, "rh": 41.0}
                series.write([Reading(f"s{n}", now - k, now, values) for k in range(1, 1801)], 0)
            await asyncio.sleep(1.0 if pictures else 0.2)
            for n in range(open_incidents, total):
                begun = time.perf_counter()
                with sqlite.transaction(db) as tx:
                    (record,) = engine.on_events(
                        tx, [make_event(f"s{n}", time.time())], time.time()
                    )
                decided.append(time.perf_counter() - begun)
                started[record.incident] = begun
                wake.set()
                if pictures:
                    decisive = Reading(f"s{n}", record.alerted, record.alerted, {"pm25": 180.0})
                    await asyncio.to_thread(series.write, [decisive], 0)
                await asyncio.sleep(0.25 if pictures else 0.05)
            await until(lambda: len(provider.arrived) >= alerts)
    provider.close()
    took = sorted(provider.arrived[i] - started[i] for i in started)
    cut = statistics.quantiles(took, n=100)
    print(f"{open_incidents} open incidents, {alerts} alerts one at a time, on disk")
    print(f"decision committed: median {1000 * statistics.median(decided):.1f} ms")
    print(
        f"event to provider: p50 {1000 * cut[49]:.1f} ms, p95 {1000 * cut[94]:.1f} ms,"
        f" p99 {1000 * cut[98]:.1f} ms, max {1000 * took[-1]:.1f} ms"
    )
    if pictures:
        print(f"with picture: {len(provider.pictured)} of {alerts}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("open_incidents", type=int, nargs="?", default=500)
    parser.add_argument("alerts", type=int, nargs="?", default=200)
    parser.add_argument("--pictures", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(
            measure(given.open_incidents, given.alerts, Path(name), pictures=given.pictures)
        )
