"""The machine: disk space, databases and clock."""

from __future__ import annotations

import ctypes
import os
import sqlite3
import statistics
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from plumewatch.config.paths import DataPaths
from plumewatch.doctor.result import fault, ok, span, warning
from plumewatch.service.data_folder import refuse_older
from storage.errors import SchemaTooNewError, SchemaTooOldError, StorageCorruptError, StorageError
from storage.files import make_private_folder
from storage.lease import holder_of
from storage.reading import Reading
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.doctor.result import CheckResult

_LEAST_GB: Final = 1.0
_READING_BYTES: Final = 160.0
"""Of the embedded series; docs/storage.md has what was measured."""
_LOOKED_AT: Final = 2_000
_TIME_ERROR: Final = 5
_OFF_S: Final = 60.0
_BEHIND_S: Final = 5.0


def check_store(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check whether the data folder can be written, has room, and has readable files."""
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
        who = "plumewatch" if os.geteuid() == 0 else f"user {os.geteuid()}"
        yield fault(
            "store",
            f"cannot write into {root}: {error.strerror}",
            f"free space there, or chown -R {who} {root}; another folder is data_dir",
        )
        return
    space = os.statvfs(root)
    free = space.f_bavail * space.f_frsize
    yield _room(config, free / 1e9)
    running = holder_of(paths.lock)
    if running is not None:
        yield ok("service", f"{root} is in use by {running}")
    for path in (paths.journal, paths.state, paths.series):
        if path.exists():
            yield from _database(path)


def _room(config: PlumewatchConfig, free_gb: float) -> CheckResult:
    root, kept = config.data_dir, config.timeseries
    space = f"{root} is writable, {free_gb:.0f} GB are free"
    days = "timeseries.raw_days and journal.max_mb limit what is kept"
    if free_gb < _LEAST_GB:
        return fault(
            "store",
            f"{root} is writable, {free_gb:.2f} GB are free",
            f"make room, at least 5 GB: df -h {root}; {days}",
        )
    rate = sum(1 / sensor.interval_s for sensor in config.sensor)
    series = 0.0 if kept.url else rate * kept.raw_days * 86_400 * _READING_BYTES
    journal = min(rate * config.journal.keep_days * 86_400 * 250, config.journal.max_mb * 1e6)
    have = sum(p.stat().st_size for p in root.glob("*.db*") if p.is_file())
    more_gb = (series + journal - have) / 1e9
    if more_gb > free_gb - _LEAST_GB:
        return warning(
            "store",
            f"{space}; {len(config.sensor)} sensors need {more_gb:.0f} GB more",
            f"a larger disk, or keep less: {days}",
        )
    return ok("store", space)


def _database(path: Path) -> Iterator[CheckResult]:
    try:
        refuse_older(path)
    except SchemaTooOldError:
        return  # the service upgrades it at its next start
    except SchemaTooNewError as error:
        remedy = "pip install --upgrade plumewatch, or restore a backup from before the upgrade"
        yield fault("store", str(error), remedy)
    except StorageCorruptError as error:
        yield fault(
            "store",
            str(error),
            "start the service: it sets the file aside and continues with what can be read; or stop"
            " it and run plumewatch restore BACKUP",
        )
    except (StorageError, sqlite3.Error) as error:
        yield fault("store", f"{path}: {error}", f"ls -l {path}: this account must read it")


def is_synchronized() -> bool | None:
    """Return whether the kernel considers this clock synchronized; None if unknown."""
    try:
        # a zeroed struct timex only asks; 512 bytes are more than any architecture has
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def check_clock(
    config: PlumewatchConfig, now: float, synchronized: Callable[[], bool | None] = is_synchronized
) -> Iterator[CheckResult]:
    """Compare the clock with NTP, the newest readings and the clocks of the sensors."""
    stored = _newest(DataPaths(config.data_dir).journal)
    newest = max((reading.received for reading in stored), default=0.0)
    if newest > now + _BEHIND_S:
        yield fault(
            "clock",
            f"it is {_time(now)} here, but a reading was received at {_time(newest)}",
            "set it: timedatectl set-ntp true; if it was ahead before, leave it as it is now",
        )
    off = {
        sensor: statistics.median(r.time - r.received for r in stored if r.sensor == sensor)
        for sensor in {reading.sensor for reading in stored}
    }
    wrong = {sensor: by for sensor, by in off.items() if abs(by) > _OFF_S}
    if wrong and len(wrong) * 2 > len(off):
        yield fault(
            "clock",
            f"{len(wrong)} of {len(off)} sensors stamp their readings"
            f" {_by(statistics.median(wrong.values()))} of this machine's clock",
            "this machine is the likelier one: timedatectl set-ntp true, then NTP on the sensors;"
            " or let them send no time",
        )
    else:
        for sensor, by in sorted(wrong.items()):
            yield warning(
                f"clock: {sensor}",
                f"its readings are stamped {_by(by)}, and late ones never alert",
                "set NTP on the device, or let it send no time",
            )
    kept = synchronized()
    if kept is False:
        yield warning(
            "clock",
            "this machine's clock is not synchronized",
            "timedatectl set-ntp true, or install chrony",
        )
    elif newest <= now + _BEHIND_S and not wrong:
        yield ok("clock", f"{_time(now)}{', kept by NTP' if kept else ''}")


def _newest(path: Path) -> Sequence[Reading]:
    """Return the newest readings of a journal; none if it cannot be read (see `check_store`)."""
    decoder = msgspec.msgpack.Decoder(Reading)
    try:
        with closing(connect(path, read_only=True)) as db:
            rows = db.execute(
                "SELECT body FROM journal ORDER BY offset DESC LIMIT ?", (_LOOKED_AT,)
            ).fetchall()
        return [decoder.decode(row["body"]) for row in rows]
    except (StorageError, sqlite3.Error, msgspec.MsgspecError):
        return []


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _by(seconds: float) -> str:
    return f"{span(abs(seconds))} {'ahead' if seconds > 0 else 'behind'}"
