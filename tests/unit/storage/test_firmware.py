"""Versions of sensors: noted once each, bounded, compared within a model."""

import sqlite3

import pytest

from storage import firmware
from storage.firmware import Firmware
from storage.registry import Sensor
from storage.sqlite import connect, migrate, transaction
from storage.timeseries.records import checked


@pytest.fixture
def db():
    connection = connect(":memory:")
    migrate(connection, firmware.COMPONENT, firmware.SCRIPTS)
    yield connection
    connection.close()


def note(db, *version_fields):
    with transaction(db) as tx:
        return firmware.note(tx, *version_fields)


def test_only_what_is_new_is_noted(db):
    assert note(db, "a", "1.0", 10.0) == Firmware("a", "1.0", 10.0, "")
    assert note(db, "a", "1.0", 20.0) is None
    assert note(db, "b", "1.0", 20.0) == Firmware("b", "1.0", 20.0, "")
    assert note(db, "a", "1.1", 5.0) == Firmware("a", "1.1", 5.0, "1.0")  # our clock was set back
    assert firmware.current(db) == {
        "a": Firmware("a", "1.1", 5.0, "1.0"),
        "b": Firmware("b", "1.0", 20.0, ""),
    }
    assert firmware.versions(db) == {"a": "1.1", "b": "1.0"}
    with pytest.raises(sqlite3.IntegrityError):
        note(db, "a", "", 30.0)


def test_a_sensor_that_always_names_another_fills_nothing(db):
    note(db, "quiet", "1", 0.0)
    for k in range(3 * firmware.KEPT):
        note(db, "a", f"v{k}", float(k))
    rows = db.execute("SELECT count(*) FROM sensor_firmware").fetchone()[0]
    assert rows == firmware.KEPT + 1
    assert firmware.current(db)["quiet"].version == "1"
    assert firmware.current(db)["a"].sentence == "firmware v58 → v59"


def test_a_change_is_an_event_of_the_series():
    record = firmware.record(Firmware("a", "1.1", 20.0, "1.0"), "r")
    assert checked(record).fields["detail"] == "1.0 → 1.1"
    assert (record.kind, record.sensor, record.room, record.time) == ("firmware", "a", "r", 20.0)


@pytest.mark.parametrize(
    ("versions", "unlike"),
    [
        ({}, set()),
        ({"a": ("1", 0)}, set()),
        ({"a": ("1", 0), "b": ("1", 0), "c": ("2", 9)}, {"c"}),
        ({"a": ("1", 0), "b": ("2", 9)}, {"a"}),  # the newer one is what they are brought to
        ({"a": ("1", 0), "b": ("1", 20), "c": ("2", 9), "d": ("2", 9)}, {"a", "b"}),
        ({"a": ("1", 0), "x": ("2", 0), "nameless": ("3", 0)}, set()),
    ],
)
def test_sensors_are_compared_with_those_of_their_model(versions, unlike):
    sensors = [Sensor(name, "r", "sen55") for name in "abcd"]
    sensors += [Sensor("x", "r", "pms5003"), Sensor("nameless", "r")]
    known = {name: Firmware(name, *version_fields) for name, version_fields in versions.items()}
    assert firmware.unlike_others(sensors, known) == unlike
