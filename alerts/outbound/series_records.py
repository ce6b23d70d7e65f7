"""Queue records of incidents, events and samples for the time series, in the state database.

Records are queued in the same transaction as the state that they follow from. A crash, or a week
without the time series, therefore neither loses nor duplicates records. *Samples*
(``sensor_health`` and ``sensor_hour``) are queued as records. Database triggers queue *incidents
and events* by key, once each.

Batches are read oldest first, written to the series, and then deleted here. After a crash in
between, a batch is written again and overwrites the earlier copy. `delete_excess` deletes the
oldest samples beyond a limit, but never incidents or events.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from alerts.incidents.repository import read_evidence
from detection.events import EventKind, join_details
from language.messages import parse_facts
from storage.errors import translate_errors
from storage.sqlite import connect, load_scripts, transaction
from storage.timeseries.records import Record

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from storage.timeseries import Series

COMPONENT: Final = "series_due"
SCRIPTS: Final = load_scripts(__package__, COMPONENT)

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Record)
_ROWS: Final = 20_000
"""Most samples that `delete_excess` deletes at once."""
_FINE: Final = ("pm25", "pm1", "n03", "n05")
"""Fine-particle channels; the time in which half of their rise decays shows the air exchange."""

_EVENT: Final = """
    SELECT onset AS at, sensor AS of_sensor, room AS of_room, kind AS of_kind, probabilities,
        "end", confidence, "end" - onset AS duration_s,
        phase, incident, evidence, details
    FROM alert_event WHERE id = ?
"""
_INCIDENT: Final = """
    SELECT opened_at AS at, room AS of_room, kind AS of_kind, onset, confidence, paged,
        status <> 'resolved' AS open, suppressed_by <> '' AS suppressed,
        acknowledged_at IS NOT NULL AS acknowledged,
        verdict IS 'confirmed' AS confirmed, verdict IS 'false_alarm' AS false_alarm,
        verdict IS 'nothing_found' AS nothing_found, verdict IS 'fixed' AS fixed,
        verdict IS 'test' AS test,
        opened_at - onset AS detected_s, notified_at - opened_at AS notified_s,
        acknowledged_at - notified_at AS acknowledged_s, arrived_at - notified_at AS arrived_s,
        resolved_at - opened_at AS resolved_s, sensor, status, verdict, suppressed_by,
        (SELECT cause FROM incident_feedback WHERE incident = i.id ORDER BY seq DESC LIMIT 1)
            AS cause,
        notices, people
    FROM incident i, (
        SELECT count(*) FILTER (WHERE status = 'sent') AS notices,
            count(DISTINCT person) FILTER (WHERE status = 'sent') AS people
        FROM outbox WHERE incident = ?1
    ) WHERE id = ?1
"""
_NO_FIELDS: Final = frozenset(
    {"at", "of_sensor", "of_room", "of_kind", "probabilities", "evidence", "details"}
)


class DueEntry(NamedTuple):
    """A queued record and its position in the queue."""

    offset: int
    record: Record


def append_samples(tx: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Queue samples."""
    tx.executemany(
        "INSERT INTO series_due (measurement, body) VALUES (?, ?)",
        [(record.measurement, _ENCODER.encode(record)) for record in records],
    )


def mark_all(tx: sqlite3.Connection) -> None:
    """Queue all events and incidents, for a time series that may not have them."""
    tx.execute(
        "INSERT OR IGNORE INTO series_due (measurement, key)"
        " SELECT 'event', id FROM alert_event UNION ALL SELECT 'incident', id FROM incident"
    )


def count_waiting(connection: sqlite3.Connection) -> int:
    """Count the records that wait for the time series."""
    return int(connection.execute("SELECT count(*) FROM series_due").fetchone()[0])


def delete_excess(tx: sqlite3.Connection, limit: int) -> int:
    """Delete up to `_ROWS` of the oldest samples beyond a limit; return how many."""
    over = count_waiting(tx) - limit
    if over <= 0:
        return 0
    return tx.execute(
        "DELETE FROM series_due WHERE seq IN"
        " (SELECT seq FROM series_due WHERE key IS NULL ORDER BY seq LIMIT ?)",
        (min(over, _ROWS),),
    ).rowcount


class DueRecords:
    """The queue of records and the series that they go to, for `storage.timeseries.writer`."""

    def __init__(self, database: Path, series: Series) -> None:
        self._database = database
        self._series = series
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the database; safe to call twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def check_connection(self) -> str:
        """Return where records wait; the readings' writer checks the series itself."""
        return f"records wait in {self._database}"

    def get_cursor(self) -> int:
        """Return 0, because records are deleted once they are stored."""
        return 0

    def read(self, after: int, limit: int) -> tuple[list[DueEntry], int]:
        """Return the queued records after a position, oldest first, and the new position."""
        with translate_errors(self._database):
            db = self._open()
            rows = db.execute(
                "SELECT seq, measurement, key, body FROM series_due WHERE seq > ?"
                " ORDER BY seq LIMIT ?",
                (after, limit),
            ).fetchall()
            found = [(row["seq"], _build_record(db, row)) for row in rows]
        entries = [DueEntry(seq, record) for seq, record in found if record is not None]
        return entries, (int(rows[-1]["seq"]) if rows else after)

    def write(self, records: Sequence[Record], behind: int) -> None:
        """Store records in the series, then delete queue entries up to `behind`."""
        if records:
            self._series.record(records)
        with translate_errors(self._database), transaction(self._open()) as tx:
            tx.execute("DELETE FROM series_due WHERE seq <= ?", (behind,))

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._database)
        return self._connection


def _build_record(db: sqlite3.Connection, row: sqlite3.Row) -> Record | None:
    """Return a queued record, or None if it is damaged or its incident or event is gone."""
    if row["key"] is None:
        try:
            return _DECODER.decode(row["body"])
        except (msgspec.MsgspecError, TypeError):
            return None
    if row["measurement"] == "incident":
        return _build_incident(db, row["key"])
    return _build_event(db, row["key"])


def _build_event(db: sqlite3.Connection, key: str) -> Record | None:
    row = db.execute(_EVENT, (key,)).fetchone()
    if row is None:
        return None
    fields = _read_fields(row)
    sentence = read_evidence(row).describe(row["of_kind"])
    texts = {"sentence": sentence, "detail": join_details(parse_facts(row["details"]))}
    fields |= {name: text for name, text in texts.items() if text}
    evidence = json.loads(row["evidence"])
    decays = [evidence[key][3] for key in _FINE if key in evidence and evidence[key][3] is not None]
    if decays:
        fields["fine_half_s"] = decays[0]
    room, sensor = row["of_room"] or "", row["of_sensor"]
    room = "" if room == sensor else room
    return Record("event", row["at"], fields, sensor=sensor, room=room, kind=row["of_kind"], id=key)


def _build_incident(db: sqlite3.Connection, key: str) -> Record | None:
    row = db.execute(_INCIDENT, (key,)).fetchone()
    if row is None or row["of_kind"] == EventKind.POSSIBLE:  # it may still become likely vaping
        return None
    fields = _read_fields(row)
    return Record("incident", row["at"], fields, room=row["of_room"], kind=row["of_kind"], id=key)


def _read_fields(row: sqlite3.Row) -> dict[str, float | str]:
    """Return the columns that become fields of a record, without null and empty values."""
    return {
        name: value if isinstance(value, str) else float(value)
        for name, value in dict(row).items()
        if name not in _NO_FIELDS and value is not None and value != ""
    }
