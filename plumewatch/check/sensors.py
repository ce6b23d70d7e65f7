"""Check the sensors' stored states: silence, unregistered ids, particles, units, intervals."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from detection.commissioning import PUFF_S, SEEN_WELL_S
from detection.quantities import describe_unit
from plumewatch.check.result import CheckResult, format_span, list_places, merge_places, ok, warn
from plumewatch.config.paths import DataPaths
from plumewatch.sensor_status import find_unregistered, read_statuses
from storage.errors import StorageError
from storage.files import find_service_start
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from alerts.page.settings import SensorStatus
    from plumewatch.config.model import PlumewatchConfig

_MIN_SILENCE_S: Final = 60.0
_UNITS: Final = (
    "find the unit in the data sheet, and name it in a [[mapping]]: plumewatch mapping suggest;"
    " docs/mappings.md"
)


def check_sensors(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check the sensors' states as the service stored them."""
    statuses, unregistered, of_closed = _read_statuses(config)
    if statuses:
        yield from _check_silence(config, statuses, now)
    if unregistered:
        yield warn(
            "sensors",
            f"{list_places(unregistered)}: readings arrive, but no [[sensor]] has this id",
            "correct the id on the device or in the configuration, or add a [[sensor]]",
        )
    if of_closed:
        text = f"{list_places(of_closed)}: still publish, but their school is closed"
        yield warn("sensors", text, "switch them off, or move their lines to another school")
    blind = [name for name, found in statuses.items() if found.no_particles_since is not None]
    if blind:
        yield warn(
            "sensors",
            f"{list_places(blind)}: no particles for a day or longer, so vaping is not"
            " detected there, except by the device's own alarm",
            "check the particle sensor, and that its format or mapping reads particles:"
            " plumewatch status; docs/devices.md; docs/mappings.md",
        )
    yield from merge_places(
        (name, warn("units", describe_unit(key), _UNITS))
        for name, found in statuses.items()
        for key in found.unlikely
    )
    measured = {name: found.interval_s for name, found in statuses.items()}
    yield from check_intervals(
        measured or {s.id: s.interval_s for s in config.build_registry().sensors.values()}
    )


def _read_statuses(
    config: PlumewatchConfig,
) -> tuple[Mapping[str, SensorStatus], list[str], list[str]]:
    """Read the stored statuses, the unregistered sensors, and the sensors of closed schools.

    They are empty if the database can't be read, which `check_store` reports.
    """
    paths = DataPaths(config.data_dir)
    if not paths.state.exists():
        return {}, [], []
    try:
        with closing(connect(paths.state, read_only=True)) as db:
            return read_statuses(db, config), *find_unregistered(config)
    except (StorageError, sqlite3.Error):
        return {}, [], []


def _check_silence(
    config: PlumewatchConfig, statuses: Mapping[str, SensorStatus], now: float
) -> Iterator[CheckResult]:
    latest = {name: s.last_seen for name, s in statuses.items() if s.last_seen is not None}
    started = find_service_start(DataPaths(config.data_dir).lock)
    if started is None:
        now = max(latest.values(), default=now)  # when the service stopped
    silent = []
    for name, status in statuses.items():
        allowed_s = max(config.alerts.offline_after * status.interval_s, _MIN_SILENCE_S)
        if now - max(latest.get(name, 0.0), started or 0.0) > allowed_s:
            silent.append(name)
    heard = [name for name in silent if name in latest]
    longest_s = now - min((latest[name] for name in heard), default=now)
    never = [name for name in silent if name not in latest]
    if heard:
        yield warn(
            "sensors",
            f"{list_places(heard)}: silent, longest for {format_span(longest_s)}",
            "check their power and network: mosquitto_sub -v -t '#'; plumewatch status. If many are"
            " silent at once, check their gateway, switch or broker account",
        )
    if never:
        yield warn(
            "sensors",
            f"{list_places(never)}: never heard from",
            "look for their names in the broker's log (Mosquitto: connection_messages true)."
            " If they are there, the password or topic is wrong; if not, they have no power or"
            " network. mosquitto_sub -v -t '#' and plumewatch dead-letters show what arrives",
        )
    if not silent:
        waiting = len(statuses) - len(latest)
        text = f"all {len(statuses)} are reporting"
        if waiting:
            text = f"{waiting} of {len(statuses)} not heard from yet: the service has just started"
        yield ok("sensors", text)


def check_intervals(intervals: Mapping[str, float]) -> Iterator[CheckResult]:
    """Find sensors whose interval (seconds) is too long to see a puff rise and fall."""
    for least, most, what in (
        (PUFF_S, float("inf"), "a puff lasts about 30 s at the sensor, so most are missed"),
        (
            SEEN_WELL_S,
            PUFF_S,
            "one or two readings of a puff: many are missed, and alerts are late",
        ),
    ):
        slow = [name for name, every in intervals.items() if least < every <= most]
        if slow:
            longest = max(intervals[name] for name in slow)
            yield warn(
                "interval",
                f"{list_places(slow)}: a reading every {longest:.0f} s; {what}",
                "set 1 to 10 s on the device (docs/devices.md), and as interval_s of its"
                " [[sensor]]; if it can't (AirGradient, Meraki), put a faster sensor next to it;"
                " its own vape alarm, if any, arrives immediately",
            )
