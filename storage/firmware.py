"""Which firmware each sensor runs; in the state database.

A version is noted in the transaction that commits the cursor in the journal behind the reading
that reports it, so it is there once, whatever crashes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from storage.sqlite import schema_scripts

if TYPE_CHECKING:
    import sqlite3

COMPONENT: Final = "firmware"
SCRIPTS: Final = schema_scripts(__package__, COMPONENT)


class Firmware(NamedTuple):
    """Version that a sensor reports, and since when, Unix seconds."""

    version: str
    since: float


def note(tx: sqlite3.Connection, sensor: str, version: str, at: float) -> None:
    """Record a version that a sensor reports at `at`, Unix seconds, unless it is known."""
    tx.execute(
        "INSERT INTO sensor_firmware VALUES (?, ?, ?) ON CONFLICT (sensor) DO UPDATE"
        " SET version = excluded.version, since = excluded.since"
        " WHERE version <> excluded.version",
        (sensor, version, at),
    )


def current(connection: sqlite3.Connection) -> dict[str, Firmware]:
    """Return what each sensor runs, by sensor; one that never reported is not among them."""
    rows = connection.execute("SELECT sensor, version, since FROM sensor_firmware")
    return {sensor: Firmware(version, since) for sensor, version, since in rows}


def versions(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the version that each sensor runs, by sensor."""
    return {sensor: each.version for sensor, each in current(connection).items()}
