"""Measure how soon the second channel delivers if the first one hangs, fails or throttles.

Run: ``python benchmarks/fallback.py [alerts]``. The clock starts just before the alert is committed
and stops when the second provider has the request. A second person, whose only channel works, is
notified of the same alert. This shows whether the bad provider delays anyone else.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import tempfile
import time
from pathlib import Path

from alert_latency import Provider, alerting, make_event, until

from alerts.policy import StaffMember
from storage import sqlite

BAD = ("hangs", "drips a byte a second", "refuses the connection", "answers 503", "answers 429")


async def measure(behavior: str, alerts: int, folder: Path) -> None:
    """Measure one kind of failure and print its line."""
    first, second, other = Provider(behavior), Provider(), Provider()
    for provider in (first, second, other):
        await provider.open()
    staff = [
        StaffMember("a", "A", targets=(first.url, second.url)),
        StaffMember("b", "B", targets=(other.url,)),
    ]
    started: dict[str, float] = {}
    async with alerting(folder, staff, alerts) as (db, engine, wake):
        for n in range(alerts):
            begun = time.perf_counter()
            with sqlite.transaction(db) as tx:
                (record,) = engine.on_events(tx, [make_event(f"s{n}", time.time())], time.time())
            started[record.incident] = begun
            wake.set()
            await asyncio.sleep(0.5)
        await until(lambda: min(len(second.arrived), len(other.arrived)) >= alerts)
    for provider in (first, second, other):
        provider.close()
    waited = sorted(second.arrived[i] - at for i, at in started.items())
    beside = sorted(other.arrived[i] - at for i, at in started.items())
    print(
        f"first channel {behavior}: second after {statistics.median(waited):.2f} s,"
        f" at most {waited[-1]:.2f} s; somebody else after {1000 * statistics.median(beside):.0f}"
        f" ms, at most {1000 * beside[-1]:.0f} ms",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("alerts", nargs="?", type=int, default=10, help="for each provider")
    count = parser.parse_args().alerts
    logging.disable()  # every failed attempt is logged
    for how in BAD:
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(measure(how, count, Path(name)))
