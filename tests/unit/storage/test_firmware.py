"""Versions of sensors are noted once each."""

import sqlite3

import pytest

from storage import firmware
from storage.firmware import Firmware
from storage.sqlite import connect, migrate


def test_only_what_is_new_is_noted():
    db = connect(":memory:")
    migrate(db, firmware.COMPONENT, firmware.SCRIPTS)
    for sensor, version, at in (("a", "1.0", 10.0), ("a", "1.0", 20.0), ("b", "1.0", 20.0)):
        firmware.note(db, sensor, version, at)
    assert firmware.current(db) == {"a": Firmware("1.0", 10.0), "b": Firmware("1.0", 20.0)}
    firmware.note(db, "a", "1.1", 5.0)  # our clock was set back
    assert firmware.current(db)["a"] == Firmware("1.1", 5.0)
    assert firmware.versions(db) == {"a": "1.1", "b": "1.0"}
    with pytest.raises(sqlite3.IntegrityError):
        firmware.note(db, "a", "", 30.0)
    db.close()
