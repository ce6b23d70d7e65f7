"""Commissioning tests: results by sensor, and the tests in progress."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from storage.journal import Snapshot, restore_snapshot, save_snapshot
from storage.sqlite import load_scripts

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from storage.registry import Sensor

COMPONENT: Final = "sensor_tests"
SCRIPTS: Final = load_scripts(__package__, COMPONENT)
_RUNNING: Final = "room tests"


class SensorTest(NamedTuple):
    """A sensor's test; `at` is when its first step began, and `result` is JSON.

    `is_right` means that vaping was detected in the puff step and in no other.
    """

    sensor: str
    at: float
    room: str
    is_right: bool
    who: str
    result: str

    @property
    def is_done(self) -> bool:
        """Whether the test passed, or the sensor at least sent valid particle values."""
        found = {} if self.is_right else json.loads(self.result)
        return self.is_right or (found["interval_s"] is not None and found["has_particles"])


class RunningTest(msgspec.Struct):
    """A test in progress, with the start of each step; `error` says why evaluation failed."""

    person: str
    silence: int
    starts: list[float]
    is_over: bool = False
    error: str = ""


def add_result(tx: sqlite3.Connection, result: Mapping[str, Any]) -> None:
    """Store the result of a test for each of its sensors, replacing an earlier evaluation."""
    at, room, who = float(result["steps"][0]["start"]), str(result["room"]), str(result["who"])
    tx.executemany(
        "INSERT OR REPLACE INTO sensor_test VALUES (?, ?, ?, ?, ?, ?)",
        [
            SensorTest(str(one["sensor"]), at, room, bool(one["right"]), who, json.dumps(one))
            for one in result["sensors"]
        ],
    )


def load_latest(connection: sqlite3.Connection) -> dict[str, SensorTest]:
    """Return the latest test of each sensor, by sensor."""
    rows = connection.execute(
        "SELECT sensor, max(at), room, is_right, who, result FROM sensor_test GROUP BY sensor"
    )
    tests = (SensorTest(*row) for row in rows)
    return {test.sensor: test._replace(is_right=bool(test.is_right)) for test in tests}


def find_valid_test(tests: Mapping[str, SensorTest], sensor: Sensor) -> SensorTest | None:
    """Return the latest test of a sensor if it was in the sensor's current room, or None."""
    found = tests.get(sensor.id)
    return found if found and found.room == sensor.room else None


def load_running(connection: sqlite3.Connection) -> dict[str, RunningTest]:
    """Return the tests in progress, by room."""
    decode = msgspec.json.Decoder(dict[str, RunningTest]).decode
    return restore_snapshot(connection, _RUNNING, lambda stored: decode(stored.body)) or {}


def save_running(tx: sqlite3.Connection, tests: Mapping[str, RunningTest]) -> None:
    """Store the tests in progress, by room."""
    save_snapshot(tx, _RUNNING, Snapshot(0, "", msgspec.json.encode(tests)))
