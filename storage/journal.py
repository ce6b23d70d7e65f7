"""The journal: the single log of accepted readings, which all consumers read.

A reading is *accepted* once SQLite has committed it in WAL mode with `synchronous=FULL`, which
means that its bytes are fsynced. Only then is its message acknowledged. Every offset ever used has
either a reading, or a `gap` with the reason why there is none (`storage.backup` checks this).

Format: each reading is a row of `offset` (strictly increasing, never reused), `received` (Unix
seconds), `crc` (CRC-32 of the body), `body` (MessagePack of `storage.reading.Reading`) and two
indexed keys. `time_key` is made from the sensor and `time`. If the sensor's own time stamp is not
`time`, `stamp_key` is made from the sensor, that stamp and the sequence number. Dead letters are
committed together with the readings of their group, so each message has exactly one durable
outcome.

Consumers call `read(after, limit)` with their stored cursor. The cursor is a row in the consumer's
own database and is written in the same transaction as the consumer's effects (`save_cursor`), so a
crash repeats work but loses none. The state of a consumer depends only on the readings, so it is
stored less often (`save_snapshot`). After a restart, the consumer evaluates the readings between
the snapshot and the cursor again. The newest readings are read from memory, which contains only
durable readings.

`prune` deletes readings in slices, so that it does not delay commits. It deletes readings that are
older than the retention period, if all consumers have read them. If the file is too large, it
deletes the oldest readings whatever their age, even if a slow consumer has not read them. In that
case it logs a warning and adds a gap `unread`.

If a record has a wrong checksum, it becomes a dead letter `corrupt_record`, and its offset becomes
a gap `corrupt`. Offsets on an unreadable page become a gap `damaged` (`storage.repair`). If the
newest commits were lost, the cursors of consumers may be ahead of the journal. `skip_to`
then adds a gap `lost`.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
import zlib
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeVar

import msgspec

from storage.errors import StorageCorruptError, StorageUnavailableError, translate_errors
from storage.reading import Reading
from storage.repair import ROWIDS
from storage.sqlite import DatabaseFile, connect, load_scripts, migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")

log = logging.getLogger(__name__)

_MAX_DEAD_LETTERS = 100_000
_SLICE: Final = 2_000
"""Rows deleted in one transaction, few enough that a commit waits only a few milliseconds."""
_ROW_BYTES: Final = 50
"""Approximate bytes of a row without its body, and of its index entry."""
_COUNTER_SPAN: Final = 100_000
_DECODER: Final = msgspec.msgpack.Decoder(Reading)
_SELECT: Final = "SELECT offset, crc, body FROM journal WHERE offset > ? ORDER BY offset LIMIT ?"
_INSERT: Final = (
    "INSERT INTO journal (received, crc, body, time_key, stamp_key) VALUES (?, ?, ?, ?, ?)"
)
_WITH_TIME: Final = (
    "SELECT crc, body FROM journal WHERE time_key = ? ORDER BY offset DESC LIMIT 256"
)
_WITH_STAMP: Final = (
    "SELECT crc, body FROM journal WHERE stamp_key = ? AND offset > ?"
    " ORDER BY offset DESC LIMIT 256"
)
_OLDEST: Final = (
    "SELECT offset, coalesce(CAST(received AS REAL), 0), length(body) FROM journal"
    " ORDER BY offset LIMIT ?"
)
SCRIPTS: Final = load_scripts(__package__, "journal")
STATE_SCRIPTS: Final = load_scripts(__package__, "state")
"""Scripts for the tables with cursors and snapshots in the databases of consumers."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A rejected message: the reason, and the size and beginning of its payload."""

    received: float
    topic: str
    reason: str
    detail: str
    decoder: str
    size: int
    payload: bytes


class JournalEntry(NamedTuple):
    """A reading and its offset in the journal."""

    offset: int
    reading: Reading


class Pruned(NamedTuple):
    """Result of `Journal.prune`.

    `rows`: readings deleted in this slice. `unread`: how many of them a consumer had not read yet.
    """

    rows: int
    unread: int
    freed_bytes: int


