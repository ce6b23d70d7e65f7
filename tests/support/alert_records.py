"""Read a state database's alert records, for tests.

Each function returns the records that match `given`, oldest first: the values of one field if
`names` has one, tuples if it has several, or whole records if it has none.
"""

import sqlite3
from dataclasses import replace
from operator import attrgetter
from types import SimpleNamespace

import msgspec
import pytest

from alerts.incidents import repository, silences
from alerts.notify import outbox
from alerts.notify.notice import Notice
from language.messages import parse_params


def incidents(db, *names, **given):
    """Return incidents as the engine loads them."""
    ids = db.execute("SELECT id FROM incident ORDER BY rowid").fetchall()
    return _chosen([repository.load(db, row["id"]) for row in ids], names, given)


def events(db, *names, **given):
    """Return detector events."""
    return _records(db, "alert_event ORDER BY rowid", names, given)


def history(db, *names, **given):
    """Return the history entries of incidents: action, time and person."""
    found = _records(db, "incident_history ORDER BY incident, seq", (), {})
    for line in found:
        line.detail = parse_params(line.detail)
    return _chosen(found, names, given)


def feedback(db, *names, **given):
    """Return people's feedback: verdict, cause and note."""
    return _records(db, "incident_feedback ORDER BY incident, seq", names, given)


def notices(db, *names, **given):
    """Return the outbox's notices: pending, sent, canceled and failed."""
    found = _records(db, "outbox ORDER BY id", (), {})
    for row in found:
        row.notice = msgspec.json.decode(row.notice, type=Notice)
    return _chosen(found, names, given)


def steps(db, *names, **given):
    """Return escalation steps; pending steps have no `done_at`."""
    return _records(db, "escalation_step ORDER BY incident, seq", names, given)


def deferred(db, *names, **given):
    """Return notices that are or were deferred by throttling."""
    return _records(db, "held_notice ORDER BY person, incident, round", names, given)


def everything(db):
    """Return all alert records by type."""
    readers = (incidents, events, history, feedback, notices, steps, deferred)
    return {reader.__name__: reader(db) for reader in readers}


def change_incidents(tx, *which, **changed):
    """Update columns of the incidents with these ids, or of all incidents."""
    for incident in incidents(tx):
        if not which or incident.id in which:
            repository.save(tx, replace(incident, **changed))


def add_silence(tx, labels, starts_at, ends_at, **more):
    given = {"owner": "ap", "reason": "painting", "now": starts_at, **more}
    return silences.add(tx, labels=labels, starts_at=starts_at, ends_at=ends_at, **given)


def deliver(tx, engine, now, after_s=0.0):
    """Send all notices due at `now`, as the pump does; return them."""
    rows = outbox.lease(tx, now, owner="t", lease_s=60, limit=1000, free=lambda _channel: 1000)
    delivered = [row for row in rows if outbox.mark_sent(tx, row, now + after_s)]
    for row in delivered:
        engine.record_delivery(tx, row, now + after_s)
    return delivered


def _records(db, table, names, given):
    rows = db.execute(f"SELECT * FROM {table}")  # noqa: S608 - tables named above
    return _chosen([SimpleNamespace(**dict(row)) for row in rows], names, given)


def _chosen(records, names, given):
    found = [r for r in records if all(getattr(r, k) == v for k, v in given.items())]
    return list(map(attrgetter(*names), found)) if names else found


def assert_append_only(db, *tables):
    """Assert that records cannot be changed or deleted."""
    for table in tables:
        found = db.execute(f"SELECT * FROM {table}")  # noqa: S608 - names of the tests
        assert found.fetchone()
        column = found.description[0][0]
        for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):  # noqa: S608
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(statement)
