"""Made-up readings, health of sensors and state of the service.

Readings are every two minutes in school hours, every fifteen otherwise, every five seconds around
a detection. Health and state are by the hour, and as often as in service in the last two days. On
the last day one sensor is silent, and one drifts since the week before.
"""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from plumewatch.cli.printer import progress
from plumewatch.cli.sample_data.incidents import Detection, moment

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

    from plumewatch.config.model import PlumewatchConfig
    from storage.reading import Reading
    from storage.timeseries.records import Record

_BATCH: Final = 20_000
_FINE_DAYS: Final = 2
_SILENT: Final = "south-1-girls-1"
_SILENT_HOURS: Final = 17.8
"""Until the end of the last day."""
_DRIFTING: Final = "gym-locker-1"
_DRIFTING_DAYS: Final = 6
_DRIFT: Final = "the cleanest air of each of 7 days reads 14 µg/m³, it was 3: the sensor drifts"


def fill_series(
    config: PlumewatchConfig, first: date, last: date, alerts: list[Detection], rng: random.Random
) -> int:
    """Write readings and the health of sensors, and compute their averages."""
    from itertools import islice

    from plumewatch.service.data_folder import open_series
    from reports.rows import room_names

    count = 0
    end = moment(last, 0, config)
    names = room_names(
        (r.id, r.name, r.floor, r.building) for r in config.registry().rooms.values()
    )
    with open_series(config) as series, progress("readings", len(config.sensor)) as update:
        for number, sensor in enumerate(config.sensor):
            mine = [alert for alert in alerts if alert.sensor == sensor.id]
            made = _readings(config, sensor.id, first, last, mine, rng)
            readings = (r for r in made if r.time <= _heard_until(sensor.id, end))
            while batch := list(islice(readings, _BATCH)):
                series.add(batch)
                count += len(batch)
            series.record(_samples(sensor.id, mine))
            series.record(list(_health(config, sensor.id, sensor.room, names, first, last)))
            update(completed=number + 1)
        series.record(list(_pipeline(config, first, last, alerts)))
    return count


def _readings(
    config: PlumewatchConfig,
    sensor: str,
    first: date,
    last: date,
    alerts: list[Detection],
    rng: random.Random,
) -> Iterator[Reading]:
    from storage.reading import Reading

    busy = rng.uniform(0.8, 1.4)
    for number in range((last - first).days):
        day = first + timedelta(days=number)
        start = moment(day, 0, config)
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
            plume = sum(_plume(at, alert) for alert in todays)
            dust = 11.0 if sensor == _DRIFTING and (last - day).days <= _DRIFTING_DAYS else 0.0
            values = {
                "pm25": round(max(dirt + dust + people + rng.gauss(0, 0.4) + plume, 0.0), 1),
                "voc_index": round(95 + 15 * people + rng.gauss(0, 3) + plume / 5),
                "rh": round(41 + 3 * people + rng.gauss(0, 0.3), 1),
                "temp": round(21 + people + rng.gauss(0, 0.1), 1),
                "co2": round(430 + 380 * people + rng.gauss(0, 15)),
            }
            yield Reading(sensor, at, at + 0.4, values)


def _plume(at: float, alert: Detection) -> float:
    age = at - alert.at + 12.0
    if age < 0 or alert.kind not in ("vape", "smoke"):
        return 0.0
    return alert.top * min(age / 8.0, 1.0) * math.exp(-max(age - 8.0, 0.0) / 120.0)


def _heard_until(sensor: str, end: float) -> float:
    return end - _SILENT_HOURS * 3600.0 if sensor == _SILENT else end


def _samples(sensor: str, alerts: list[Detection]) -> list[Record]:
    """Return the class probabilities during detections in air."""
    from storage.timeseries.records import CLASSES, Record

    made = []
    for alert in alerts:
        if alert.kind not in CLASSES:
            continue
        for k in range(8):
            likely = 0.95 - 0.6 * math.exp(-k / 2)
            fields: dict[str, float | str] = dict.fromkeys(CLASSES, (1 - likely) / 5)
            fields |= {alert.kind: likely, "score": math.log(likely / (1 - likely))}
            at = alert.at - 12.0 + 10.0 * k
            made.append(Record("detection", at, {**fields, "onset": alert.at - 12.0}, sensor))
    return made


