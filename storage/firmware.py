"""Which firmware each sensor runs, and what it ran before; in the state database.

A version is noted in the transaction that commits the cursor in the journal behind the reading
that reports it, so it is there once, whatever crashes. Of each sensor the last `KEPT` are kept: one
that names another version every minute fills nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from storage.sqlite import schema_scripts
from storage.timeseries.records import Record

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from storage.registry import Sensor

COMPONENT: Final = "firmware"
CHANGED: Final = "firmware"
"""Kind of the event that a version changed."""
KEPT: Final = 20
SCRIPTS: Final = schema_scripts(__package__, COMPONENT)

_VERSIONS: Final = (
    "SELECT sensor, version, since,"
    " coalesce(lag(version) OVER (PARTITION BY sensor ORDER BY id), '') AS before, id"
    " FROM sensor_firmware"
)


class Firmware(NamedTuple):
    """Version that a sensor reports, since when (Unix seconds), and the one before, if known."""

    sensor: str
    version: str
    since: float
    before: str = ""

    @property
    def sentence(self) -> str:
        """Say in words what changed."""
        return f"firmware {self.before} → {self.version}"


def note(tx: sqlite3.Connection, sensor: str, version: str, at: float) -> Firmware | None:
    """Record a version that a sensor reports at `at`, Unix seconds; None if it is known."""
    row = tx.execute(
        "SELECT version FROM sensor_firmware WHERE sensor = ? ORDER BY id DESC LIMIT 1", (sensor,)
    ).fetchone()
    before = "" if row is None else str(row[0])
    if version == before:
        return None
    tx.execute(
        "INSERT INTO sensor_firmware (sensor, version, since) VALUES (?, ?, ?)",
        (sensor, version, at),
    )
    tx.execute(
        "DELETE FROM sensor_firmware WHERE sensor = ?1 AND id <= (SELECT id FROM sensor_firmware"
        " WHERE sensor = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (sensor, KEPT),
    )
    return Firmware(sensor, version, at, before)


def current(connection: sqlite3.Connection) -> dict[str, Firmware]:
    """Return what each sensor runs, by sensor; one that never reported is not among them."""
    rows = connection.execute(
        f"SELECT sensor, version, since, before FROM ({_VERSIONS})"  # noqa: S608 - a constant
        " GROUP BY sensor HAVING id = max(id)"
    )
    return {row[0]: Firmware(*row) for row in rows}


def versions(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the version that each sensor runs, by sensor."""
    return {sensor: each.version for sensor, each in current(connection).items()}


def unlike_others(sensors: Iterable[Sensor], reported: Mapping[str, Firmware]) -> set[str]:
    """Return the sensors that run another version than most of their model.

    Of equally frequent versions the one that appeared last counts as that of the model: sensors are
    being brought to it. Sensors without a model or version are not compared.
    """
    models: defaultdict[str, list[Firmware]] = defaultdict(list)
    for sensor in sensors:
        if sensor.model and sensor.id in reported:
            models[sensor.model].append(reported[sensor.id])
    found = set()
    for run in models.values():
        count = Counter(each.version for each in run)
        since = {each.version: each.since for each in sorted(run, key=lambda f: -f.since)}
        usual = max(count, key=lambda version: (count[version], since[version]))
        found |= {each.sensor for each in run if each.version != usual}
    return found


def record(change: Firmware, room: str) -> Record:
    """Return the event, for the series, that a sensor's firmware changed."""
    return Record(
        "event",
        change.since,
        {
            "alerted": change.since,
            "end": change.since,
            "phase": "ended",
            "sentence": change.sentence,
            "detail": f"{change.before} → {change.version}",
        },
        sensor=change.sensor,
        room=room,
        kind=CHANGED,
        id=f"{CHANGED} {change.sensor} {change.since:.3f}",
    )
