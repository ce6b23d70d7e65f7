"""Simulate half a day at a school, and store its readings and incidents in the series.

Readings come from the simulator, reduced to one every ten seconds. The production code makes the
detections, incidents, notices and records of sensor health; this module makes up the answers, the
sensors' faults and the missing readings. All data ends now, because dashboards show recent data.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents.incident import Verdict
from alerts.outbound import series_records
from alerts.outbound.sensor_conditions import ActiveFaults, Condition
from alerts.outbound.state_summary import StateRecorder
from alerts.policy import AlertPolicy, StaffMember
from alerts.secrets import Secret
from detection.events import Detail, EventKind, EventPhase
from detection.liveness import SensorLife, SensorState
from detection.quantities import COLUMNS
from ingest.validation import may_alert
from language.messages import build_fact
from plumewatch.service.data_folder import prepare_state
from reports.rows import DutySpan
from sensor_sim.school import School
from sensor_sim.simulate import simulate
from storage import audit
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.sqlite import connect, transaction
from tests.support.alert_records import deliver
from tests.support.events import make_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from storage.timeseries import Series
    from storage.timeseries.records import Record

__all__ = ["SILENT", "ZONE", "SimulatedSchool", "simulated_school"]

ZONE = "America/New_York"
SILENT = "gym-1-staff-a"
"""A sensor that went silent an hour before the end."""
_TAMPERED = "gym-1-locker-b"
_DECORATED = "main-2-boys-b"
_SIMULATED = 1_789_390_800.0  # 2026-09-14T13:00:00Z, a Monday
_THINNED_S = 10.0
_BATCH = 500
_FROZEN = build_fact(Detail.FROZEN, quantity="pm25", amount=7.0, time=1800.0)
_COUNTED = ("received", "missing")
_LATE = (
    (_TAMPERED, EventKind.TAMPER, (build_fact(Detail.TAMPERED),), 5_400.0, 0.0),
    (SILENT, EventKind.SENSOR_FAULT, (_FROZEN,), 5_300.0, 0.0),
    ("main-2-girls-a", EventKind.VAPE, (), 900.0, 20.0),
    ("main-2-girls-a", EventKind.VAPE, (), 680.0, 20.0),  # during the previous one's cooldown
    ("main-1-girls-a", EventKind.VAPE, (), 90.0, 0.0),  # still continues
)
"""Sensor, kind, details, seconds before the end, duration in seconds (0 if it continues)."""
_VERDICTS = (Verdict.CONFIRMED, Verdict.FALSE_ALARM, None, Verdict.CONFIRMED, Verdict.NOTHING_FOUND)
_CAUSES = ("spray", "steam")
_POLICY = AlertPolicy(
    staff=(
        StaffMember("ap", "A. Principal", "staff", (Secret("json://127.0.0.1:9/ap"),)),
        StaffMember("fm", "F. Manager", "facilities", (Secret("json://127.0.0.1:9/fm"),)),
    ),
    zone=ZONE,
)
"""Not part of the school's data, because addresses cannot be pickled."""


class SimulatedSchool(NamedTuple):
    """The data to store, and the incidents' database.

    Attributes
    ----------
    registry : Registry
    readings : list of Reading
    records : list of Record
    database : Path
        State database.
    start, end : float
        Start and end of the data, Unix seconds.
    """

    registry: Registry
    readings: list[Reading]
    records: list[Record]
    database: Path
    start: float
    end: float

    @property
    def policy(self) -> AlertPolicy:
        """Return the school's alert policy."""
        return _POLICY

    def on_duty(self, start: float, end: float) -> list[DutySpan]:
        """Return duty spans: one person in two overlapping shifts, one since before the start."""
        return _on_duty(self.end, start, end)

    def store(self, series: Series) -> None:
        """Write all data into an open store."""
        for i in range(0, len(self.readings), 5_000):
            series.write(self.readings[i : i + 5_000])
        for i in range(0, len(self.records), 5_000):
            series.record(self.records[i : i + 5_000])


def simulated_school(folder: Path, hours: float = 12.0, seed: int = 3) -> SimulatedSchool:
    """Simulate the school; the data is always the same, shifted to end now."""
    end = time.time() // 60 * 60
    start = end - hours * 3600.0
    readings = list(_thinned(_simulated(hours, seed), start - _SIMULATED, end))
    registry = _registry({r.sensor for r in readings})
    database = folder / "state.db"
    records = _judged(database, registry, readings, start, end)
    records += _service(registry, readings, start, end)
    return SimulatedSchool(registry, readings, records, database, start, end)


def _simulated(hours: float, seed: int) -> Iterator[Reading]:
    for chunk in simulate(
        School.make_small(), seed=seed, start=_SIMULATED, duration_s=hours * 3600, activity="demo"
    ):
        rows = (
            (at, trace.sensor, row)
            for trace in chunk.traces
            for at, row in zip(trace.sent.tolist(), trace.values, strict=True)
        )
        for at, sensor, row in sorted(rows, key=lambda row: row[:2]):
            measured = {k: float(v) for k, v in zip(COLUMNS, row, strict=True) if math.isfinite(v)}
            if measured:
                yield Reading(sensor, at, at, measured)


def _thinned(readings: Iterator[Reading], shift_s: float, end: float) -> Iterator[Reading]:
    last: dict[str, float] = {}
    for recorded in readings:
        reading = structs.replace(recorded, time=recorded.time + shift_s)
        if reading.time - last.get(reading.sensor, 0.0) < _THINNED_S or reading.time > end - 5:
            continue
        if reading.sensor == SILENT and reading.time > end - 3600:
            continue
        last[reading.sensor] = reading.time
        values = dict(reading.values)
        if reading.sensor == _DECORATED:  # with quantities that no simulated device reports
            values |= {"battery": round(60.0 - (reading.time % 86_400) / 8_640), "rssi": -71.0}
            values |= {"co": 0.4, "light": 180.0 + reading.time % 60}
        yield structs.replace(reading, received=reading.time + 0.4, values=values)


