"""State and counts of each sensor, kept across restarts.

Counts and states are stored with the detectors' snapshot once a minute. After a crash, the readings
since then are counted again from the journal; the counts of up to a minute's duplicates are lost.
"""

from __future__ import annotations

import logging
import math
from contextlib import closing
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from alerts.consumer.detection_consumer import Outages
from alerts.page.settings import SensorStatus
from detection.liveness import LivenessSettings, SensorLife, SensorState
from ingest.integrity import CountKind, ReadingCounts
from ingest.validation import fold_id
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import build_series
from storage.errors import StorageError
from storage.files import find_service_start
from storage.journal import JournalReader, Snapshot, restore_snapshot, save_snapshot
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ingest.http.poll import PollFailure
    from plumewatch.config.model import PlumewatchConfig
    from storage.journal import JournalEntry
    from storage.registry import Registry

log = logging.getLogger(__name__)

_COUNTS: Final = "sensor counts"
_BATCH: Final = 2_000
_MAX_SINCE: Final = 500_000
"""Maximum number of readings counted since the last snapshot; a service saves one every minute."""
_LATEST: Final = 20_000
_BLIND_S: Final = 86_400.0
"""How long a working sensor can go without particle readings before this is reported."""
_RECORDED: Final = {"received": CountKind.READINGS, "missing": CountKind.MISSING}
"""Fields of the ``sensor_health`` records of the series."""


def count_for_records(registry: Registry, tally: ReadingCounts) -> dict[str, dict[str, int]]:
    """Return the counts of each registered sensor, by field of its records in the series."""
    return {
        name: {key: tally.get_counts(name).get(kind, 0) for key, kind in _RECORDED.items()}
        for name in registry.sensors
    }


def build_statuses(
    registry: Registry,
    lives: Mapping[str, SensorLife],
    tally: ReadingCounts,
    polls: Mapping[str, PollFailure] = MappingProxyType({}),
) -> dict[str, SensorStatus]:
    """Return the status of each registered sensor; `polls` lists failing polls."""
    statuses = {}
    for sensor in registry.sensors.values():
        life = lives.get(sensor.id) or SensorLife(SensorState.NEVER, None, sensor.interval_s, 0)
        since = tally.get_particles_stopped_at(sensor.id)
        is_blind = since is not None and (life.last_seen or 0.0) - since > _BLIND_S
        statuses[sensor.id] = SensorStatus(
            state=life.state.value,
            last_seen=life.last_seen,
            interval_s=life.interval_s,
            counts=tally.get_counts(sensor.id),
            no_particles_since=since if is_blind else None,
            unlikely=tally.unlikely.list_quantities(sensor.id),
            poll_error=polls[sensor.id].reason if sensor.id in polls else "",
            poll_failing_since=polls[sensor.id].since if sensor.id in polls else None,
        )
    return statuses


def save_counts(connection: sqlite3.Connection, counts: bytes, offset: int) -> None:
    """Store the counts of readings up to a journal offset (`ReadingCounts.snapshot`)."""
    with transaction(connection) as tx:
        save_snapshot(tx, _COUNTS, Snapshot(offset, "", counts))


def restore_counts(
    connection: sqlite3.Connection, tally: ReadingCounts, registry: Registry
) -> int | None:
    """Continue the stored counts; return the journal offset they reach, or None if none exist."""

    def restore(stored: Snapshot) -> int:
        tally.restore(stored.body, registry.sensors)
        return stored.position

    return restore_snapshot(connection, _COUNTS, restore)


def read_statuses(
    connection: sqlite3.Connection, config: PlumewatchConfig
) -> dict[str, SensorStatus]:
    """Return the statuses from the service's last snapshot, updated by later readings."""
    registry, paths = config.build_registry(), DataPaths(config.data_dir)
    tally = ReadingCounts()
    outages = Outages({s.id: s.interval_s for s in registry.sensors.values()}, LivenessSettings())
    evaluated = outages.open(connection)
    counted = restore_counts(connection, tally, registry) or 0
    started = find_service_start(paths.lock) or math.inf
    for entry in read_newest(paths.journal, _MAX_SINCE, min(evaluated, counted)):
        if entry.offset > counted and entry.reading.sensor in registry.sensors:
            tally.add(entry.reading)
        if entry.reading.received >= started:
            outages.liveness.skip_gap()
            started = math.inf
        if entry.offset > evaluated:
            outages.step([entry.reading])
    found = build_statuses(registry, outages.liveness.get_liveness(), tally)
    seen = _read_latest(config)
    return {sensor: status.merge_stored(seen.get(sensor)) for sensor, status in found.items()}


def _read_latest(config: PlumewatchConfig) -> Mapping[str, float]:
    """Return the time of each sensor's newest stored reading; empty without a store."""
    paths = DataPaths(config.data_dir)
    if not (paths.series.exists() or paths.influx.exists()):
        return {}
    series = build_series(config, paths)
    try:
        with closing(series):
            series.open()
            return {sensor: found.time for sensor, found in series.read_latest().items()}
    except StorageError as error:
        log.warning("the time series cannot be read: %s", error)
        return {}


def find_unregistered(config: PlumewatchConfig) -> tuple[list[str], list[str]]:
    """Return the unregistered sensors among the latest readings, and closed schools' sensors."""
    journal, closed = DataPaths(config.data_dir).journal, config.list_closed_names()
    latest = (entry.reading for entry in read_newest(journal, _LATEST))
    found = {reading.sensor for reading in latest if "unknown_sensor" in reading.flags}
    former = {name for name in found if fold_id(name) in closed}
    return sorted(found - former - config.build_registry().sensors.keys()), sorted(former)


def read_newest(journal: Path, most: int, after: int = 0) -> Iterator[JournalEntry]:
    """Yield the newest entries after an offset, at most `most`; none without a journal."""
    if not journal.exists():
        return
    with JournalReader(journal) as reader:
        _, last = reader.get_span()
        at = max(after, last - most)
        while at < last:
            entries, at = reader.read(at, _BATCH)
            yield from entries
