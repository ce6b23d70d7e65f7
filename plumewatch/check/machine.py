"""Check the machine and the servers that it writes to: disk, databases, clock, InfluxDB."""

from __future__ import annotations

import ctypes
import errno
import os
import shlex
import sqlite3
import stat
import statistics
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from language.plain_text import pluralize
from plumewatch.check.result import fault, format_span, list_places, ok, warn
from plumewatch.config.paths import DataPaths
from plumewatch.config.sections.common import US_ZONES
from plumewatch.config.settings import read_influx_settings
from plumewatch.sensor_status import read_newest
from plumewatch.service.data_folder import refuse_older
from plumewatch.service.stored_values import describe_damage
from storage.audit import find_account
from storage.errors import (
    SchemaTooNewError,
    SchemaTooOldError,
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
)
from storage.files import find_holder, make_private_folder
from storage.registry import Registry
from storage.repair import find_recovery_program
from storage.timeseries.influx import InfluxSeries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from plumewatch.check.result import CheckResult
    from plumewatch.config.model import PlumewatchConfig
    from storage.reading import Reading

_MOUNTED: Final = "/run"
_MIN_GB: Final = 1.0
_READING_BYTES: Final = 160.0
"""Bytes per reading in the embedded series, as measured (docs/storage.md)."""
_LOOKED_AT: Final = 2_000
_TIME_ERROR: Final = 5
_REMEDIES: Final[dict[type[StorageError], str]] = {
    SchemaTooNewError: "pip install --upgrade plumewatch, or restore a backup from before the"
    " upgrade",
    StorageCorruptError: "start the service: it sets the file aside and continues with what can be"
    " read; or stop it and run plumewatch restore BACKUP",
}
OFF_S: Final = 60.0
"""Offset of a sensor's clock above which it is reported, in seconds."""
_MAX_OFF_S: Final = 15 * 3_600.0
_BEHIND_S: Final = 5.0
SET_CLOCK: Final = (
    "late readings raise no alerts: set NTP on the device, or stop it from sending a time; if its"
    " stamps name no time zone, set timezone in its [[sensor]]"
)


def check_store(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check whether the data folder is writable, has free space, and has readable files."""
    del now
    paths = DataPaths(config.data_dir)
    root = paths.root
    try:
        make_private_folder(root)
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        remedy = f"chown -R {find_account()} {root}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = f"free up space: df -h {root}"
        remedy += "; or set data_dir to another folder"
        yield fault("store", f"cannot write to {root}: {error.strerror}", remedy)
        return
    space = os.statvfs(root)
    yield _check_space(config, space.f_bavail * space.f_frsize / 1e9)
    if find_recovery_program() is None:
        yield warn(
            "damaged files",
            "no sqlite3 program with a working .recover: from a damaged file, only the rows"
            " before and after the damage would be recovered",
            "apt-get install sqlite3 (Debian 13's works, Debian 12's does not)",
        )
    if holder := find_holder(paths.lock):
        yield ok("service", f"{root} is in use by {holder}")
    for path in (paths.journal, paths.state, paths.series):
        if path.exists():
            yield from _check_database(path)


def check_secrets(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check whether every account on this machine can read secret files."""
    del now
    readable = {}
    for path in _find_secret_files(config):
        with suppress(OSError):  # it is missing, or this account can't read it
            mode = path.stat().st_mode
            if stat.S_ISREG(mode) and mode & stat.S_IROTH:
                readable[path] = stat.S_IMODE(mode)
    if readable:
        listed = ", ".join(f"{path} (mode {mode:o})" for path, mode in readable.items())
        yield warn(
            "secrets",
            f"every account on this machine can read {listed}",
            f"chmod 600 {shlex.join(map(str, readable))}; if another account owns a"
            " file, first chown it to the service's account",
        )


def _find_secret_files(table: BaseModel) -> Iterator[Path]:
    """Yield the secret files that a table names, except in /run, where containers mount them."""
    for name, value in table:
        if isinstance(value, Path):
            is_secret = name.endswith("_file") and name != "ca_file"
            if is_secret and not value.is_relative_to(_MOUNTED):
                yield value
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, BaseModel):
                yield from _find_secret_files(inner)


def _check_space(config: PlumewatchConfig, free_gb: float) -> CheckResult:
    root, kept = config.data_dir, config.timeseries
    if free_gb < _MIN_GB:
        return fault(
            "store",
            f"{root} is writable, {free_gb:.2f} GB are free",
            f"free up at least 5 GB: df -h {root}; timeseries.raw_days and"
            " journal.max_mb limit how much is kept",
        )
    sensors = config.build_registry().sensors
    rate = sum(1 / sensor.interval_s for sensor in sensors.values())
    series = 0.0 if kept.url else rate * kept.raw_days * 86_400 * _READING_BYTES
    journal = min(rate * config.journal.keep_days * 86_400 * 250, config.journal.max_mb * 1e6)
    have = sum(p.stat().st_size for p in root.glob("*.db*") if p.is_file())
    more_gb = (series + journal - have) / 1e9
    if more_gb > free_gb - _MIN_GB:
        return warn(
            "store",
            f"{root} is writable, {free_gb:.0f} GB are free;"
            f" {pluralize(len(sensors), 'sensor')} need {more_gb:.0f} GB more",
            "use a larger disk, or keep less: timeseries.raw_days and journal.max_mb limit"
            " how much is kept",
        )
    return ok("store", f"{root} is writable, {free_gb:.0f} GB are free")


