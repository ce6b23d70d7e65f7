"""Errors of storage.

`StorageUnavailableError` is transient; its subclass `StorageCorruptError` and all other errors are
permanent.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class StorageError(Exception):
    """Base of all storage errors."""


class StorageUnavailableError(StorageError):
    """The disk or database is unavailable now; the same call may succeed later."""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, meaning: str = ""
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.meaning = meaning


class StorageCorruptError(StorageUnavailableError):
    """The file is damaged, or not a database."""


class BatchRefusedError(StorageError):
    """A store refused a batch because of its content, and would refuse it again.

    `meaning` explains the server's answer.
    """

    def __init__(self, message: str, *, meaning: str = "") -> None:
        super().__init__(message)
        self.meaning = meaning


class SchemaTooNewError(StorageError):
    """The file has a newer schema than this program knows."""


class SchemaTooOldError(StorageError):
    """The file has an older schema; the service upgrades it when it starts."""


_TRANSIENT_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""SQLite's result codes for a disk that is full, locked, slow or temporarily read-only."""


_REMEDIES: Final = {
    sqlite3.SQLITE_FULL: "; free up space there, or use another disk",
    sqlite3.SQLITE_CANTOPEN: "; this account must be able to write to its folder",
    sqlite3.SQLITE_READONLY: "; this account must be able to write to the file and its folder",
}
_DAMAGED: Final = ("unsupported file format", "malformed", "is not a database")


def is_transient(error: BaseException) -> bool:
    """Return whether the same work may succeed later, for example after space was freed."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0)
        return code & 0xFF in _TRANSIENT_CODES and code != sqlite3.SQLITE_IOERR_SHORT_READ
    if isinstance(error.__cause__, sqlite3.Error):
        return is_transient(error.__cause__)
    return isinstance(error, StorageUnavailableError) and not isinstance(error, StorageCorruptError)


def translate(error: sqlite3.Error | OSError, path: Path | str) -> StorageUnavailableError:
    """Return the storage error that matches an SQLite or system error on a file."""
    if isinstance(error, OSError):
        return StorageUnavailableError(f"{path}: {error.strerror or error}")
    code = getattr(error, "sqlite_errorcode", 0)
    damaged = (
        code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        or code == sqlite3.SQLITE_IOERR_SHORT_READ  # the file ends in the middle of a page
        or any(words in str(error) for words in _DAMAGED)
    )
    kind = StorageCorruptError if damaged else StorageUnavailableError
    remedy = _REMEDIES.get(code & 0xFF, "")
    return kind(f"{str(path).removesuffix('.making')}: {error}{remedy}")


@contextmanager
def translate_errors(path: Path | str) -> Iterator[None]:
    """Turn SQLite and system errors on a file into storage errors."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error
