"""Test that `status` and `dead-letters` read stored data, whether the service runs or not."""

import json
import os
import re
from contextlib import closing

import pytest

from alerts.consumer.detection_consumer import LIVENESS, DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.policy import AlertPolicy
from detection.liveness import Liveness, LivenessSettings
from ingest.integrity import ReadingCounts
from ingest.validation import may_alert
from plumewatch.check.result import State
from plumewatch.check.sensors import check_sensors
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from plumewatch.sensor_status import read_statuses, save_counts
from plumewatch.service.data_folder import NEWEST
from storage.audit import find_account
from storage.files import FolderLock
from storage.journal import STATE_SCRIPTS, DeadLetter, Journal, Snapshot, save_snapshot
from storage.reading import Reading
from storage.sqlite import connect, migrate, transaction
from storage.timeseries.sqlite import SqliteSeries
from tests.support.command import plumewatch
from tests.support.config_entries import one_room
from tests.support.two_schools import TWO

NOW = 1_790_000_000.0


@pytest.fixture
def config_path(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(one_room("s1", "s2", timezone="America/New_York"))
    return path


@pytest.fixture
def stored(config_path):
    """Return a data folder with four readings from one sensor and a rejected message."""
    config = load(config_path)
    paths = DataPaths(config.data_dir)
    paths.root.mkdir()
    readings = [
        Reading("s1", NOW + 60 * k, NOW + 60 * k, {"pm25": 4.0}, (), (), ("late",) if k else ())
        for k in range(5)
    ]
    with Journal(paths.journal) as journal:
        journal.commit(readings, [DeadLetter(NOW, "a/b", "malformed", "no", "native", 1, b"\x1b")])
    connection = connect(paths.state)
    migrate(connection, "state", STATE_SCRIPTS)
    migrate(connection, schema.COMPONENT, schema.SCRIPTS)
    registry = config.build_registry()
    consumer = DetectionConsumer(
        connection, AlertEngine(registry, AlertPolicy()), may_alert, LivenessSettings()
    )
    consumer.process(readings, len(readings), NOW)
    consumer.save_snapshot()
    tally = ReadingCounts()
    for reading in readings:
        tally.add(reading)
    tally.add_skipped({"s1": 2, "s2": 1})
    save_counts(connection, tally.snapshot(), len(readings))
    connection.close()
    return config_path


def run(path, *words):
    ran = plumewatch(*words, "--config", path)
    return ran.code, ran.out


def test_readings_since_the_last_snapshot_count_at_once(stored):
    """The service saves counts and states once a minute, but readings immediately."""
    with Journal(stored.parent / "plumewatch-data/journal.db") as journal:
        journal.commit(
            [Reading(name, NOW + 250, NOW + 250, {"pm25": 4.0}) for name in ("s1", "s2")]
        )
    _, text = run(stored, "status", "--json")
    first, second = map(json.loads, text.splitlines())
    assert (first["last_seen"], first["counts"]["readings"]) == (NOW + 250, 6)
    assert (second["state"], second["last_seen"]) == ("alive", NOW + 250)
    _, checked = run(stored, "check")
    assert "has never reported" not in checked


def test_the_time_between_two_runs_of_the_service_is_no_interval(stored):
    """The service first saves its state after a minute; `status` must work before that."""
    paths = DataPaths(load(stored).data_dir)
    with Journal(paths.journal) as journal:
        journal.commit([Reading("s1", at, at, {"pm25": 4.0}) for at in (NOW + 300, NOW + 9000)])
    lock = FolderLock(paths.lock)
    lock.take()
    os.utime(paths.lock, (NOW + 8999, NOW + 8999))
    first = json.loads(run(stored, "status", "--json")[1].splitlines()[0])
    lock.release()
    assert first["interval_s"] == 60.0


def test_a_sensor_known_only_from_the_series_was_heard_then(stored):
    """The staff page shows the same (`SensorStatus.merge_stored`)."""
    with SqliteSeries(stored.parent / "plumewatch-data/series.db") as series:
        series.write([Reading("s2", NOW - 3 * 86_400, NOW, {"pm25": 4.0})])
    second = json.loads(run(stored, "status", "--json")[1].splitlines()[1])
    assert (second["state"], second["last_seen"]) == ("silent", NOW - 3 * 86_400)
    said = [found.sentence for found in check_sensors(load(stored), NOW + 240)]
    assert "s2: silent, longest for 3 days" in said
    assert not any("never heard" in sentence for sentence in said)


def test_a_sensor_that_nobody_registered_is_named_at_once(stored):
    with Journal(stored.parent / "plumewatch-data/journal.db") as journal:
        journal.commit([Reading("s1x", NOW, NOW, {"pm25": 4.0}, (), (), ("unknown_sensor",))])
    shown = run(stored, "status")[1]
    assert "Not registered, so they raise no alert: s1x" in shown
    assert re.search(r"As of \w+ \d+, 20\d\d, .*; the service is not running\.", shown)
    assert "s1x: readings arrive, but no [[sensor]]" in run(stored, "check")[1]


def test_sensors_of_a_closed_school_are_not_told_to_correct_their_id(tmp_path):
    path = tmp_path / "plumewatch.toml"
    text = TWO.replace('name = "South High"', 'name = "South High"\nclosed = 2025-11-30')
    path.write_text(text.replace('id = "south-1"', 'id = "south-1"\naliases = ["New-1"]'))
    paths = DataPaths(load(path).data_dir)
    paths.root.mkdir()
    with Journal(paths.journal) as journal:
        journal.commit(
            [
                Reading(name, NOW, NOW, {"pm25": 4.0}, (), (), ("unknown_sensor",))
                for name in ("south-1", "new1", "south-x")
            ]
        )
    with closing(connect(paths.state)) as db:
        migrate(db, "state", STATE_SCRIPTS)
        migrate(db, schema.COMPONENT, schema.SCRIPTS)
    shown = run(path, "status")[1]
    assert "Not registered, so they raise no alert: south-x. Add a [[sensor]] block" in shown
    assert "Their school is closed, but they still publish: new1, south-1" in shown
    checked = run(path, "check")[1]
    assert "has 1 room, 1 sensor, 2 staff" in checked
    assert "south-x: readings arrive, but no [[sensor]] has this id" in checked
    assert "new1, south-1: still publish, but their school is closed" in checked


def test_status_as_json(stored):
    code, text = run(stored, "status", "--json")
    assert code == 0
    first, second = map(json.loads, text.splitlines())
    assert first == {
        "sensor": "s1",
        "room": "r",
        "state": "alive",
        "last_seen": NOW + 240,
        "interval_s": 60.0,
        "counts": {"readings": 5, "late": 4, "skipped": 2},
        "no_particles_since": None,
        "unlikely": [],
    }
    assert second == {
        "sensor": "s2",
        "room": "r",
        "state": "never heard",
        "last_seen": None,
        "interval_s": 5.0,
        "counts": {},
        "no_particles_since": None,
        "unlikely": [],
    }


def test_a_sensor_that_has_sent_no_particles_for_a_day_is_named(stored):
    config = load(stored)
    tally = ReadingCounts()
    lives = Liveness({"s1": 5.0, "s2": 5.0})
    for sensor, last in (("s1", NOW + 80_000), ("s2", NOW + 90_000)):
        for at in (NOW, last):
            tally.add(Reading(sensor, at, at, {"tvoc_ppb": 90.0}))
            lives.on_item(sensor, at, alive=True)
    with closing(connect(DataPaths(config.data_dir).state)) as db:
        save_counts(db, tally.snapshot(), 5)
        with transaction(db) as tx:
            save_snapshot(tx, LIVENESS, Snapshot(5, "", lives.snapshot()))
        found = read_statuses(db, config)
    assert {k: s.no_particles_since for k, s in found.items()} == {"s1": None, "s2": NOW}
    assert run(stored, "status")[1].count("no particles since") == 1
    check = [f for f in check_sensors(config, NOW) if "no particles" in f.sentence]
    assert [(f.state, f.sentence.partition(":")[0]) for f in check] == [(State.WARNING, "s2")]


def test_values_in_another_unit_are_said(stored):
    config = load(stored)
    tally = ReadingCounts()
    for k in range(6):
        tally.add(Reading("s2", NOW + k, NOW + k, {"pm25": 0.006 + k / 1000, "temp": 70.0}))
    with closing(connect(DataPaths(config.data_dir).state)) as db:
        save_counts(db, tally.snapshot(), 5)
    _, printed = run(stored, "status", "--json")
    assert json.loads(printed.splitlines()[1])["unlikely"] == ["temp", "pm25"]
    assert "mg/m³" in run(stored, "status")[1]
    found = [f.sentence for f in check_sensors(config, NOW) if f.part == "units"]
    assert found == [
        "s2: temperature always above 45 °C: looks like °F",
        "s2: PM2.5 always below 0.05 µg/m³ and varying: looks like mg/m³",
    ]


def test_dead_letters(stored):
    code, text = run(stored, "dead-letters")
    assert code == 0
    assert re.search(r"\b1 +a/b .*malformed", text)
    code, text = run(stored, "dead-letters", 1)
    assert code == 0
    assert "\x1b" not in text
    assert text.splitlines()[-1].split() == ["payload", "\\x1b"]
    code, text = run(stored, "dead-letters", "--reason", "bad_time", "--json")
    assert (code, text) == (0, "")
    code, text = run(stored, "dead-letters", "--reason", "malformed", "--json")
    assert json.loads(text)["topic"] == "a/b"


@pytest.mark.parametrize("command", ["status", "dead-letters"])
def test_data_of_an_older_program_are_not_read_as_empty(stored, command, monkeypatch):
    """The command reports that the program was upgraded, but the service has not started yet."""
    for part in ("journal", "alerts"):
        monkeypatch.setitem(NEWEST, part, 2)
    ran = plumewatch(command, "--config", stored)
    assert ran.code != 0
    assert "start the service once with this one" in ran.err
    assert "never heard" not in ran.out


@pytest.mark.usefixtures("stored")
def test_data_that_this_account_cannot_read(config_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    ran = plumewatch("status", "--config", config_path)
    assert ran.code == 2
    assert f"state.db: Permission denied; this command runs as {find_account()}" in ran.err
