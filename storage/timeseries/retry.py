"""Storing again what the series refused and the journal keeps as dead letters."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec

from storage.dead_letters import delete_dead_letters, find_dead_letters
from storage.reading import Reading
from storage.sqlite import connect, translated
from storage.timeseries.records import Record
from storage.timeseries.writer import REASON, RECORD_REASON, bisect_rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from storage.timeseries import Series

T = TypeVar("T")
_BATCH = 500


def retry_refused(journal: Path, series: Series) -> tuple[int, int]:
    """Store refused readings and records once more, and delete the dead letters of those stored.

    Returns how many are stored now, and how many are refused as before. Raises
    `StorageUnavailableError` if the journal or the series does not answer.
    """
    with closing(connect(journal)) as connection:
        try:
            readings = _retry(connection, REASON, Reading, series.add)
            records = _retry(connection, RECORD_REASON, Record, series.record)
        except sqlite3.Error as error:
            raise translated(error, journal) from error
    return readings[0] + records[0], readings[1] + records[1]


def _retry(
    connection: sqlite3.Connection, reason: str, kind: type[T], store: Callable[[Sequence[T]], None]
) -> tuple[int, int]:
    stored = refused = before = 0
    while letters := find_dead_letters(connection, reason=reason, before=before, limit=_BATCH):
        before = letters[-1].id
        found: dict[int, T] = {}
        for number, letter in letters:
            with suppress(msgspec.MsgspecError):  # its content was cut off
                found[number] = msgspec.json.decode(letter.payload, type=kind)
        bad = {id(item) for item, _ in bisect_rejected(store, list(found.values()))}
        done = [number for number, item in found.items() if id(item) not in bad]
        delete_dead_letters(connection, done)
        stored += len(done)
        refused += len(letters) - len(done)
    return stored, refused
