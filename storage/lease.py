"""The lease on a data folder: one service at a time, and everybody can see which.

The *lock* (`flock` on the file) decides. The kernel releases it however the process ends, and no
time-out takes it from a slow service. Only the owner may open the file: whoever can read it can
lock it.

The *row* (one line of JSON in the file: host, process, since, beat, work) says who it is, and
whether it is the service or another command. The holder writes it every few seconds, in place and
with the same length, which works on a full disk too. Where the lock does not reach, as between
hosts on some network file systems, the row decides: a row of another host whose beat still changes
is a holder. It is watched for `WATCH_S` before it counts as left over.

A holder whose file was deleted or taken over learns of it at its next `beat` and must stop. A
process that hangs and comes back still has the lock; this is no election between machines.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from storage.errors import StorageUnavailableError
from storage.files import FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEAT_S: Final = 4.0
"""Seconds between the beats of a holder."""
WATCH_S: Final = 12.0
"""How long a beat of another host has to stand still until its lease counts as left over."""

SERVICE: Final = "service"
"""The work of a holder that receives readings."""

_LENGTH: Final = 512
_LOOKED_AT_S: Final = 2.0
"""How long the lease may be looked at by others while it is taken; a look takes microseconds."""


class Holder(NamedTuple):
    """Who holds a lease; `pid` is 0 if the file does not say, times are Unix seconds."""

    host: str
    pid: int
    since: float
    beat: float
    work: str = SERVICE

    def __str__(self) -> str:
        """As in "process 12 on north, since 2026-09-07 10:05:00 UTC"."""
        if not self.pid:
            return "another process"
        when = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        work = "" if self.work == SERVICE else f" ({self.work})"
        return f"process {self.pid}{work} on {self.host}, since {when}"


class Lease:
    """A lease to take, renew and release; `monotonic` is a clock that is never set."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        host: str = "",
        work: str = SERVICE,
    ) -> None:
        self._path = path
        self._work = work
        self._clock = clock
        self._monotonic = monotonic
        self._host = (host or socket.gethostname())[:200]
        self._file = -1
        self._since = 0.0
        self._watched: tuple[Holder, float] | None = None

    @property
    def held(self) -> bool:
        """Whether it is ours, as far as we know."""
        return self._file >= 0

    def is_elsewhere(self, holder: Holder) -> bool:
        """Whether a holder is on another host, where its lock may not reach us."""
        return bool(holder.pid) and holder.host != self._host

    def take(self) -> Holder | None:
        """Take the lease if it is free; return its holder, or None if it is ours now."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise StorageUnavailableError(f"{self._path}: {error.strerror}") from error
        if not self._lock(file):
            holder = _row(file) or Holder("", 0, 0.0, 0.0)
            os.close(file)
            return holder
        left = _row(file)
        if left is not None and left.host != self._host and self._alive(left):
            os.close(file)
            return left
        self._file = file
        self._since = self._clock()
        if not self._in_place():  # deleted in the meantime
            self._close()
            return Holder("", 0, 0.0, 0.0)
        self._sign()
        return None

    def beat(self) -> bool:
        """Renew the row; whether the lease is still ours."""
        if not self.held:
            return False
        row = _row(self._file)
        if not self._in_place() or (row is not None and row.host != self._host):
            self._close()
            return False
        self._sign()
        return True

    def release(self) -> None:
        """Give it back; safe to call twice."""
        if self.held:
            self._write({})
        self._close()

    def _lock(self, file: int) -> bool:
        """Lock the file unless a holder has; wait for those who only look, with a shared lock."""
        until = self._monotonic() + _LOOKED_AT_S
        while not _locked(file, fcntl.LOCK_EX):
            if not _locked(file, fcntl.LOCK_SH) or self._monotonic() > until:
                return False
            fcntl.flock(file, fcntl.LOCK_UN)
            os.sched_yield()
        return True

    def _alive(self, left: Holder) -> bool:
        """Whether a row of another host may still be beating."""
        now = self._monotonic()
        if self._watched is None or self._watched[0] != left:
            self._watched = (left, now)
        return now - self._watched[1] < WATCH_S

    def _in_place(self) -> bool:
        with suppress(OSError):
            mine, there = os.fstat(self._file), self._path.stat()
            return (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev)
        return False

    def _sign(self) -> None:
        row = Holder(self._host, os.getpid(), self._since, self._clock(), self._work)
        self._write(row._asdict())

    def _write(self, row: dict[str, str | int | float]) -> None:
        """Write in place; a disk that refuses leaves the old row, and the lock decides anyway."""
        with suppress(OSError):
            os.pwrite(self._file, json.dumps(row).ljust(_LENGTH - 1).encode() + b"\n", 0)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def holder_of(path: Path) -> Holder | None:
    """Return who holds the lease of a file, without taking it; None if nobody of this host does."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageUnavailableError(f"{path}: {error.strerror}") from error
    try:
        if _locked(file, fcntl.LOCK_SH):
            return None
        return _row(file) or Holder("", 0, 0.0, 0.0)
    finally:
        os.close(file)


def service_of(path: Path) -> Holder | None:
    """Return the service that holds the lease of a file; None if nobody or a command does."""
    holder = holder_of(path)
    return holder if holder is not None and holder.work == SERVICE else None


def _locked(file: int, how: int) -> bool:
    """Lock a file; False if another lock keeps us from it."""
    with suppress(OSError):
        fcntl.flock(file, how | fcntl.LOCK_NB)
        return True
    return False


def _row(file: int) -> Holder | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(os.pread(file, _LENGTH, 0))
        return Holder(
            str(found["host"]),
            int(found["pid"]),
            float(found["since"]),
            float(found["beat"]),
            str(found["work"]),
        )
    return None