def decode_record(crc: object, body: object) -> Reading | None:
    """Return the reading in a record; None if the record is damaged."""
    if not isinstance(body, bytes) or zlib.crc32(body) != crc:
        return None
    try:
        return _DECODER.decode(body)
    except msgspec.MsgspecError:
        return None


def _make_key(sensor: str, time: float, number: int = 0) -> int:
    """Return an index key, which few other readings share.

    New readings have the highest keys, so that a commit changes few pages of the index.
    """
    return (round(time * 1e6) + number) % 2**51 << 12 | zlib.crc32(sensor.encode()) & 0xFFF


def get_last_offset(connection: sqlite3.Connection) -> int:
    """Return the offset of the newest reading ever written; 0 if none."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'journal'").fetchone()
    return int(row[0]) if row else 0


def get_span(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the offsets of the oldest reading still kept and of the newest ever written.

    If no reading is kept, the first is the next offset.
    """
    last = get_last_offset(connection)
    (first,) = connection.execute("SELECT min(offset) FROM journal").fetchone()
    return (last + 1 if first is None else int(first)), last


class Journal(DatabaseFile):
    """The journal in one SQLite file (``":memory:"`` for a temporary one).

    `corrupt_records`: records found to be corrupt since the start.
    `remembered`: keep at least this many of the newest readings in memory.
    """

    def __init__(
        self, path: Path | str, clock: Callable[[], float] = time.time, remembered: int = 0
    ) -> None:
        self.path = path
        self._remembered = remembered
        self._recent: list[JournalEntry] = []  # consecutive; only appended to or replaced
        self.corrupt_records = 0
        self._newest = 0  # newest offset; a rebuilt file must continue after it
        self._clock = clock
        self._encoder = msgspec.msgpack.Encoder()
        super().__init__(path, _prepare, self._note_damage)

    def commit(self, readings: Sequence[Reading], dead_letters: Sequence[DeadLetter] = ()) -> int:
        """Append one group durably, and return the last offset; on an error, store nothing."""
        rows = []
        for reading in readings:
            body = self._encoder.encode(reading)
            stamp, number = reading.sensor_stamp, reading.seq
            time_key = _make_key(reading.sensor, reading.time)
            stamp_key = (
                _make_key(reading.sensor, stamp or 0.0, number or 0)
                if stamp != reading.time and (stamp is not None or number is not None)
                else None
            )
            rows.append((reading.received, zlib.crc32(body), body, time_key, stamp_key))

        def append(tx: sqlite3.Connection) -> int:
            tx.executemany(_INSERT, rows)
            if dead_letters:
                self._write_dead_letters(tx, dead_letters)
            return get_last_offset(tx)

        last = self._newest = self.change(append)
        if self._remembered and readings:
            first = last - len(readings) + 1
            self._remember([JournalEntry(first + k, r) for k, r in enumerate(readings)])
        return last

    def _remember(self, entries: Sequence[JournalEntry]) -> None:
        recent = self._recent
        if recent and recent[-1].offset + 1 != entries[0].offset:
            recent = []
        if len(recent) > 2 * self._remembered:
            recent = recent[-self._remembered :]
        recent.extend(entries)
        self._recent = recent

    def read(self, after: int, limit: int) -> tuple[list[JournalEntry], int]:
        """Return up to `limit` undamaged entries after an offset, and the new cursor."""
        if (found := self.read_recent(after, limit)) is not None:
            return found, (found[-1].offset if found else after)
        rows, cursor = self.query(lambda db: _read_rows(db, self.path, after, limit))
        entries: list[JournalEntry] = []
        for offset, crc, body in rows:
            reading = decode_record(crc, body)
            if reading is not None:
                entries.append(JournalEntry(offset, reading))
            else:
                self._quarantine(offset, body if isinstance(body, bytes) else b"")
        return entries, cursor

    def read_recent(self, after: int, limit: int) -> list[JournalEntry] | None:
        """Return entries like `read`, but only from memory; None if they are not in memory.

        Never blocks.
        """
        recent = self._recent
        if not recent or not recent[0].offset <= after + 1 <= recent[-1].offset + 1:
            return None
        at = after + 1 - recent[0].offset
        return recent[at : at + limit]

    def find_similar(self, reading: Reading) -> list[Reading]:
        """Return stored readings with the same stamp or, without one, the same sequence number.

        Returns at most the newest 256 readings whose time equals the stamp, and the newest 256
        whose time was replaced. Readings that only share the index key may be among them. Without a
        stamp, only the last `_COUNTER_SPAN` readings are searched, because counters restart.
        """
        stamp, sensor = reading.sensor_stamp, reading.sensor
        stamp_key = _make_key(sensor, stamp or 0.0, reading.seq or 0)

        def find(db: sqlite3.Connection) -> list[sqlite3.Row]:
            if stamp is None:
                first = get_last_offset(db) - _COUNTER_SPAN
                return db.execute(_WITH_STAMP, (stamp_key, first)).fetchall()
            at_stamp = db.execute(_WITH_TIME, (_make_key(sensor, stamp),)).fetchall()
            return at_stamp + db.execute(_WITH_STAMP, (stamp_key, 0)).fetchall()

        return [found for row in self.query(find) if (found := decode_record(*row))]

    def has_time(self, sensor: str, time: float) -> bool:
        """Return whether a reading of the sensor has this time, to the microsecond."""
        rows = self.fetch_rows(_WITH_TIME, _make_key(sensor, time))
        found = (decode_record(*row) for row in rows)
        return any(r and r.sensor == sensor and round((r.time - time) * 1e6) == 0 for r in found)

    def get_last_offset(self) -> int:
        """Return the offset of the newest reading ever written, or 0."""
        self._newest = max(self._newest, self.query(get_last_offset))
        return self._newest

    def get_first_offset(self) -> int:
        """Return the offset of the oldest reading still kept; if there is none, the next offset."""
        return self.query(get_span)[0]

    def skip_to(self, offset: int) -> None:
        """Skip all offsets up to `offset`, unless they are used already.

        Call this for a journal that is new or restored from a backup. Otherwise, a consumer with a
        cursor ahead of the journal would miss the next readings. The skipped offsets become a gap
        `lost`.
        """

        def skip(tx: sqlite3.Connection) -> None:
            last = get_last_offset(tx)
            if last < offset:
                _set_last(tx, offset)
                self._add_gap(tx, last + 1, offset, "lost")

        self.change(skip)
        self._recent = []

    def prune(
        self,
        *,
        min_cursor: int,
        received_before: float,
        excess_bytes: float = 0,
        last_deletable: int | None = None,
    ) -> Pruned:
        """Delete one slice of the oldest readings; call again until it deletes nothing.

        It deletes readings received before `received_before`, up to `min_cursor`, the smallest
        cursor of all consumers. To free `excess_bytes`, it also deletes newer readings, oldest
        first, but none after the offset `last_deletable` (by default `min_cursor`).
        """
        last_deletable = min_cursor if last_deletable is None else max(last_deletable, min_cursor)

        def delete(tx: sqlite3.Connection) -> Pruned:
            upto, n, unread, freed = 0, 0, 0, 0
            for offset, received, size in tx.execute(_OLDEST, (_SLICE,)):
                aged = offset <= min_cursor and received < received_before
                if not aged and (freed >= excess_bytes or offset > last_deletable):
                    break
                upto, n = offset, n + 1
                unread += offset > min_cursor
                freed += size + _ROW_BYTES
            if n == 0:
                return Pruned(0, 0, 0)
            before = self._get_size(tx)
            (known,) = tx.execute(
                "SELECT coalesce(max(last), 0) FROM gap WHERE why = 'retention'"
            ).fetchone()
            tx.execute("DELETE FROM journal WHERE offset <= ?", (upto,))
            tx.execute("DELETE FROM gap WHERE last <= ? AND why <> 'unread'", (upto,))
            tx.execute(
                "INSERT OR REPLACE INTO gap (why, first, last, at) VALUES ('retention', 1, ?, ?)",
                (upto, self._clock()),
            )
            if unread:
                self._add_gap(tx, max(min_cursor, known) + 1, upto, "unread")
            return Pruned(n, unread, before - self._get_size(tx))

        pruned = self.change(delete)
        if self._recent and self.get_first_offset() > self._recent[0].offset:
            self._recent = []
        return pruned

    def get_bytes_used(self) -> int:
        """Return the bytes in use, without the space that deleted rows leave in the file."""
        return self.query(self._get_size)

    def count_deleted_unread(self) -> int:
        """Return how many readings were deleted before all consumers had read them."""
        statement = "SELECT coalesce(sum(last - first + 1), 0) FROM gap WHERE why = 'unread'"
        return int(self.fetch_rows(statement)[0][0])

    def count_dead_letters(self) -> dict[str, int]:
        """Return the number of stored dead letters by reason."""
        rows = self.fetch_rows("SELECT reason, count(*) FROM dead_letter GROUP BY reason")
        return {reason: int(n) for reason, n in rows}

    def _note_damage(self, new: sqlite3.Connection) -> None:
        """Add a gap `damaged` for every run of offsets that have neither a reading nor a gap."""
        last = get_last_offset(new)
        if last < self._newest:
            last = self._newest
            _set_last(new, last)
        known = new.execute(
            "SELECT offset, offset FROM journal UNION ALL SELECT first, last FROM gap"
            " UNION ALL SELECT ?1 + 1, ?1 + 1 ORDER BY 1",
            (last,),
        ).fetchall()
        behind = 0
        for first, end in known:
            if first > behind + 1:
                self._add_gap(new, behind + 1, first - 1, "damaged")
            behind = max(behind, end)

    def _add_gap(self, tx: sqlite3.Connection, first: int, last: int, why: str) -> None:
        log.warning("journal: no readings at offsets %d to %d: %s", first, last, why)
        tx.execute(
            "INSERT OR REPLACE INTO gap (why, first, last, at) VALUES (?, ?, ?, ?)",
            (why, first, last, self._clock()),
        )

    @staticmethod
    def _get_size(connection: sqlite3.Connection) -> int:
        pages, free, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def _write_dead_letters(
        self, connection: sqlite3.Connection, letters: Sequence[DeadLetter]
    ) -> None:
        connection.executemany(
            "INSERT INTO dead_letter (received, topic, reason, detail, decoder, size, payload)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [msgspec.structs.astuple(letter) for letter in letters],
        )
        connection.execute(
            "DELETE FROM dead_letter WHERE id <= (SELECT max(id) FROM dead_letter) - ?",
            (_MAX_DEAD_LETTERS,),
        )

    def _quarantine(self, offset: int, body: bytes) -> None:
        """Move a corrupt record to the dead letters, or only skip it if the disk is full."""
        letter = DeadLetter(
            self._clock(),
            "journal",
            "corrupt_record",
            f"offset {offset}",
            "",
            len(body),
            bytes(body[:1024]),
        )

        def move(tx: sqlite3.Connection) -> int:
            moved = tx.execute("DELETE FROM journal WHERE offset = ?", (offset,)).rowcount
            if moved:
                self._add_gap(tx, offset, offset, "corrupt")
                self._write_dead_letters(tx, [letter])
            return moved

        try:
            self.corrupt_records += self.change(move)
        except StorageUnavailableError as error:
            log.warning(
                "journal: skipped corrupt record %d, cannot quarantine it: %s", offset, error
            )
            self.corrupt_records += 1


