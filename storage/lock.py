"""The lock on a data folder: one service at a time, and everybody can see which.

`flock` on the file decides: the kernel releases it however the process ends. Only the owner may
open the file, because whoever can read it can lock it. The holder writes into the file who it is,
for messages. A holder whose file was deleted must stop: the next service would start beside it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from storage.errors import StorageUnavailableError
from storage.files import FILE_MODE

if TYPE_CHECKING:
    from pathlib import Path

_SERVICE: Final = "service"
_LENGTH: Final = 512
_LOOKS: Final = 200
_LOOK_S: Final = 0.01
"""How long to wait for those who only look at the lock, which takes them microseconds."""


class FolderLock:
    """The lock file of a data folder, to take and release; `work` is what the holder does."""

    def __init__(self, path: Path, work: str = _SERVICE) -> None:
        self._path, self._work = path, work
        self._file = -1

    @property
    def held(self) -> bool:
        """Whether it was taken and not released."""
        return self._file >= 0

    @property
    def in_place(self) -> bool:
        """Whether the file that is locked is still the one in the folder."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        return False

    def take(self) -> None:
        """Take the lock; raises `StorageUnavailableError`, which names the holder."""
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            self.release()
            raise StorageUnavailableError(f"{self._path}: {error.strerror}") from error
        for _ in range(_LOOKS):
            if _locks(self._file, fcntl.LOCK_EX) or not _locks(self._file, fcntl.LOCK_SH):
                break
            fcntl.flock(self._file, fcntl.LOCK_UN)
            time.sleep(_LOOK_S)
        if not (_locks(self._file, fcntl.LOCK_EX) and self.in_place):
            _, holder = _content(self._file)
            self.release()
            raise StorageUnavailableError(f"data folder {self._path.parent} is in use by {holder}")
        work = "" if self._work == _SERVICE else f" ({self._work})"
        holder = f"process {os.getpid()}{work} on {socket.gethostname()[:200]}"
        text = f"{self._work}\n{holder}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S UTC}"
        with suppress(OSError):  # a full disk keeps the old text, and the lock decides anyway
            os.pwrite(self._file, text.encode().ljust(_LENGTH), 0)

    def release(self) -> None:
        """Release the lock; safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def holder_of(path: Path) -> str:
    """Return who has the lock of a file, without taking it; empty if nobody does."""
    return _seen(path)[1]


def service_runs(path: Path) -> bool:
    """Return whether a service has the lock of a file."""
    return _seen(path)[0] == _SERVICE


def _seen(path: Path) -> tuple[str, str]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return "", ""
    except OSError as error:
        raise StorageUnavailableError(f"{path}: {error.strerror}") from error
    try:
        return ("", "") if _locks(file, fcntl.LOCK_SH) else _content(file)
    finally:
        os.close(file)


def _locks(file: int, how: int) -> bool:
    """Lock a file; False if another lock keeps us from it."""
    with suppress(OSError):
        fcntl.flock(file, how | fcntl.LOCK_NB)
        return True
    return False


def _content(file: int) -> tuple[str, str]:
    work, _, holder = os.pread(file, _LENGTH, 0).decode(errors="replace").partition("\n")
    return work, holder.strip() or "another process"
