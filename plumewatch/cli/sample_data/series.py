"""Made-up readings and health of sensors.

Readings are every two minutes in school hours, every fifteen otherwise, every five seconds around
a detection.
"""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from plumewatch.cli.printer import progress
from plumewatch.cli.sample_data.incidents import Detection, moment

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from plumewatch.config.model import PlumewatchConfig
    from storage.reading import Reading
    from storage.timeseries.records import Record

_BATCH: Final = 20_000


def fill_series(
    config: PlumewatchConfig, first: date, last: date, alerts: list[Detection], rng: random.Random
) -> int:
    """Write readings and the health of sensors, and compute their averages."""
    from itertools import islice

    from plumewatch.service.data_folder import open_series

    count = 0
    with open_series(config) as series, progress("readings", len(config.sensor)) as update:
        for number, sensor in enumerate(config.sensor):
            mine = [alert for alert in alerts if alert.sensor == sensor.id]
            readings = _readings(config, sensor.id, first, last, mine, rng)
            while batch := list(islice(readings, _BATCH)):
                series.add(batch)
                count += len(batch)
            series.record(list(_health(config, sensor.id, first, last)))
            update(completed=number + 1)
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
            values = {
                "pm25": round(max(dirt + people + rng.gauss(0, 0.4) + plume, 0.0), 1),
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


def _health(config: PlumewatchConfig, sensor: str, first: date, last: date) -> Iterator[Record]:
    from storage.timeseries.records import Record

    start, hours = moment(first, 0, config), (last - first).days * 24
    for k in range(hours):
        fields: dict[str, float | str] = {
            "period_s": 3600.0,
            "online_s": 3600.0,
            "interval_s": 5.0,
            "expected": 720.0,
            "received": 720.0 - (k % 50 == 0),
            "missing": float(k % 50 == 0),
        }
        yield Record("sensor_health", start + 3600.0 * (k + 1) - 0.5, fields, sensor=sensor)
