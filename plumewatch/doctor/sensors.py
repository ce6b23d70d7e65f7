"""The sensors: which are silent, report too seldom to see a puff, or alarm too often."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

from alerts.consumer.threshold_adjustments import load_thresholds
from plumewatch.config.paths import DataPaths
from plumewatch.doctor.finding import Finding, fine, warn
from plumewatch.doctor.holder import holder
from plumewatch.service.sensor_counts import stored_statuses
from storage.errors import StorageError
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from alerts.page.settings import SensorStatus
    from plumewatch.config.model import PlumewatchConfig

T = TypeVar("T")
_SEEN_WELL_S: Final = 10.0
"""A puff lasts some thirty seconds at the sensor: three readings of it."""
_PUFF_S: Final = 30.0
_LEAST_SILENCE_S: Final = 60.0
_NEVER: Final = "was never heard, as of a look up to a minute ago"
_LISTED: Final = 8


def sensor_findings(config: PlumewatchConfig, now: float) -> Iterator[Finding]:
    """Look at what the service has stored of its sensors.

    Parameters
    ----------
    now : float
        Unix seconds.
    """
    statuses = _stored(config, lambda db: stored_statuses(db, config.registry())) or {}
    if statuses:
        yield from _silence(config, statuses, now)
    learnt = {name: found.interval_s for name, found in statuses.items()}
    yield from interval_findings(learnt or {s.id: s.interval_s for s in config.sensor})
    yield from _stored(config, lambda db: list(_budgets(config, db))) or ()


def _stored(config: PlumewatchConfig, read: Callable[[sqlite3.Connection], T]) -> T | None:
    """Read from the state database; None where there is none, or one of an older version."""
    path = DataPaths(config.data_dir).state
    if not path.exists():
        return None
    try:
        with closing(connect(path, read_only=True)) as db:
            return read(db)
    except (StorageError, sqlite3.Error):
        return None  # what is damaged is said with the store


def _silence(
    config: PlumewatchConfig, statuses: Mapping[str, SensorStatus], now: float
) -> Iterator[Finding]:
    heard = {name: s.heard for name, s in statuses.items() if s.heard is not None}
    if holder(config) is None:  # the newest reading is as long as the service listened
        now = max(heard.values(), default=now)
    quiet = {}
    for name, status in statuses.items():
        allowed = max(config.alerts.offline_after * status.interval_s, _LEAST_SILENCE_S)
        if name not in heard or now - heard[name] > allowed:
            quiet[name] = heard.get(name)
    for name, at in list(quiet.items())[:_LISTED]:
        since = _NEVER if at is None else f"has been silent for {_span(now - at)}"
        yield warn(
            f"sensor: {name}",
            since,
            f"its power, its network, and that it publishes as {name!r}: mosquitto_sub -v -t '#';"
            " plumewatch dead-letters; plumewatch status",
        )
    if len(quiet) > _LISTED:
        yield warn(
            "sensors",
            f"{len(quiet) - _LISTED} further ones are silent too",
            "plumewatch status; many at once share a gateway, a switch or the broker's account",
        )
    if statuses and not quiet:
        yield fine("sensors", f"all {len(statuses)} report")


def interval_findings(intervals: Mapping[str, float]) -> Iterator[Finding]:
    """Say which sensors report too seldom to see a puff rise and fall.

    Parameters
    ----------
    intervals : mapping of str to float
        Seconds between reports, by sensor.
    """
    for least, most, what in (
        (_PUFF_S, float("inf"), "a puff lasts some 30 s at the sensor, so most are missed"),
        (_SEEN_WELL_S, _PUFF_S, "one or two readings of a puff: many are missed, alerts are late"),
    ):
        slow = sorted(name for name, every in intervals.items() if least < every <= most)
        if slow:
            longest = max(intervals[name] for name in slow)
            listed = ", ".join(slow[:_LISTED]) + ", ..." * (len(slow) > _LISTED)
            yield warn(
                "interval",
                f"{listed}: a reading each {longest:.0f} s; {what}",
                "1 to 10 s on the device (docs/devices.md says where), and interval_s of its"
                " [[sensor]]; its own alarms, if it has any, come at once",
            )


def _budgets(config: PlumewatchConfig, db: sqlite3.Connection) -> Iterator[Finding]:
    """Budgets of false alarms that cannot be kept."""
    found = load_thresholds(db)
    for sensor in config.sensor:
        report = found.get(sensor.id)
        if report is None or report.within_budget:
            continue
        why = "at the highest level allowed" if report.at_bound else "as feedback lowered its level"
        yield warn(
            f"level: {sensor.id}",
            f"{report.expected:.1f} false alarms a week are to be expected {why},"
            f" {report.budget:g} are tolerable",
            "find what sets it off (the causes of its incidents on the staff page), move it, or"
            f" tolerate more: false_alarms_per_week = {report.expected:.1f}",
        )


def _span(seconds: float) -> str:
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
