"""State, counts, firmware and failed polls of each sensor, stored over restarts.

Counts and states are stored with the detectors' snapshot once a minute. After a crash the readings
of the journal since then are counted again; duplicates of up to a minute are not.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from alerts.consumer.outages import LIVENESS
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
_POLLS: Final = "failing polls"
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

_Polls = dict[str, tuple[str, float]]


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
    failing_polls: Mapping[str, tuple[str, float]],
) -> dict[str, SensorStatus]:
    """Join what is known of every registered sensor, in registry order."""
    statuses = {}
    for sensor in registry.sensors.values():
        life = lives.get(sensor.id) or SensorLife(SensorState.NEVER, None, sensor.interval_s, 0)
        statuses[sensor.id] = SensorStatus(
            life.state.value,
            life.last_seen,
            life.interval_s,
            tally.of(sensor.id),
            versions.get(sensor.id, ""),
            *failing_polls.get(sensor.id, ()),
        )
    return statuses


def save_counts(
    connection: sqlite3.Connection,
    body: bytes,
    offset: int,
    failing_polls: Mapping[str, tuple[str, float]],
) -> None:
    """Store what `ReadingCounts.snapshot` returned, for readings up to a journal offset."""
    with transaction(connection) as tx:
        state.set_snapshot(tx, _COUNTS, state.Snapshot(offset, _BY_OFFSET, body))
        polls = msgspec.json.encode(failing_polls)
        state.set_snapshot(tx, _POLLS, state.Snapshot(0, "", polls))


def restore_counts(
    connection: sqlite3.Connection, tally: ReadingCounts, registry: Registry
) -> int | None:
    """Continue the stored counts; return the journal offset they reach, None if there are none."""
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
    polls = state.snapshot(connection, _POLLS)
    failing = msgspec.json.decode(polls.body, type=_Polls) if polls else {}
    return sensor_statuses(registry, lives, tally, versions, failing)
