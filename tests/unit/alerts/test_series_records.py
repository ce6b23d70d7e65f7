"""Test that crashes neither lose nor duplicate the records that wait for the series."""

from dataclasses import replace

import pytest

from alerts.incidents import schema
from alerts.incidents.incident import Verdict
from alerts.outbound import series_records
from detection.events import EventPhase
from storage.journal import STATE_SCRIPTS
from storage.sqlite import connect, migrate, transaction
from storage.timeseries.records import Record, check_record
from storage.timeseries.sqlite import SqliteSeries
from tests.support.alert_records import deliver

NOW = 1_790_000_000.0
"""School is out from this time."""


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "state.db"
    connection = connect(found)
    migrate(connection, "state", STATE_SCRIPTS)
    migrate(connection, schema.COMPONENT, schema.SCRIPTS)
    migrate(connection, series_records.COMPONENT, series_records.SCRIPTS)
    connection.close()
    return found


@pytest.fixture
def db(path):
    connection = connect(path)
    yield connection
    connection.close()


@pytest.fixture
def series(tmp_path):
    with SqliteSeries(tmp_path / "series.db") as store:
        yield store


@pytest.fixture
def due(path, series):
    found = series_records.DueRecords(path, series)
    yield found
    found.close()


def drain(due, limit=100):
    """Store all waiting records; return them."""
    found = []
    while True:
        entries, behind = due.read(0, limit)
        if behind == 0:
            return found
        found += [entry.record for entry in entries]
        due.write([entry.record for entry in entries], behind)


def handle(db, engine, event, now=NOW):
    with transaction(db) as tx:
        return engine.on_events(tx, [event], now)


def test_an_incident_from_alert_to_feedback(db, due, engine, make_event):
    event = make_event(NOW, onset=NOW - 6)
    (alert,) = handle(db, engine, event)
    records = {r.measurement: r for r in drain(due)}
    assert records["event"] == Record(
        "event",
        NOW - 6,
        records["event"].fields,
        sensor="s1",
        room="n2-boys",
        kind="vape",
        id=event.id,
    )
    fields = records["event"].fields
    assert fields["confidence"] == 0.9
    assert (fields["phase"], fields["incident"]) == ("alerted", alert.incident)
    assert "end" not in fields
    assert "fine particles rose from 4 to 180" in fields["sentence"]
    opened = records["incident"]
    assert (opened.time, opened.room, opened.kind, opened.id) == (
        NOW,
        "n2-boys",
        "vape",
        alert.incident,
    )
    assert (opened.fields["open"], opened.fields["detected_s"]) == (1.0, 6.0)
    assert not {"notified_s", "acknowledged_s", "resolved_s", "verdict"} & opened.fields.keys()

    with transaction(db) as tx:  # delivered after 2 s, accepted after 50 s, a false alarm
        rows = deliver(tx, engine, NOW + 1, after_s=1.0)
        engine.acknowledge(tx, alert.incident, "ap", NOW + 50)
        engine.record_feedback(
            tx, alert.incident, "ap", Verdict.FALSE_ALARM, NOW + 60, cause="steam"
        )
    handle(
        db, engine, replace(event, phase=EventPhase.ENDED, end=NOW + 60, time=NOW + 60), NOW + 60
    )
    with transaction(db) as tx:
        engine.on_time(tx, NOW + 10_000)
    latest = {r.measurement: r for r in drain(due)}
    last_event, last = latest["event"], latest["incident"]
    assert (last_event.fields["duration_s"], last_event.fields["phase"]) == (66.0, "ended")
    fields = last.fields
    assert (fields["notified_s"], fields["acknowledged_s"]) == (2.0, 48.0)
    assert (fields["false_alarm"], fields["confirmed"], fields["cause"]) == (1.0, 0.0, "steam")
    assert (fields["notices"], fields["people"]) == (len(rows), 1.0)
    assert (fields["open"], fields["status"], fields["acknowledged"]) == (0.0, "resolved", 1.0)
    assert "A. Principal" not in str(last)
    assert "'ap'" not in str(last.fields.values())  # the responder is not in the series

    assert [check_record(record) for record in (last, last_event)]
    assert series_records.count_waiting(db) == 0


def test_what_changes_often_waits_once_and_behind(db, due, engine, make_event):
    event = make_event(NOW)
    handle(db, engine, event)
    for k in range(1, 5):
        handle(db, engine, replace(event, phase=EventPhase.UPDATED, time=NOW + k), NOW + k)
    assert series_records.count_waiting(db) == 2
    entries, behind = due.read(0, 100)
    handle(db, engine, replace(event, phase=EventPhase.ENDED, end=NOW + 9, time=NOW + 9), NOW + 9)
    due.write([e.record for e in entries], behind)
    assert series_records.count_waiting(db) == 2  # the record changed while it was being written
    (again,) = [r for r in drain(due) if r.measurement == "event"]
    assert again.fields["phase"] == "ended"


def test_a_damaged_or_vanished_one_is_passed(db, due):
    with transaction(db) as tx:
        series_records.append_samples(
            tx, [Record("sensor_health", NOW, {"online": 1.0}, sensor="s1")]
        )
        tx.execute("INSERT INTO series_due (measurement, body) VALUES ('sensor_health', x'00ff')")
        tx.execute("INSERT INTO series_due (measurement, key) VALUES ('incident', 'gone')")
    assert len(drain(due)) == 1
    assert series_records.count_waiting(db) == 0


def test_samples_over_the_bound_are_given_up_and_incidents_never(db, engine, make_event):
    handle(db, engine, make_event(NOW))
    with transaction(db) as tx:
        series_records.append_samples(
            tx, [Record("sensor_health", NOW + k, {"online": 1.0}, sensor="s1") for k in range(50)]
        )
        assert series_records.delete_excess(tx, 100) == 0
        assert series_records.delete_excess(tx, 12) == 40
        assert series_records.count_waiting(tx) == 12
        assert series_records.delete_excess(tx, 0) == 10
        assert series_records.delete_excess(tx, 0) == 0
        assert series_records.count_waiting(tx) == 2
