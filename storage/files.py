"""Write and lock the files of a data folder.

Files are written completely or not at all. Only the owner can enter a data folder and read or lock
its files, whatever the umask. Never use this module on a database that this process has open:
closing a second descriptor would release SQLite's locks.

Only one service at a time uses a data folder. It holds a `flock` on a lock file, which the kernel
releases no matter how the process ends. The file contains a description of that process for
messages. If the file is deleted, the service must stop, because another one could start.
"""

from __future__ import annotations

import csv
import fcntl
import os
import socket
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from errno import ENOTDIR
from typing import TYPE_CHECKING, Final

from storage.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_SERVICE: Final = "service"
_TEXT_BYTES: Final = 512
_LOCK_TRIES: Final = 200
_LOCK_PAUSE_S: Final = 0.01
"""Pause before another try. Other processes need only microseconds to check the lock."""


def sync(path: Path) -> None:
    """Sync a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; at the end, sync it and rename it to `path`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, completely or not at all."""
    with atomic_write(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_private(path: Path, content: bytes) -> None:
    """Write `content` to a file that only its owner can read, and sync it."""
    with atomic_write(path) as draft:
        draft.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(draft, flags, FILE_MODE), "wb") as file:
            file.write(content)


def make_private_folder(folder: Path) -> None:
    """Create a data folder that only its owner can enter; raises `OSError`.

    An existing folder is made private if it is empty.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(folder.parent)) from error
    try:
        folder.mkdir(mode=_FOLDER_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise
    if not any(folder.iterdir()):
        with suppress(PermissionError):  # another user owns it
            folder.chmod(_FOLDER_MODE)


def make_private_database(path: Path) -> None:
    """Create an empty file for a database if it does not exist."""
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes that use this function."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # the file system may not support locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class FolderLock:
    """The lock file of a data folder; `work` names what the process does, for messages."""

    def __init__(self, path: Path, work: str = _SERVICE) -> None:
        self._path, self._work = path, work
        self._file = -1

    @property
    def is_held(self) -> bool:
        """Whether this object has the lock."""
        return self._file >= 0

    def is_in_place(self) -> bool:
        """Return whether the locked file is still the file in the folder."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        return False

    def take(self) -> None:
        """Take the lock; raises `StorageUnavailableError`, which names the process that has it."""
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            self.release()
            raise StorageUnavailableError(f"{self._path}: {error.strerror}") from error
        for _ in range(_LOCK_TRIES):
            if _try_lock(self._file, fcntl.LOCK_EX) or not _try_lock(self._file, fcntl.LOCK_SH):
                break
            fcntl.flock(self._file, fcntl.LOCK_UN)
            time.sleep(_LOCK_PAUSE_S)
        if not (_try_lock(self._file, fcntl.LOCK_EX) and self.is_in_place()):
            _, holder = _read_holder(self._file)
            self.release()
            raise StorageUnavailableError(f"data folder {self._path.parent} is in use by {holder}")
        work = "" if self._work == _SERVICE else f" ({self._work})"
        holder = f"process {os.getpid()}{work} on {socket.gethostname()[:200]}"
        text = f"{self._work}\n{holder}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S UTC}"
        with suppress(OSError):  # on a full disk, the file keeps the previous name
            os.pwrite(self._file, text.encode().ljust(_TEXT_BYTES), 0)

    def release(self) -> None:
        """Release the lock; safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def find_holder(path: Path) -> str:
    """Return a description of the process that has the lock, or an empty string."""
    return _read_lock(path)[1]


def find_service_start(path: Path) -> float | None:
    """Return when a service took the lock, in Unix seconds, or None if no service has it."""
    return path.stat().st_mtime if _read_lock(path)[0] == _SERVICE else None


def _read_lock(path: Path) -> tuple[str, str]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return "", ""
    except OSError as error:
        raise StorageUnavailableError(f"{path}: {error.strerror}") from error
    try:
        return ("", "") if _try_lock(file, fcntl.LOCK_SH) else _read_holder(file)
    finally:
        os.close(file)


def _try_lock(file: int, how: int) -> bool:
    """Lock a file; return False if another process has the lock."""
    with suppress(OSError):
        fcntl.flock(file, how | fcntl.LOCK_NB)
        return True
    return False


def _read_holder(file: int) -> tuple[str, str]:
    work, _, holder = os.pread(file, _TEXT_BYTES, 0).decode(errors="replace").partition("\n")
    return work, holder.strip() or "another process"
