"""How long from a detector event to a notice in a provider's hands, with many open incidents.

A state database on disk, the engine, the pump, apprise, and a JSON receiver on loopback. Each
alert is one transaction (as the consumer commits it); the clock runs from before that
transaction until the receiver has the request. Each notice has its person's own answer link, as in
the service.

With ``--pictures`` each alert carries its evidence picture, drawn from an embedded time series
that holds half an hour of the sensor at 1 Hz and gets the deciding reading after the alert is
committed; alerts then come four a second instead of twenty.

Run: ``python benchmarks/alert_latency.py [open_incidents] [alerts] [--pictures]``.
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

from alerts.access import schema as access
from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.notify.answer_links import with_answer_link
from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.pictures import IncidentPictures, NoticePictures
from alerts.notify.pump import OutboxPump
from alerts.policy import AlertPolicy, StaffMember
from alerts.secrets import Secret
from alerts.timings import EscalationTimings
from detection.events import ChannelEvidence, Event, EventKind, EventPhase
from storage import sqlite
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.sqlite import SqliteSeries


def an_event(sensor: str, now: float) -> Event:
    """Return a confident vape decision of this moment."""
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


async def measure(  # noqa: PLR0915 - one story from start to end
    open_incidents: int, alerts: int, folder: Path, *, pictures: bool
) -> None:
    """Run and print."""
    arrived: dict[str, float] = {}
    pictured: set[str] = set()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        arrived[body["incident"]] = time.perf_counter()
        if body["attachments"]:
            pictured.add(body["incident"])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    total = open_incidents + alerts
    registry = Registry.of(
        (Room(f"r{n}", f"Room {n}", "1", "Main", "School") for n in range(total)),
        (Sensor(f"s{n}", f"r{n}") for n in range(total)),
    )
    target = (Secret(f"json://127.0.0.1:{port}/"),)
    unthrottled = EscalationTimings(notices_per_hour=1000, storm_rooms=999)  # every alert by itself
    policy = AlertPolicy(
        staff=(StaffMember("a", "A", targets=target),),
        timings=unthrottled,
        page_url="https://page.example",
    )
    engine = AlertEngine(registry, policy)
    database = folder / "state.db"
    db = sqlite.connect(database)
    sqlite.migrate(db, schema.COMPONENT, schema.SCRIPTS)
    sqlite.migrate(db, access.COMPONENT, access.SCRIPTS)
    now = time.time()
    with sqlite.transaction(db) as tx:
        engine.on_events(tx, [an_event(f"s{n}", now) for n in range(open_incidents)], now)
        tx.execute("UPDATE outbox SET status = 'cancelled'")
    wake = asyncio.Event()
    notifier = AppriseNotifier(NotifySettings(allow_private=True))
    series = SqliteSeries(folder / "series.db")
    series.open()
    source = None
    if pictures:
        source = NoticePictures(IncidentPictures(database, registry, series, "UTC"))
        source.open()
        history = [
            Reading(f"s{n}", now - k, now, {"pm25": 4.0, "voc_index": 100.0, "rh": 41.0})
            for n in range(open_incidents, total)
            for k in range(1, 1801)
        ]
        series.write(history, 0)
    pump = OutboxPump(database, engine, notifier, wake, pictures=source, personal=with_answer_link)
    task = asyncio.create_task(pump.run(), name="pump")
    await asyncio.sleep(1.0 if pictures else 0.2)
    started: dict[str, float] = {}
    decided = []
    for n in range(open_incidents, total):
        begun = time.perf_counter()
        with sqlite.transaction(db) as tx:
            (record,) = engine.on_events(tx, [an_event(f"s{n}", time.time())], time.time())
        decided.append(time.perf_counter() - begun)
        started[record.incident] = begun
        wake.set()
        if pictures:
            decisive = Reading(f"s{n}", record.alerted, record.alerted, {"pm25": 180.0})
            await asyncio.to_thread(series.write, [decisive], 0)
        await asyncio.sleep(0.25 if pictures else 0.05)
    async with asyncio.timeout(30):
        while len(arrived) < alerts:  # noqa: ASYNC110 - a benchmark may poll
            await asyncio.sleep(0.05)
    pump.stop()
    await task
    server.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await server.wait_closed()
    db.close()
    if source is not None:
        source.close()
    series.close()
    took = sorted(arrived[i] - started[i] for i in started)
    cut = statistics.quantiles(took, n=100)
    print(f"{open_incidents} open incidents, {alerts} alerts one by one, on disk")
    print(f"decision committed: median {1000 * statistics.median(decided):.1f} ms")
    print(
        f"event to provider: p50 {1000 * cut[49]:.1f} ms, p95 {1000 * cut[94]:.1f} ms,"
        f" p99 {1000 * cut[98]:.1f} ms, max {1000 * took[-1]:.1f} ms"
    )
    if pictures:
        print(f"with picture: {len(pictured)} of {alerts}")


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
