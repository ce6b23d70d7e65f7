"""Measure the time from a restart to the first stored and evaluated message.

Usage: python benchmarks/restart.py [--sensors 50] [--interval 5] [--days 7]

`plumewatch run`, with a week of readings in its journal, is killed and restarted several times
while a sensor keeps publishing. Times are measured from the start of the process. In the last
restart, a day of readings from all sensors is waiting in the broker. Exits 1 if one of the other
restarts takes 5 s or more until a reading is stored, or if one of that day's readings is lost or
stored twice.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import load_rig as rig

from alerts.consumer.detection_consumer import CONSUMER
from alerts.incidents import schema
from storage.journal import STATE_SCRIPTS, Journal, save_cursor
from storage.reading import Reading
from storage.sqlite import connect, migrate, transaction
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    import argparse
    import subprocess
    from collections.abc import Iterator

_GOAL_S = 5.0
_GROUP = 20_000
_DAY_FROM = 10_000_000
"""First sequence number of messages that wait in the broker; live messages have smaller ones."""
_OTHERS_S = 10.0
"""Extra wait for the day's last messages, s: the count of stored ones includes live messages."""


def write_journal(path: Path, sensors: int, interval_s: float, days: float) -> int:
    """Write readings of all sensors up to now; return how many."""
    rounds = int(days * 86_400 / interval_s)
    now = time.time()
    group: list[Reading] = []
    with Journal(path) as journal:
        for k in range(rounds):
            moment = now - (rounds - k) * interval_s
            for which in range(sensors):
                wave = (k + which) % 17
                values = {
                    "pm1": 2.6 + wave / 9,
                    "pm25": 4 + wave / 7,
                    "pm10": 4.6,
                    "voc_index": 95.0 + wave,
                    "rh": 41.2,
                    "temp": 21.4,
                }
                name = rig.sensor_name(which)
                group.append(Reading(name, moment, moment + 0.2, values, seq=k))
            if len(group) >= _GROUP:
                journal.commit(group)
                group.clear()
        if group:
            journal.commit(group)
        return journal.get_last_offset()


@dataclass(slots=True)
class Course:
    """The configuration of a service, with its data folder, and the service while it runs."""

    config: Path
    service: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.config.parent / "data"

    def end(self) -> None:
        """Kill the service if it is running."""
        if self.service is not None:
            self.service.kill()
            self.service.wait(10)
        self.service = None

    def restart(self) -> tuple[float, float]:
        """Restart the service; return the seconds until journal and detector have a new reading."""
        self.end()
        watcher = rig.Watcher(self.data)
        before = watcher.look()
        began = time.monotonic()
        self.service = rig.start_service(self.config, "")
        return self._times(watcher, before, began)

    @staticmethod
    def _times(watcher: rig.Watcher, before: rig.Progress, began: float) -> tuple[float, float]:
        with contextlib.closing(watcher):
            while (now := watcher.look()).journal <= before.journal:
                _give_up_after(began, 120)
            stored = now.at - began
            while (now := watcher.look()).detector <= before.journal:
                _give_up_after(began, 1_200)
            return stored, now.at - began

    def wait_until_caught_up(self) -> float:
        """Wait until the series has all readings; return how long that took."""
        began = time.monotonic()
        with contextlib.closing(rig.Watcher(self.data)) as watcher:
            while (now := watcher.look()).series < now.journal - 200:
                _give_up_after(began, 1_200)
        return time.monotonic() - began


def _give_up_after(began: float, seconds: float) -> None:
    if time.monotonic() - began > seconds:
        sys.exit(f"nothing new after {seconds:.0f} s")
    time.sleep(0.01)