def _check_database(path: Path) -> Iterator[CheckResult]:
    try:
        refuse_older(path)
        if path.name == "state.db" and (found := describe_damage(path)):
            yield fault(
                "store",
                f"{path}: damaged values: {found}",
                "restart the service: it sets them aside, and that part of its state starts over",
            )
    except SchemaTooOldError:
        return  # the service upgrades it at its next start
    except StorageError as error:
        other = f"ls -l {path}: this account must be able to read it"
        yield fault("store", str(error), _REMEDIES.get(type(error), other))


def is_synchronized() -> bool | None:
    """Return whether the kernel considers this clock synchronized; None if unknown."""
    try:
        # a zeroed struct timex only queries; no architecture's struct exceeds 512 bytes
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def check_time_zones(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Warn about time zones named by an abbreviation, which lack daylight saving time."""
    del now
    zones = {config.timezone, *(site.zone for site in config.list_sites())}
    for zone in sorted(zones & US_ZONES.keys()):
        arizona = "; in Arizona America/Phoenix" if zone == "MST" else ""
        yield warn("time zone", f"{zone} has no daylight saving", f"use {US_ZONES[zone]}{arizona}")


def check_clock(
    config: PlumewatchConfig, now: float, synchronized: Callable[[], bool | None] = is_synchronized
) -> Iterator[CheckResult]:
    """Check that this clock is synchronized; compare it with readings and the sensors' clocks."""
    stored = _read_newest(DataPaths(config.data_dir).journal)
    newest = max((reading.received for reading in stored), default=0.0)
    if newest > now + _BEHIND_S:
        yield fault(
            "clock",
            f"it is {_format_time(now)} here, but a reading was received at {_format_time(newest)}",
            "set it: timedatectl set-ntp true; do nothing if it was ahead and has been corrected",
        )
    off = {
        sensor: statistics.median(compute_offset(r) for r in stored if r.sensor == sensor)
        for sensor in {reading.sensor for reading in stored}
    }
    wrong = {sensor: by for sensor, by in off.items() if abs(by) > OFF_S}
    if wrong and len(wrong) * 2 > len(off):
        yield fault(
            "clock",
            f"{len(wrong)} of {len(off)} sensors stamp their readings"
            f" {describe_offset(statistics.median(wrong.values()))}",
            "this machine's clock is probably wrong: timedatectl set-ntp true; then set NTP on the"
            " sensors, or stop them from sending a time",
        )
    else:
        for ahead in (True, False):
            found = {sensor: by for sensor, by in wrong.items() if (by > 0) is ahead}
            if found:
                most = describe_offset(max(found.values(), key=abs))
                text = f"{list_places(found)}: readings are stamped up to {most}"
                yield warn("clock", text, SET_CLOCK)
    kept = synchronized()
    if kept is False:
        remedy = "timedatectl set-ntp true, or install chrony"
        yield warn("clock", "this machine's clock is not synchronized", remedy)
    elif newest <= now + _BEHIND_S and not wrong:
        yield ok("clock", f"{_format_time(now)}{', synchronized by NTP' if kept else ''}")


def _read_newest(path: Path) -> Sequence[Reading]:
    """Return the newest readings of a journal; none if it cannot be read (see `check_store`)."""
    with suppress(StorageError, sqlite3.Error):
        return [entry.reading for entry in read_newest(path, _LOOKED_AT)]
    return []


def _format_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def compute_offset(reading: Reading) -> float:
    """Return how many seconds the sensor's clock is ahead, even if its stamp was replaced."""
    offset_s = reading.order - reading.received
    return offset_s if abs(offset_s) <= _MAX_OFF_S else reading.time - reading.received


def describe_offset(seconds: float) -> str:
    """Describe how far a sensor's clock is from this machine's."""
    where = "ahead of" if seconds > 0 else "behind"
    return f"{format_span(abs(seconds))} {where} this machine's clock"


def check_series(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check the version, permissions and retention policies of the InfluxDB, if any."""
    del now
    settings = read_influx_settings(config)
    if settings is None:
        return
    series = InfluxSeries(settings, Registry(), ":memory:")
    try:
        yield ok("time series", series.check_connection())
        try:
            series.check_set_up()
        except StorageUnavailableError as error:
            yield warn("time series", str(error), "plumewatch storage setup")
    except StorageUnavailableError as error:
        yield fault(
            "time series",
            str(error),
            "systemctl status influxdb; timeseries.url, database and token must match it:"
            f" curl -i {settings.url}/ping",
        )
    finally:
        series.close()
