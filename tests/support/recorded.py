"""A recorded morning in three buildings; however it is processed, the alerts are the same.

It consists of simulated restrooms on a difficult day, and of events that devices report themselves.
"""

import functools
from types import MappingProxyType

import numpy as np
import polars as pl

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.policy import AlertPolicy
from detection.alert_rules import AlertBudgets
from detection.quantities import COLUMNS
from ingest.validation import may_alert
from sensor_sim.school import draw_school
from sensor_sim.simulate import simulate
from storage.journal import STATE_SCRIPTS
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.sqlite import connect, migrate

START = 1_789_387_200.0
HOURS = 0.75


SCHOOL = draw_school(3, 9, intervals=(2, 5))


@functools.cache
def registry() -> Registry:
    """Return the rooms and sensors of three buildings."""
    rooms = SCHOOL.restrooms
    return Registry.build(
        (
            Room(room.id, room.id, "1", ("North", "South", "Gym")[k % 3], "Lincoln High")
            for k, room in enumerate(rooms)
        ),
        (Sensor(d.id, room.id, d.model) for room in rooms for d in room.devices),
    )


@functools.cache
def recorded() -> tuple[Reading, ...]:
    """Return readings in order of arrival, with the devices' sequence numbers."""
    rows = []
    for chunk in simulate(
        SCHOOL,
        seed=3,
        start=START,
        duration_s=HOURS * 3600,
        activity="hard_restroom",
        vape_rate=6.0,
    ):
        for trace in chunk.traces:
            for k, at in enumerate(trace.sent.tolist()):
                row = trace.values[k]
                values = {
                    key: float(row[i]) for i, key in enumerate(COLUMNS) if np.isfinite(row[i])
                }
                if values:
                    rows.append((at, trace.sensor, values))
    rows.sort(key=lambda row: row[:2])
    return tuple(
        Reading(sensor, at, at, values, *_reports(k)) for k, (at, sensor, values) in enumerate(rows)
    )


def _reports(k: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the events that devices occasionally report themselves."""
    events = ("tamper",) if k % 4001 == 4000 else ("vendor_vape",) if k % 5003 == 5002 else ()
    return events, (("co2",) if 3000 < k % 9000 < 3900 else ())


def config_text(own=MappingProxyType({}), budget=2.0):
    """Return a configuration with these rooms; `own` has individual budgets by sensor."""
    lines = ['site = "Lincoln High"', 'timezone = "America/New_York"']
    lines += ["[detection]", f"false_alarms_per_sensor_week = {budget}"]
    for room in registry().rooms.values():
        lines += ["[[room]]", f'id = "{room.id}"', f'name = "{room.name} <b>"']
        lines += [f'building = "{room.building}"', f'floor = "{room.floor}"']
    for sensor in registry().sensors.values():
        lines += ["[[sensor]]", f'id = "{sensor.id}"', f'room = "{sensor.room}"']
        lines += [f'model = "{sensor.model}"']
        if sensor.id in own:
            lines += [f"false_alarms_per_week = {own[sensor.id]}"]
    return "\n".join(lines) + "\n"


def of_the_service(readings, budgets: AlertBudgets | None = None):
    """Return the events that the service finds in readings, in one process."""
    connection = connect(":memory:")
    migrate(connection, "state", STATE_SCRIPTS)
    migrate(connection, "alerts", schema.SCRIPTS)
    engine = AlertEngine(registry(), AlertPolicy(), replay=True)
    consumer = DetectionConsumer(connection, engine, may_alert, budgets=budgets)
    events = []
    for at in range(0, len(readings), 4000):
        batch = readings[at : at + 4000]
        events += consumer.process(batch, at + len(batch), now=None).events
    connection.close()
    return events


def read_evaluated(part):
    """Return the readings in a part of a history that detectors evaluate."""
    return pl.read_parquet(part, hive_partitioning=False).filter("evaluated")
