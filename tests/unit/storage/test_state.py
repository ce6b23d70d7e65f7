"""Consumer positions and detector snapshots."""

import contextlib

import pytest

from storage import state
from storage.sqlite import connect, migrate, transaction


@pytest.fixture
def database():
    with contextlib.closing(connect(":memory:")) as connection:
        migrate(connection, "state", state.SCRIPTS)
        yield connection


def test_positions_start_at_zero_and_are_apart(database):
    assert state.cursor(database, "detector") == 0
    state.set_cursor(database, "detector", 5)
    state.set_cursor(database, "detector", 9)
    state.set_cursor(database, "series", 2)
    assert state.cursor(database, "detector") == 9
    assert state.cursor(database, "series") == 2


def test_a_position_goes_with_its_effects(database):
    def failing():
        with transaction(database) as tx:
            state.set_cursor(tx, "detector", 5)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert state.cursor(database, "detector") == 0


def test_snapshots_replace_each_other(database):
    assert state.snapshot(database, "detector") is None
    for found in (state.Snapshot(3, "m1", b"\x00one"), state.Snapshot(8, "m2", b"")):
        state.set_snapshot(database, "detector", found)
        assert state.snapshot(database, "detector") == found
    assert state.snapshot(database, "other") is None
