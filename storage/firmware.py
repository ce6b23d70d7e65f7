"""Which firmware each sensor runs; in the state database.

A version is recorded in the transaction that moves the journal cursor past the reading that reports
it, so it is recorded exactly once, whatever crashes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from storage.sqlite import load_scripts

if TYPE_CHECKING:
    import sqlite3

COMPONENT: Final = "firmware"
SCRIPTS: Final = load_scripts(__package__, COMPONENT)


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
    """Return the firmware of each sensor that has reported one."""
    rows = connection.execute("SELECT sensor, version, since FROM sensor_firmware")
    return {sensor: Firmware(version, since) for sensor, version, since in rows}


def versions(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the firmware version of each sensor that has reported one."""
    return {sensor: each.version for sensor, each in current(connection).items()}