def _prepare(connection: sqlite3.Connection) -> None:
    migrate(connection, "journal", SCRIPTS)
    newest, end = connection.execute(
        "SELECT coalesce(max(offset), 0), (SELECT CAST(max(last) AS INTEGER) FROM gap) FROM journal"
    ).fetchone()
    last = get_last_offset(connection)
    if not newest <= last <= max(newest, end or 0) or last >= ROWIDS:
        raise StorageCorruptError("the journal's offsets are out of order or incomplete")


def _read_rows(
    db: sqlite3.Connection, path: Path | str, after: int, limit: int
) -> tuple[list[tuple[int, int, object]], int]:
    """Return the rows after an offset, and the new cursor."""
    last = get_last_offset(db)  # read this first: rows added in between are for the next call
    rows = db.execute(_SELECT, (after, limit)).fetchall()
    if not rows:
        return [], max(after, last)
    if any(
        a >= b for a, b in pairwise((after, *(row[0] for row in rows), get_last_offset(db) + 1))
    ):
        # Reading on would skip some readings.
        raise StorageCorruptError(f"{path}: offsets are out of order")
    return rows, rows[-1][0]


class JournalReader:
    """Reads the journal from another process; raises `StorageUnavailableError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect(path, read_only=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get_span(self) -> tuple[int, int]:
        """Return the offsets of the oldest reading kept and of the newest ever written."""
        with translate_errors(self._path):
            return get_span(self._connection)

    def read(self, after: int, limit: int) -> tuple[list[JournalEntry], int]:
        """Return up to `limit` entries after an offset and the new cursor, like `Journal.read`."""
        with translate_errors(self._path):
            rows, cursor = _read_rows(self._connection, self._path, after, limit)
        found = ((offset, decode_record(crc, body)) for offset, crc, body in rows)
        return [JournalEntry(offset, reading) for offset, reading in found if reading], cursor


def _set_last(tx: sqlite3.Connection, offset: int) -> None:
    tx.execute("DELETE FROM sqlite_sequence WHERE name = 'journal'")
    tx.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('journal', ?)", (offset,))


class Snapshot(NamedTuple):
    """State of a consumer after the reading at offset `position`."""

    position: int
    model_version: str
    body: bytes


def load_cursor(connection: sqlite3.Connection, name: str) -> int:
    """Return the journal offset up to which consumer `name` has committed its effects, or 0."""
    row = connection.execute("SELECT position FROM consumer WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def save_cursor(connection: sqlite3.Connection, name: str, offset: int) -> None:
    """Move the cursor of consumer `name`; call this in the transaction that stores its effects."""
    connection.execute(
        "INSERT INTO consumer VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET position = excluded.position",
        (name, offset),
    )


def load_snapshot(connection: sqlite3.Connection, name: str) -> Snapshot | None:
    """Return the stored state of consumer `name`, or None."""
    # A flipped bit can turn a column into text that isn't UTF-8, which SQLite refuses to decode.
    row = connection.execute(
        "SELECT CAST(position AS INTEGER), CAST(model_version AS BLOB), CAST(body AS BLOB)"
        " FROM detector_snapshot WHERE name = ?",
        (name,),
    ).fetchone()
    return Snapshot(row[0], row[1].decode(errors="replace"), row[2]) if row else None


def restore_snapshot(
    connection: sqlite3.Connection, name: str, restore: Callable[[Snapshot], T]
) -> T | None:
    """Restore the stored state of `name`; return None if there is no usable state.

    A damaged state is logged and set aside, and its owner starts over, so that damaged data never
    keeps the service from starting.
    """
    stored = load_snapshot(connection, name)
    if stored is None:
        return None
    try:
        return restore(stored)
    except Exception as error:  # noqa: BLE001 - damaged bytes can raise anything
        log.error("the stored state %r is damaged and was set aside: %s", name, error)  # noqa: TRY400 - one line
        with suppress(sqlite3.OperationalError):  # read-only command, or a locked file
            connection.execute(
                "UPDATE OR REPLACE detector_snapshot SET name = name || ' damaged' WHERE name = ?",
                (name,),
            )
        return None


def read_number(stored: Snapshot) -> float:
    """Return a state that is one finite number; raises `ValueError`."""
    number = float(stored.body)
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return number


def save_snapshot(connection: sqlite3.Connection, name: str, state: Snapshot) -> None:
    """Replace the stored state of consumer `name`."""
    connection.execute(
        "INSERT INTO detector_snapshot VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " position = excluded.position, model_version = excluded.model_version,"
        " body = excluded.body",
        (name, *state),
    )
