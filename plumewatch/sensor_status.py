"""State, counts and firmware of each sensor, stored over restarts.

Counts and states are stored with the detectors' snapshot once a minute. After a crash the readings
of the journal since then are counted again; duplicates of up to a minute are not. Firmware is
stored at once (`storage.firmware`). `plumewatch status` reads what is stored, whether or not the
service runs.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from alerts.consumer.detection_consumer import LIVENESS
from alerts.page.settings import SensorStatus
from detection.errors import SnapshotError
from detection.liveness import Liveness, SensorLife, SensorState
from ingest.reading_counts import CountKind, ReadingCounts
from storage import firmware, state
from storage.sqlite import transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.registry import Registry

log = logging.getLogger(__name__)

_COUNTS: Final = "sensor counts"
_BY_OFFSET: Final = "journal offset"
"""Marks counts with an offset; those of older versions have none."""
_RECORDED: Final = {
    "received": CountKind.READINGS,
    "missing": CountKind.MISSING,
    "duplicates": CountKind.DUPLICATE,
    "late": CountKind.LATE,
    "clock_faults": CountKind.CLOCK,
    "faulty": CountKind.FAULT,
    "unjudged": CountKind.UNJUDGED,
}
"""Fields of the ``sensor_health`` records of the series."""


def record_counts(registry: Registry, tally: ReadingCounts) -> dict[str, dict[str, int]]:
    """Return the counts of each registered sensor, by field of its records in the series."""
    return {
        name: {key: tally.of(name).get(kind, 0) for key, kind in _RECORDED.items()}
        for name in registry.sensors
    }


def sensor_statuses(
    registry: Registry,
    lives: Mapping[str, SensorLife],
    tally: ReadingCounts,
    versions: Mapping[str, str],
) -> dict[str, SensorStatus]:
    """Join life, counts and firmware of every registered sensor, in registry order."""
    statuses = {}
    for sensor in registry.sensors.values():
        life = lives.get(sensor.id) or SensorLife(SensorState.NEVER, None, sensor.interval_s, 0)
        statuses[sensor.id] = SensorStatus(
            life.state.value,
            life.last_seen,
            life.interval_s,
            tally.of(sensor.id),
            versions.get(sensor.id, ""),
        )
    return statuses


def save_counts(connection: sqlite3.Connection, body: bytes, offset: int) -> None:
    """Store what `ReadingCounts.snapshot` returned, for readings up to a journal offset."""
    with transaction(connection) as tx:
        state.set_snapshot(tx, _COUNTS, state.Snapshot(offset, _BY_OFFSET, body))


def restore_counts(
    connection: sqlite3.Connection, tally: ReadingCounts, registry: Registry
) -> int | None:
    """Continue the stored counts, and return the journal offset up to which they count.

    They begin at zero, and None is returned, if there are none, or none that can be read.
    """
    stored = state.snapshot(connection, _COUNTS)
    if stored is None:
        return None
    try:
        tally.restore(stored.body, registry.sensors)
    except msgspec.MsgspecError as error:
        log.warning("counts of the sensors begin at zero, what is stored is damaged: %s", error)
        return None
    return stored.position if stored.model_version == _BY_OFFSET else sys.maxsize


def stored_statuses(connection: sqlite3.Connection, registry: Registry) -> dict[str, SensorStatus]:
    """Return the statuses of the last snapshot of a service."""
    tally = ReadingCounts()
    restore_counts(connection, tally, registry)
    lives: Mapping[str, SensorLife] = {}
    stored = state.snapshot(connection, LIVENESS)
    if stored is not None:
        intervals = {s.id: s.interval_s for s in registry.sensors.values()}
        try:
            lives = Liveness.restore(stored.body, intervals).lives()
        except SnapshotError:
            lives = {}
    versions: Mapping[str, str] = {}
    with suppress(sqlite3.OperationalError):  # no table yet: written by an older program
        versions = firmware.versions(connection)
    return sensor_statuses(registry, lives, tally, versions)
