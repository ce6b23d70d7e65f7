"""Records of incidents, events and samples that wait for the series, in the state database.

They commit with the journal position that led to them, so neither a crash nor a series that is away
for a week loses or invents one. *Samples* (``detection``, ``sensor_health``, ``pipeline``) wait as
the record itself. Of *incidents and events* only their keys wait, once each, collected from the
change feed; the record is made of how they are when it is written.

A batch is read from the oldest on, written into the series, then deleted here; a crash in between
writes it again, onto itself. What changes meanwhile is queued again behind the batch. `bound`
deletes the oldest samples over a limit: charts get a gap then, incidents and events never do.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from alerts.incidents import change_feed
from storage.sqlite import connect, schema_scripts, transaction, translated
from storage.timeseries.records import CLASSES, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from detection.class_samples import ClassSample
    from storage.timeseries import Series

COMPONENT: Final = "series_due"

_MARK: Final = """
    DELETE FROM series_due WHERE measurement = '{0}' AND key = {1};
    INSERT INTO series_due (measurement, key) SELECT '{0}', {1} WHERE {1} IS NOT NULL;
"""
_INCIDENT, _EVENT = _MARK.format("incident", "new.id"), _MARK.format("event", "new.id")
_ITS_INCIDENT: Final = _MARK.format("incident", "new.incident")
SCRIPTS: Final = schema_scripts(__package__, COMPONENT)

READER: Final = "series records"
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Record)
_ROWS: Final = 20_000
_FINE: Final = ("pm25", "pm1", "n03", "n05")
"""Channels of fine particles, which settle too slowly to hide how the air is changed."""


class DueEntry(NamedTuple):
    """A record and its place among what waits."""

    offset: int
    record: Record


def append(tx: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Let samples wait."""
    tx.executemany(
        "INSERT INTO series_due (measurement, body) VALUES (?, ?)",
        [(record.measurement, _ENCODER.encode(record)) for record in records],
    )


def detections(samples: Iterable[ClassSample]) -> list[Record]:
    """Return the records of class probabilities."""
    return [
        Record(
            "detection",
            sample.time,
            {**sample.probabilities, "score": sample.score, "onset": sample.onset},
            sensor=sample.sensor,
        )
        for sample in samples
    ]


def mark_all(tx: sqlite3.Connection) -> None:
    """Queue all events and incidents, for a series that has none of them yet."""
    tx.execute(
        "INSERT OR IGNORE INTO series_due (measurement, key)"
        " SELECT 'event', id FROM alert_event UNION ALL SELECT 'incident', id FROM incident"
    )


def collect_changes(tx: sqlite3.Connection) -> None:
    """Read the change feed: queue each event and incident that changed, once, at the end."""
    changes = change_feed.read(tx, READER)
    if changes is None:
        mark_all(tx)
        change_feed.advance(tx, READER, change_feed.head(tx))
    elif changes:
        keys = dict.fromkeys(
            key
            for change in changes
            for key in (("event", change.event), ("incident", change.incident))
            if key[1] is not None
        )
        tx.executemany("DELETE FROM series_due WHERE measurement = ? AND key = ?", keys)
        tx.executemany("INSERT INTO series_due (measurement, key) VALUES (?, ?)", keys)
        change_feed.advance(tx, READER, changes[-1].seq)


def waiting(connection: sqlite3.Connection) -> int:
    """Count the records that wait for the series."""
    queued = int(connection.execute("SELECT count(*) FROM series_due").fetchone()[0])
    changes = change_feed.read(connection, READER) or ()
    changed = {("event", c.event) for c in changes} | {("incident", c.incident) for c in changes}
    return queued + sum(key is not None for _, key in changed)


def bound(tx: sqlite3.Connection, limit: int) -> int:
    """Delete some of the oldest samples over a limit; how many."""
    over = waiting(tx) - limit
    if over <= 0:
        return 0
    return tx.execute(
        "DELETE FROM series_due WHERE seq IN"
        " (SELECT seq FROM series_due WHERE key IS NULL ORDER BY seq LIMIT ?)",
        (min(over, _ROWS),),
    ).rowcount


class ActiveFaults(NamedTuple):
    """What is wrong with a sensor and goes on.

    `detail`: what the faults are.
    """

    faults: int
    tampered: bool
    detail: str


def active_faults(connection: sqlite3.Connection) -> dict[str, ActiveFaults]:
    """Return the faults and tampering that go on, by sensor."""
    found: dict[str, list[sqlite3.Row]] = {}
    for row in connection.execute(
        "SELECT sensor, kind, detail FROM alert_event WHERE phase IN ('alerted', 'updated')"
        " AND kind IN ('sensor_fault', 'tamper') ORDER BY onset"
    ):
        found.setdefault(row["sensor"], []).append(row)
    return {
        sensor: ActiveFaults(
            sum(row["kind"] == "sensor_fault" for row in rows),
            any(row["kind"] == "tamper" for row in rows),
            "; ".join(row["detail"] for row in rows if row["kind"] == "sensor_fault"),
        )
        for sensor, rows in found.items()
    }


