"""What a state database holds of alerts, for tests.

Each reader returns all records, oldest first, or those whose fields are as `given`: the values of
one field, tuples of several `names`, or without names the whole records.
"""

import sqlite3
from dataclasses import replace
from operator import attrgetter
from types import SimpleNamespace

import msgspec
import pytest

from alerts.incidents import repository
from alerts.notify import outbox
from alerts.notify.notice import Notice
from language.messages import parse_params


def incidents(db, *names, **given):
    """Incidents, as the engine loads them."""
    ids = db.execute("SELECT id FROM incident ORDER BY rowid").fetchall()
    return _chosen([repository.load(db, row["id"]) for row in ids], names, given)


def events(db, *names, **given):
    """Events of the detector."""
    return _records(db, "alert_event ORDER BY rowid", names, given)


def history(db, *names, **given):
    """Histories of incidents: what happened, when, by whom."""
    found = _records(db, "incident_history ORDER BY incident, seq", (), {})
    for line in found:
        line.detail = parse_params(line.detail)
    return _chosen(found, names, given)


def feedback(db, *names, **given):
    """Answers of people: verdict, cause and note."""
    return _records(db, "incident_feedback ORDER BY incident, seq", names, given)


def notices(db, *names, **given):
    """Notices of the outbox, whether they wait, are sent, cancelled or have failed."""
    found = _records(db, "outbox ORDER BY id", (), {})
    for row in found:
        row.notice = msgspec.json.decode(row.notice, type=Notice)
    return _chosen(found, names, given)


def steps(db, *names, **given):
    """Steps of escalations; those that wait have no `done_at`."""
    return _records(db, "escalation_step ORDER BY incident, seq", names, given)


def deferred(db, *names, **given):
    """Notices that throttling defers, or has."""
    return _records(db, "held_notice ORDER BY person, incident, round", names, given)


def everything(db):
    """All records of alerts, by what they are."""
    readers = (incidents, events, history, feedback, notices, steps, deferred)
    return {reader.__name__: reader(db) for reader in readers}


def change_incidents(tx, *which, **changed):
    """Let incidents, or without ids all, be as if this had happened to them."""
    for incident in incidents(tx):
        if not which or incident.id in which:
            repository.save(tx, replace(incident, **changed))


def deliver(tx, engine, now, after_s=0.0):
    """Send all notices that are due `now`, as the pump does; return them."""
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
    """Assert that no record can be changed or deleted."""
    for table in tables:
        found = db.execute(f"SELECT * FROM {table}")  # noqa: S608 - names of the tests
        assert found.fetchone()
        column = found.description[0][0]
        for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):  # noqa: S608
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(statement)
