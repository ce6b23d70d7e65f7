"""How long until the second channel notifies, while the first hangs, refuses or limits.

The engine, the pump and apprise on a state database on disk, each person with two channels on
loopback. The first provider behaves as named; the clock runs from before the alert is committed
until the second has the request. Beside it one person whose only channel works is notified of the
same alert: how long that took shows that the bad provider delays nobody.

Run: ``python benchmarks/fallback.py [alerts]``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import statistics
import tempfile
import time
from pathlib import Path

from alert_latency import an_event

from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.pump import OutboxPump
from alerts.policy import AlertPolicy, StaffMember
from alerts.secrets import Secret
from alerts.timings import EscalationTimings
from storage import sqlite
from storage.registry import Registry, Room, Sensor

BAD = ("hangs", "drips a byte a second", "refuses the connection", "answers 503", "answers 429")


class Provider:
    """Answers requests on loopback as configured, and records when each arrived."""

    def __init__(self, manner: str = "works") -> None:
        self.manner = manner
        self.came: dict[str, float] = {}
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port; one that refuses connections listens no more."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        if self.manner == "refuses the connection":
            self._server.close()

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await self._answer(reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        length = int(asked.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        self.came.setdefault(body["incident"], time.perf_counter())
        if self.manner == "hangs":
            await asyncio.sleep(60)
        elif self.manner == "drips a byte a second":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            for _ in range(60):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)
        code = self.manner.removeprefix("answers ") if "answers" in self.manner else "200"
        head = f"HTTP/1.1 {code} X\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + b"{}")
        await writer.drain()
        writer.close()


async def measure(manner: str, alerts: int, folder: Path) -> None:
    """Run one manner and print its line."""
    first, second, other = Provider(manner), Provider(), Provider()
    for provider in (first, second, other):
        await provider.open()
    url = "json://127.0.0.1:{}/"
    staff = (
        StaffMember(
            "a", "A", targets=(Secret(url.format(first.port)), Secret(url.format(second.port)))
        ),
        StaffMember("b", "B", targets=(Secret(url.format(other.port)),)),
    )
    registry = Registry.of(
        (Room(f"r{n}", f"Room {n}", "1", "Main", "School") for n in range(alerts)),
        (Sensor(f"s{n}", f"r{n}") for n in range(alerts)),
    )
    unthrottled = EscalationTimings(notices_per_hour=1000, storm_rooms=999)  # every alert by itself
    engine = AlertEngine(registry, AlertPolicy(staff=staff, timings=unthrottled))
    database = folder / f"{manner}.db"
    db = sqlite.connect(database)
    sqlite.migrate(db, schema.COMPONENT, schema.SCRIPTS)
    wake = asyncio.Event()
    pump = OutboxPump(database, engine, AppriseNotifier(NotifySettings(allow_private=True)), wake)
    task = asyncio.create_task(pump.run(), name="pump")
    started: dict[str, float] = {}
    for n in range(alerts):
        begun = time.perf_counter()
        with sqlite.transaction(db) as tx:
            (record,) = engine.on_events(tx, [an_event(f"s{n}", time.time())], time.time())
        started[record.incident] = begun
        wake.set()
        await asyncio.sleep(0.5)
    async with asyncio.timeout(60):
        while len(second.came) < alerts or len(other.came) < alerts:  # noqa: ASYNC110 - a benchmark
            await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for provider in (first, second, other):
        provider.close()
    db.close()
    waited = sorted(second.came[i] - at for i, at in started.items())
    beside = sorted(other.came[i] - at for i, at in started.items())
    print(
        f"first channel {manner}: second after {statistics.median(waited):.2f} s,"
        f" at most {waited[-1]:.2f} s; somebody else after {1000 * statistics.median(beside):.0f}"
        f" ms, at most {1000 * beside[-1]:.0f} ms",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("alerts", nargs="?", type=int, default=10, help="for each provider")
    count = parser.parse_args().alerts
    logging.disable()  # of every failed attempt
    with tempfile.TemporaryDirectory() as name:
        for how in BAD:
            asyncio.run(measure(how, count, Path(name)))