def _moments(
    config: PlumewatchConfig, first: date, last: date, every_s: float
) -> Iterator[tuple[float, float]]:
    """Yield the ends of hours, and of shorter periods at the end, with their lengths in seconds."""
    start, end = moment(first, 0, config), moment(last, 0, config)
    fine = end - _FINE_DAYS * 86_400.0
    for period, since, until in ((3600.0, start, fine), (every_s, fine, end)):
        for k in range(int((until - since) // period)):
            yield since + period * (k + 1) - 0.5, period


def _health(
    config: PlumewatchConfig,
    sensor: str,
    room: str,
    names: Mapping[str, str],
    first: date,
    last: date,
) -> Iterator[Record]:
    from alerts.outbound.sensor_conditions import Condition
    from storage.timeseries.records import Record

    end = moment(last, 0, config)
    heard, drifts = _heard_until(sensor, end), end - _DRIFTING_DAYS * 86_400.0
    before = Condition.OK
    for k, (at, period) in enumerate(_moments(config, first, last, 300.0)):
        condition, since = Condition.OK, moment(first, 0, config)
        if at > heard:
            condition, since = Condition.SILENT, heard
        elif sensor == _DRIFTING and at > drifts:
            condition, since = Condition.DRIFTING, drifts
        alive = float(condition is not Condition.SILENT)
        expected = alive * period / 5.0
        fields: dict[str, float | str] = {
            "state": "alive" if alive else "silent",
            "period_s": period,
            "online": alive,
            "online_s": alive * period,
            "interval_s": 5.0,
            "expected": expected,
            "received": expected - alive * (k % 50 == 0),
            "missing": alive * (k % 50 == 0),
            "last_seen": min(at - 3.0, heard),
            "faults": float(condition is Condition.DRIFTING),
            "tamper": 0.0,
            "level": 2.2,
            "expected_false_alarms": 0.3,
            "budget": 0.5,
            "firmware": "1.4.2",
            "firmware_since": moment(first, 0, config),
            "firmware_differs": 0.0,
            "condition": condition.value,
            "condition_since": since,
            "urgency": float(condition.urgency),
            "changed": float(condition is not before),
            "room_name": names[room],
            "room_choice": f"{names[room]} | {room}",
        }
        if condition is not before:
            fields["condition_before"] = before.value
        if condition is Condition.DRIFTING:
            fields["fault"] = _DRIFT
        before = condition
        yield Record("sensor_health", at, fields, sensor=sensor)


def _pipeline(
    config: PlumewatchConfig, first: date, last: date, alerts: list[Detection]
) -> Iterator[Record]:
    from storage.timeseries.records import Record

    sensors = len(config.sensor)
    for k, (at, period) in enumerate(_moments(config, first, last, 60.0)):
        there = datetime.fromtimestamp(at, config.zone())
        on_duty = 2 * (there.weekday() < 5 and 7 <= there.hour < 16)
        count = sensors * period / 5.0
        found = sum(at - period < alert.at <= at for alert in alerts)
        counted = dict.fromkeys(
            ("messages", "accepted", "acknowledged", "detected", "stored"), count
        )
        nothing = ("rejected", "duplicates", "dropped", "broker_dropped", "refused", "outbox")
        yield Record(
            "pipeline",
            at,
            {
                **counted,
                **dict.fromkeys((*nothing, "deleted_unread", "delivery_failures"), 0.0),
                **dict.fromkeys(("annotation_failures", "annotations_refused"), 0.0),
                **dict.fromkeys(("annotations_waiting", "detector_lag", "outbox_oldest_s"), 0.0),
                "period_s": period,
                "missing": float(k % 90 == 0),
                **dict.fromkeys(("events", "alerts", "annotations"), float(found)),
                "delivered": 2.0 * found,
                "commits": period,
                "commit_ms": 1.5 + 0.3 * math.sin(k / 40),
                "detector_lag_s": 0.1,
                "series_lag": 2.0,
                "records_waiting": 2.0,
                "duty_s": on_duty * period,
                "open_incidents": 0.0,
                "dead_letters": 0.0,
                "sensors_alive": float(sensors),
                "sensors": float(sensors),
                "ready": 1.0,
                "canary_ms": 2.4 + 0.4 * math.sin(k / 25),
                "version": "made-up",
            },
        )
