"""Fill a folder with the configuration and data of a made-up school.

Usage: python -m docs.gallery.sample_school FOLDER [--weeks 12] [--seed 1]

The pictures in the docs show this school; use it to try reports and statistics. The service's alert
engine processes made-up detections at their own times, and creates incidents, notices and
escalations from them.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alerts.engine import AlertEngine
from alerts.incidents.incident import ActionClass, Verdict
from alerts.notify import outbox
from alerts.outbound.sensor_conditions import ActiveFaults, Condition
from alerts.outbound.state_summary import StateRecorder
from alerts.secrets import Secret
from detection.events import ChannelEvidence, Detail, Event, EventKind, EventPhase
from detection.liveness import SensorLife, SensorState
from language.messages import build_fact
from plumewatch.cli.options import CONFIG
from plumewatch.cli.printer import echo, show_progress
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import build_alert_policy
from plumewatch.service.data_folder import open_series, prepare_state
from reports.rows import name_rooms
from storage import audit
from storage.files import make_private_folder
from storage.reading import Reading
from storage.sqlite import connect, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from plumewatch.config.model import PlumewatchConfig
    from storage.timeseries.records import Record

_SCHOOL: Final = Path(__file__).parents[2] / "plumewatch/cli/school.toml"
_CHANGES: Final = (
    ('site = "Simulated High School"', 'site = "Sample High School"'),
    ('timezone = "UTC"', 'timezone = "America/New_York"'),
)
_APART_S: Final = 1800.0
_SETTLED_S: Final = 5400.0
_HOURS: Final = (8, 9, 9, 10, 11, 11, 11, 12, 13, 14)
"""Hours of the day in which alerts begin; breaks and lunch are more frequent."""
_KINDS: Final = (
    *[("vape", 0.5)] * 4,
    *(("smoke", 0.02), ("tamper", 0.04), ("sensor_fault", 0.08), ("offline", 0.08)),
)
"""Kinds of detection, each with its chance per school day; vaping has four chances."""
_VERDICTS: Final = {"confirmed": 50, "nothing_found": 28, "false_alarm": 20, "test": 2}
"""Relative frequency of each finding."""
_HEALTH: Final = {
    "tamper": build_fact(Detail.TAMPERED),
    "sensor_fault": build_fact(Detail.FROZEN, quantity="pm25", amount=7.0, time=1800.0),
    "offline": build_fact(Detail.SILENT, time=120.0, interval=5.0),
}


@dataclass(frozen=True, slots=True)
class Detection:
    """A made-up detection."""

    at: float
    kind: str
    sensor: str
    lasts_s: float
    top: float


def to_unix_time(day: date, hour: float, config: PlumewatchConfig) -> float:
    """Return the Unix time of an hour of a school day."""
    start = datetime(day.year, day.month, day.day, tzinfo=config.get_zone())
    return start.astimezone(UTC).timestamp() + hour * 3600


def make_up_detections(
    config: PlumewatchConfig, first: date, last: date, rng: random.Random
) -> Iterator[Detection]:
    """Make up the detections of all days, in order, far enough apart to be separate incidents."""
    sensors = [sensor.id for sensor in config.sensor]
    weights = [3.0 if k % 4 == 1 else 1.0 for k in range(len(sensors))]
    before = 0.0
    for number in range((last - first).days):
        day = first + timedelta(days=number)
        if day.weekday() >= 5:
            continue
        hours = sorted((rng.choice(_HOURS) + rng.random(), *one) for one in _KINDS)
        for hour, kind, chance in hours:
            at = to_unix_time(day, hour, config)
            if rng.random() < chance and at > before + _APART_S:
                before = at
                sensor = rng.choices(sensors, weights)[0]
                if sensor == _DRIFTING and (last - day).days <= _DRIFTING_DAYS:
                    continue  # its readings no longer match the baseline of the evidence
                yield Detection(at, kind, sensor, rng.uniform(60, 240), rng.uniform(25, 160))


def fill_state(
    config: PlumewatchConfig, first: date, alerts: list[Detection], rng: random.Random
) -> int:
    """Run the alert engine on the detections, and have people answer most incidents."""
    policy = build_alert_policy(config)
    nowhere = (Secret("json://127.0.0.1:9/nobody"),)  # notices are only marked as sent
    staff = tuple(replace(m, targets=nowhere) if m.role != "analyst" else m for m in policy.staff)
    engine = AlertEngine(config.build_registry(), replace(policy, staff=staff))
    make_private_folder(config.data_dir)
    with closing(connect(DataPaths(config.data_dir).state)) as database:
        prepare_state(database)
        with transaction(database) as tx:
            start = to_unix_time(first, 0, config)
            audit.append(tx, audit.AuditKind.START, "sample-data", {}, start)
        with show_progress("incidents", len(alerts)) as update:
            for number, alert in enumerate(alerts):
                with transaction(database) as tx:
                    _play_incident(tx, engine, alert, rng)
                update(completed=number + 1)
        return int(database.execute("SELECT count(*) FROM incident").fetchone()[0])


def _play_incident(
    tx: sqlite3.Connection, engine: AlertEngine, alert: Detection, rng: random.Random
) -> None:
    event = _make_event(alert)
    over = alert.at + alert.lasts_s
    records = engine.on_events(tx, [event], alert.at)
    _deliver(tx, engine, alert.at + 1.2)
    ended = replace(event, phase=EventPhase.ENDED, end=over, time=over)
    steps: list[tuple[float, Callable[[float], object]]] = [
        (over, lambda at: engine.on_events(tx, [ended], at))
    ]
    if records:
        steps += _make_answers(tx, engine, records[0].incident, alert, rng)
    for at, act in sorted(steps, key=lambda step: step[0]):
        _wait(tx, engine, at)
        act(at)
        _deliver(tx, engine, at + 1.0)
    _wait(tx, engine, alert.at + _SETTLED_S)


def _make_answers(
    tx: sqlite3.Connection, engine: AlertEngine, incident: str, alert: Detection, rng: random.Random
) -> Iterator[tuple[float, Callable[[float], object]]]:
    by = (
        "custodian"
        if alert.kind not in ("vape", "smoke")
        else rng.choice(("assistant-principal", "monitor-north"))
    )
    taken = alert.at + 10 + rng.lognormvariate(3.6, 0.6)
    if rng.random() < 0.14:
        return
    yield taken, lambda at: engine.acknowledge(tx, incident, by, at, channel="link")
    arrived = taken + 20 + rng.lognormvariate(4.2, 0.5)
    if rng.random() < 0.8:
        yield arrived, lambda at: engine.arrive(tx, incident, by, at, channel="link")
    if alert.kind != "vape" or rng.random() < 0.15:
        return
    verdict = Verdict(rng.choices(list(_VERDICTS), list(_VERDICTS.values()))[0])
    causes = ("spray", "spray", "steam", "sanitizer", "dust")
    cause = rng.choice(causes) if verdict is Verdict.FALSE_ALARM else ""
    said = arrived + rng.uniform(30, 120)
    yield said, lambda at: engine.record_feedback(tx, incident, by, verdict, at, cause=cause)
    if verdict is Verdict.CONFIRMED:
        action = ActionClass(rng.choice(("referral", "referral", "nurse", "none")))
        yield said + 300, lambda at: engine.record_action(tx, incident, by, action, at)


def _make_event(alert: Detection) -> Event:
    evidence = {
        "pm25": ChannelEvidence(5.0, alert.top, 8.0, 25.0 + alert.lasts_s / 8),
        "voc_index": ChannelEvidence(112.0, alert.top / 5, 12.0, None),
        "rh": ChannelEvidence(44.3, 0.2, 5.0, None),
    }
    likely = {alert.kind: 0.88, "steam": 0.05, "spray": 0.04}
    is_air = alert.kind not in _HEALTH
    return Event(
        sensor=alert.sensor,
        kind=EventKind(alert.kind),
        phase=EventPhase.ALERTED,
        onset=alert.at - 12.0,
        alerted=alert.at,
        peak_time=alert.at,
        end=None,
        confidence=0.88 if is_air else 1.0,
        probabilities=likely if is_air else {alert.kind: 1.0},
        evidence=evidence if is_air else {},
        model_version="sample",
        details=() if is_air else (_HEALTH[alert.kind],),
        time=alert.at,
    )


def _deliver(tx: sqlite3.Connection, engine: AlertEngine, at: float) -> None:
    for row in outbox.lease(tx, at, owner="sample", lease_s=60, limit=100, free=lambda _: 100):
        if outbox.mark_sent(tx, row, at):
            engine.record_delivery(tx, row, at)


def _wait(tx: sqlite3.Connection, engine: AlertEngine, until: float) -> None:
    for _ in range(1000):
        due = engine.next_deadline(tx)
        if due is None or due > until:
            return
        engine.on_time(tx, due)
        _deliver(tx, engine, due + 1.0)


_BATCH: Final = 20_000
_FINE_DAYS: Final = 2
_FRIDAY: Final = 4
_SILENT: Final = "n1-girls"
_SILENT_HOURS: Final = 17.8
"""Hours without a report from the silent sensor, up to the end of the last day."""
_DRIFTING: Final = "gym-locker"
_DRIFTING_DAYS: Final = 6
_DRIFT: Final = build_fact(Detail.DRIFT, quantity="pm25", days=7, amount=14.0, before=3.0)


def fill_series(
    config: PlumewatchConfig, first: date, last: date, alerts: list[Detection], rng: random.Random
) -> int:
    """Write sensor readings, and compute averages."""
    count, end = 0, to_unix_time(last, 0, config)
    with open_series(config) as series, show_progress("readings", len(config.sensor)) as update:
        for number, sensor in enumerate(config.sensor):
            mine = [alert for alert in alerts if alert.sensor == sensor.id]
            made = _make_readings(config, sensor.id, first, last, mine, rng)
            readings = (r for r in made if r.time <= _find_last_report(sensor.id, end))
            while batch := list(islice(readings, _BATCH)):
                series.write(batch)
                count += len(batch)
            update(completed=number + 1)
    return count


def _make_readings(
    config: PlumewatchConfig,
    sensor: str,
    first: date,
    last: date,
    alerts: list[Detection],
    rng: random.Random,
) -> Iterator[Reading]:
    busy = rng.uniform(0.8, 1.4)
    for number in range((last - first).days):
        day = first + timedelta(days=number)
        start = to_unix_time(day, 0, config)
        todays = [a for a in alerts if start <= a.at < start + 86_400]
        is_school = day.weekday() < 5
        dirt = 4.0 + 2.5 * math.sin(number / 9.0) + rng.uniform(-1, 1)
        times = {start + 900.0 * k for k in range(96)}
        if is_school:
            times |= {start + 25_200.0 + 120.0 * k for k in range(300)}
        for alert in todays:
            times |= {alert.at - 300.0 + 5.0 * k for k in range(240)}
        for at in sorted(times):
            hour = (at - start) / 3600
            people = busy if is_school and 7.5 <= hour <= 15.5 else 0.1
            plume = sum(_compute_plume(at, alert) for alert in todays)
            dust = 11.0 if sensor == _DRIFTING and (last - day).days <= _DRIFTING_DAYS else 0.0
            values = {
                "pm25": round(max(dirt + dust + people + rng.gauss(0, 0.4) + plume, 0.0), 1),
                "voc_index": round(95 + 15 * people + rng.gauss(0, 3) + plume / 5),
                "rh": round(41 + 3 * people + rng.gauss(0, 0.3), 1),
                "temp": round(21 + people + rng.gauss(0, 0.1), 1),
                "co2": round(430 + 380 * people + rng.gauss(0, 15)),
            }
            yield Reading(sensor, at, at + 0.4, values)


def _compute_plume(at: float, alert: Detection) -> float:
    age = at - alert.at + 12.0
    if age < 0 or alert.kind not in ("vape", "smoke"):
        return 0.0
    return alert.top * min(age / 8.0, 1.0) * math.exp(-max(age - 8.0, 0.0) / 120.0)


def _find_last_report(sensor: str, end: float) -> float:
    return end - _SILENT_HOURS * 3600.0 if sensor == _SILENT else end


class _ServiceRecords:
    """Records that a service would have written about the sensors, as of `now`."""

    def __init__(
        self, config: PlumewatchConfig, first: date, last: date, alerts: list[Detection]
    ) -> None:

        self._config, self._alerts = config, alerts
        self._start, self._end = to_unix_time(first, 0, config), to_unix_time(last, 0, config)
        self._sensors = config.build_registry().sensors
        self._now = self._start

    def make_records(self) -> Iterator[Record]:
        """Yield the records: hourly at first, and in the last days as often as the service does."""
        rooms = self._config.build_registry().rooms.values()
        recorder = StateRecorder(
            self._sensors,
            lambda: {name: self._count_readings(name) for name in self._sensors},
            name_rooms((r.id, r.name, r.floor, r.building) for r in rooms),
        )
        recorder.begin(self._start)
        fine = self._end - _FINE_DAYS * 86_400.0
        while self._now < self._end:
            self._now += 3600.0 if self._now < fine else 60.0
            yield from recorder.collect(self._now, self._describe_sensors(), self._list_faults())

    def _count_reports(self, sensor: str) -> int:
        """Return how often a sensor has reported."""
        return int(
            (min(self._now, _find_last_report(sensor, self._end)) - self._start)
            / self._sensors[sensor].interval_s
        )

    def _count_readings(self, sensor: str) -> dict[str, int]:
        missing = self._count_reports(sensor) // 36_000
        return {"received": self._count_reports(sensor) - missing, "missing": missing}

    def _describe_sensors(self) -> dict[str, SensorLife]:
        lives = {}
        for name, sensor in self._sensors.items():
            seen = min(self._now - 3.0, _find_last_report(name, self._end))
            state = SensorState.ALIVE if seen > self._now - 60.0 else SensorState.SILENT
            lives[name] = SensorLife(state, seen, sensor.interval_s, self._count_reports(name))
        return lives

    def _list_faults(self) -> dict[str, ActiveFaults]:
        drifts = self._end - _DRIFTING_DAYS * 86_400.0
        faults = ActiveFaults(1, False, (_DRIFT,), {Condition.DRIFTING: drifts})  # noqa: FBT003
        return {_DRIFTING: faults} if self._now > drifts else {}


def make_school(folder: Path, weeks: int, seed: int) -> list[Record]:
    """Write a school's data up to yesterday; the same seed and day give the same data.

    Returns the records of sensors and people on duty that a service would have written.
    """
    folder.mkdir(mode=0o700)
    path = folder / CONFIG
    text = re.sub(r"notify = .*\n", "", _SCHOOL.read_text(encoding="utf-8"))
    for before, after in _CHANGES:
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    config = load(path)
    last = datetime.fromtimestamp(time.time(), config.get_zone()).date()
    while (last - timedelta(days=1)).weekday() > _FRIDAY:  # end on a school day
        last -= timedelta(days=1)
    first = last - timedelta(weeks=weeks)
    rng = random.Random(f"{seed} {last}")  # noqa: S311 - made-up data
    alerts = list(make_up_detections(config, first, last, rng))
    incidents = fill_state(config, first, alerts, rng)
    readings = fill_series(config, first, last, alerts, rng)
    records = list(_ServiceRecords(config, first, last, alerts).make_records())
    with open_series(config) as series:
        series.record(records)
    echo(
        f"{folder}: {incidents} incidents and {readings:,} readings of a made-up school, {first} to"
        f" {last - timedelta(days=1)}. Try:\n"
        f"  plumewatch staff password administrator --generate --config {path}\n"
        f"  plumewatch run --config {path}\n"
        f"  plumewatch report summary --config {path} --from {first} --to {last} --format pdf"
    )
    return records


def main() -> None:
    """Make the requested school."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--weeks", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    make_school(asked.folder, asked.weeks, asked.seed)


if __name__ == "__main__":
    main()
