"""Errors of storage.

::

    StorageError
    +-- StorageUnavailableError   transient: disk full, unwritable, locked
    +-- SchemaTooNewError         permanent: written by a newer program
    +-- CorruptRecordError        permanent: a journal record fails its checksum
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "CorruptRecordError",
    "SchemaTooNewError",
    "StorageError",
    "StorageReason",
    "StorageUnavailableError",
]


class StorageReason(StrEnum):
    """Closed set of reasons, for metric labels and log fields."""

    UNAVAILABLE = "unavailable"
    SCHEMA_TOO_NEW = "schema_too_new"
    CORRUPT_RECORD = "corrupt_record"


class StorageError(Exception):
    """Base of all storage errors."""

    reason: StorageReason


class StorageUnavailableError(StorageError):
    """The disk or the database refuses at the moment; the same call may succeed later."""

    reason = StorageReason.UNAVAILABLE


class SchemaTooNewError(StorageError):
    """The file was written by a newer program."""

    reason = StorageReason.SCHEMA_TOO_NEW


class CorruptRecordError(StorageError):
    """A record fails its checksum."""

    reason = StorageReason.CORRUPT_RECORD