class DueRecords:
    """What waits, as a writer reads it (`storage.timeseries.writer`), and where it goes.

    `database`: state database, migrated for `COMPONENT`; `school_day`: whether a moment, Unix
    seconds, is on a day with school.
    """

    def __init__(self, database: Path, series: Series, school_day: Callable[[float], bool]) -> None:
        self._database = database
        self._series = series
        self._school_day = school_day
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the database; safe to call twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def check_connection(self) -> str:
        """Say where records go; the readings' writer asks the series."""
        return f"what waits for it is in {self._database}"

    def cursor(self) -> int:
        """Return 0: what is stored waits no more."""
        return 0

    def read(self, after: int, limit: int) -> tuple[list[DueEntry], int]:
        """Read what waits, from the oldest on.

        `after`: place already done with. Returns the place behind them, and behind what is not
        there any more. Raises `StorageUnavailableError`.
        """
        try:
            db = self._opened()
            if change_feed.read(db, READER, limit=1) != []:
                with transaction(db) as tx:
                    collect_changes(tx)
            rows = db.execute(
                "SELECT seq, measurement, key, body FROM series_due WHERE seq > ?"
                " ORDER BY seq LIMIT ?",
                (after, limit),
            ).fetchall()
            found = [(row["seq"], _record(db, row, self._school_day)) for row in rows]
        except sqlite3.Error as error:
            raise translated(error, self._database) from error
        entries = [DueEntry(seq, record) for seq, record in found if record is not None]
        return entries, (int(rows[-1]["seq"]) if rows else after)

    def write(self, records: Sequence[Record], behind: int) -> None:
        """Store records in the series, then delete what waited up to `behind`.

        Raises `StorageUnavailableError` or `BatchRefusedError`.
        """
        if records:
            self._series.record(records)
        try:
            with transaction(self._opened()) as tx:
                tx.execute("DELETE FROM series_due WHERE seq <= ?", (behind,))
        except sqlite3.Error as error:
            raise translated(error, self._database) from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._database)
        return self._connection


def _record(
    db: sqlite3.Connection, row: sqlite3.Row, school_day: Callable[[float], bool]
) -> Record | None:
    """Return the record that waits; None if what it is about is not there, or it is damaged."""
    if row["key"] is None:
        try:
            return _DECODER.decode(row["body"])
        except (msgspec.MsgspecError, TypeError):
            return None
    if row["measurement"] == "incident":
        return _incident(db, row["key"], school_day)
    return _event(db, row["key"])


def _event(db: sqlite3.Connection, key: str) -> Record | None:
    row = db.execute("SELECT * FROM alert_event WHERE id = ?", (key,)).fetchone()
    if row is None:
        return None
    fields = _present(
        {
            **{name: row[name] for name in ("alerted", "peak_time", "end", "confidence")},
            "duration_s": None if row["end"] is None else row["end"] - row["onset"],
            "withdrawn": row["phase"] == "withdrawn",
            **{name: row[name] for name in ("masked", "thc_likely", "late")},
        }
    )
    chances = json.loads(row["probabilities"])
    fields |= {f"p_{kind}": float(chances[kind]) for kind in CLASSES if kind in chances}
    half_s = _fine_half_s(json.loads(row["evidence"]))
    if half_s is not None:
        fields["fine_half_s"] = half_s
    texts = ("phase", "incident", "sentence", "evidence", "detail", "model_version")
    fields |= {name: str(row[name]) for name in texts if row[name]}
    room = row["room"] or ""
    return Record(
        "event",
        row["onset"],
        fields,
        sensor=row["sensor"],
        room="" if room == row["sensor"] else room,
        kind=row["kind"],
        id=key,
    )


def _fine_half_s(evidence: Mapping[str, Sequence[float | None]]) -> float | None:
    """Time in which half of the rise in fine particles was gone, by the first such channel."""
    found = (evidence[key][3] for key in _FINE if key in evidence)
    return next((half for half in found if half is not None), None)


def _incident(
    db: sqlite3.Connection, key: str, school_day: Callable[[float], bool]
) -> Record | None:
    row = db.execute("SELECT * FROM incident WHERE id = ?", (key,)).fetchone()
    if row is None:
        return None
    told = db.execute(
        "SELECT count(*) FILTER (WHERE status = 'sent') AS notices,"
        " count(*) FILTER (WHERE status = 'failed') AS notices_failed,"
        " count(DISTINCT person) FILTER (WHERE status = 'sent') AS people,"
        " (SELECT count(*) FROM alert_event WHERE incident = ?1) AS detections,"
        " (SELECT cause FROM incident_feedback WHERE incident = ?1 ORDER BY seq DESC LIMIT 1)"
        " AS cause FROM outbox WHERE incident = ?1",
        (key,),
    ).fetchone()
    opened, notified = row["opened_at"], row["notified_at"]
    verdicts = ("confirmed", "false_alarm", "nothing_found", "test")
    fields = _present(
        {
            **{name: row[name] for name in ("onset", "confidence", "paged")},
            "open": row["status"] != "resolved",
            "suppressed": bool(row["suppressed_by"]),
            "withdrawn": row["withdrawn_at"] is not None,
            "acknowledged": row["acknowledged_at"] is not None,
            **{verdict: row["verdict"] == verdict for verdict in verdicts},
            "school_day": school_day(opened),
            "detected_s": opened - row["onset"],
            "notified_s": _between(opened, notified),
            "acknowledged_s": _between(notified, row["acknowledged_at"]),
            "arrived_s": _between(notified, row["arrived_at"]),
            "resolved_s": _between(opened, row["resolved_at"]),
            **{n: told[n] for n in ("detections", "notices", "notices_failed", "people")},
        }
    )
    texts = {"cause": told["cause"], **{n: row[n] for n in ("sensor", "status", "verdict")}}
    texts["suppressed_by"] = row["suppressed_by"]
    fields |= {name: str(text) for name, text in texts.items() if text}
    return Record("incident", opened, fields, room=row["room"], kind=row["kind"], id=key)


def _present(numbers: dict[str, Any]) -> dict[str, float | str]:
    return {name: float(value) for name, value in numbers.items() if value is not None}


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start