@contextlib.contextmanager
def course(options: argparse.Namespace, folder: Path) -> Iterator[tuple[Course, int]]:
    """Write a week of unread readings and run a broker; yield a course and the broker's port."""
    began = time.monotonic()
    with rig.mosquitto(folder) as (port, _):
        made = Course(rig.write_config(folder, port, options.sensors))
        made.data.mkdir()
        count = write_journal(
            made.data / "journal.db", options.sensors, options.interval, options.days
        )
        database = connect(made.data / "state.db")
        migrate(database, "state", STATE_SCRIPTS)
        migrate(database, "alerts", schema.SCRIPTS)
        with transaction(database) as tx:
            save_cursor(tx, CONSUMER, count)
        database.close()
        with SqliteSeries(made.data / "series.db"):
            pass
        size = sum(f.stat().st_size for f in made.data.iterdir()) / 1e6
        took = time.monotonic() - began
        print(f"{count:,} readings, {size:,.0f} MB, written in {took:.0f} s")
        try:
            yield made, port
        finally:
            made.end()


def measure_starts(made: Course) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each kind of start and how long it took."""
    yield "detector without a snapshot, series a week behind", made.restart()
    yield "killed while the series catches up", made.restart()
    took = made.wait_until_caught_up()
    print(f"  the series caught up in {took:.0f} s while readings arrived", flush=True)
    yield "killed after everything was read", made.restart()
    time.sleep(90)  # a snapshot is stored every minute
    yield "killed, with a snapshot", made.restart()
    made.end()
    for left in made.data.glob("state.db*"):
        left.unlink()
    database = connect(made.data / "state.db")
    migrate(database, "state", STATE_SCRIPTS)
    database.close()
    yield "state lost: the detector reads the week again", made.restart()


def measure_day_in_broker(made: Course, port: int, options: argparse.Namespace) -> list[str]:
    """Queue a day of readings in the broker while the service is down; return broken promises."""
    made.end()
    with contextlib.closing(rig.Watcher(made.data)) as watcher:
        before = watcher.look().journal
        count = int(options.sensors * 86_400 / options.interval)
        sensors = range(options.sensors)
        topics = [f"plumewatch/v1/{rig.sensor_name(k)}/reading".encode() for k in sensors]
        now, seq = time.time(), _DAY_FROM
        rounds = count // options.sensors

        def day() -> rig.Messages:
            for k in range(count):
                step, which = divmod(k, options.sensors)
                moment = now - (rounds - step) * options.interval
                yield 0.0, topics[which], partial(rig.payload, seq + step, moment)

        began = time.monotonic()
        ledger = rig.offer(port, day())
        print(
            f"a day of the fleet, {ledger.acknowledged:,} messages, published to the broker in"
            f" {time.monotonic() - began:.0f} s",
            flush=True,
        )
        began, stored = time.monotonic(), 0.0
        made.service = rig.start_service(made.config, "")
        while (now := watcher.look()).journal < before + ledger.acknowledged:
            if now.journal > before and not stored:
                stored = now.at - began
            if now.at - began > 900:
                break
            time.sleep(0.01)
        print(f"  first stored after {stored:.1f} s, all after {now.at - began:.0f} s")
        time.sleep(_OTHERS_S)
    kept = Counter(
        (r.sensor, r.seq) for r in rig.stored_readings(made.data) if (r.seq or 0) >= _DAY_FROM
    )
    broken = []
    if lost := ledger.acknowledged - len(kept):
        broken.append(f"{lost:,} messages of the day were lost")
    if repeated := sum(n > 1 for n in kept.values()):
        broken.append(f"{repeated:,} messages of the day were stored more than once")
    return broken


def main() -> int:
    """Run the benchmark; return 1 if a promise is broken."""
    interval = (5.0, "seconds between readings")
    options = rig.options(__doc__, sensors=50, interval=interval, days=7.0)
    rig.print_machine()
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as scratch, course(options, Path(scratch)) as (made, port):
        with rig.publisher(port, rig.steady, 20, 7_200, 1):
            for what, (stored, evaluated) in measure_starts(made):
                print(f"  {what}: stored after {stored:.1f} s, evaluated after {evaluated:.1f} s")
                sys.stdout.flush()
                if stored >= _GOAL_S:
                    broken.append(f"{what}: {stored:.1f} s until a message is stored")
        broken += measure_day_in_broker(made, port, options)
    return rig.verdict(broken)


if __name__ == "__main__":
    sys.exit(main())