def _registry(sensors: set[str]) -> Registry:
    rooms, found = {}, []
    for sensor in sorted(sensors):
        room = sensor.rpartition("-")[0]
        building, floor, _ = room.split("-")
        rooms[room] = Room(room, room, floor, building.capitalize(), "Lincoln High")
        every = 300.0 if sensor == _DECORATED else 30.0 if sensor == SILENT else _THINNED_S
        found.append(
            Sensor(sensor, room, "sen55" if sensor.endswith("a") else "pms5003", "", every)
        )
    return Registry.build(rooms.values(), found)


def _judged(
    database: Path,
    registry: Registry,
    readings: list[Reading],
    start: float,
    end: float,
) -> list[Record]:
    """Detect, alert, deliver and answer; return the resulting records for the series."""
    connection = connect(database)
    prepare_state(connection)
    with transaction(connection) as tx:
        audit.append(tx, audit.AuditKind.START, "service", {}, start)
    engine = AlertEngine(registry, _POLICY)
    consumer = DetectionConsumer(connection, engine, may_alert)
    late = {sensor for sensor, *_ in _LATE}
    feed = (r for r in readings if r.sensor not in late or r.time < end - 7_200.0)
    done, answered = 0, 0
    while batch := list(islice(feed, _BATCH)):
        done += len(batch)
        for alert in consumer.process(batch, done, None).alerts:
            with transaction(connection) as tx:
                _answer(tx, engine, alert.incident, alert.alerted, answered)
            answered += 1
    for sensor, kind, details, ago_s, lasts_s in _LATE:
        at = end - ago_s
        event = make_event(
            at, sensor, kind, onset=at - 10, confidence=0.93, evidence={}, details=details
        )
        with transaction(connection) as tx:
            engine.on_events(tx, [event], at)
            deliver(tx, engine, at, 0.8)
            if lasts_s:
                over = at + lasts_s
                ended = replace(event, phase=EventPhase.ENDED, end=over, time=over)
                engine.on_events(tx, [ended], over)
                engine.on_time(tx, over + 150)
    connection.close()
    found: list[Record] = []

    class Kept:
        repairs = 0

        def record(self, records: list[Record]) -> None:
            found.extend(records)

    due = series_records.DueRecords(database, Kept())
    after = 0
    while True:
        entries, position = due.read(after, 1_000)
        if position == after:
            break
        due.write([entry.record for entry in entries], position)
        after = position
    due.close()
    return found


def _answer(tx, engine: AlertEngine, incident: str, at: float, number: int) -> None:
    deliver(tx, engine, at, 0.8 + number % 4 * 0.5)
    if number % 4 != 3:
        engine.acknowledge(tx, incident, "ap", at + 35.0 + 40.0 * (number % 5))
        if number % 4 != 1:
            engine.arrive(tx, incident, "ap", at + 95.0 + 60.0 * (number % 5))
    verdict = _VERDICTS[number % len(_VERDICTS)]
    if verdict is not None:
        cause = _CAUSES[number % 2] if verdict is Verdict.FALSE_ALARM else ""
        engine.record_feedback(tx, incident, "ap", verdict, at + 400.0, cause=cause)


def _service(
    registry: Registry,
    readings: list[Reading],
    start: float,
    end: float,
) -> list[Record]:
    """Return the records that a service would write about its sensors, minute by minute."""
    counts = {name: Counter(dict.fromkeys(_COUNTED, 0)) for name in registry.sensors}
    faults = {
        SILENT: ActiveFaults(1, tampered=False, details=(_FROZEN,), since={}),
        _TAMPERED: ActiveFaults(0, True, (), {Condition.TAMPERED: end - 5_400}),
    }
    last: dict[str, float] = {}
    recorder = StateRecorder(
        registry.sensors,
        lambda: {name: dict(found) for name, found in counts.items()},
        {room.id: f"Room {room.id}" for room in registry.rooms.values()},
    )
    recorder.begin(start)
    found: list[Record] = []
    minutes: list[list[Reading]] = [[] for _ in range(int((end - start) // 60))]
    for reading in readings:
        minutes[min(int((reading.time - start) // 60), len(minutes) - 1)].append(reading)
    for k, arrived in enumerate(minutes):
        now = start + 60.0 * (k + 1)
        for reading in arrived:
            counts[reading.sensor]["received"] += 1
            last[reading.sensor] = reading.received
        for n, name in enumerate(counts):
            counts[name].update(missing=k % 35 == n)
        active = faults if now > end - 5_300 else {}
        found += recorder.collect(now, _lives(registry, last, now, start), active)
    return found


def _lives(
    registry: Registry, last: Mapping[str, float], now: float, start: float
) -> dict[str, SensorLife]:
    lives = {}
    for sensor in registry.sensors.values():
        silent = now - last.get(sensor.id, start) > 3 * sensor.interval_s + 60
        state = SensorState.SILENT if silent else SensorState.ALIVE
        expected = int((now - start) / sensor.interval_s)
        lives[sensor.id] = SensorLife(state, last.get(sensor.id), sensor.interval_s, expected)
    return lives


def _on_duty(now: float, start: float, end: float) -> list[DutySpan]:
    spans = [("ap", 5.0, 1.0), ("ap", 2.5, 0.5), ("fm", 400.0, 0.0)]
    found = [
        DutySpan(who, max(start, now - 3600 * since), min(end, now - 3600 * until))
        for who, since, until in spans
    ]
    return [span for span in found if span.start < span.end]
