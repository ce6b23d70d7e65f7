"""Test that dead letters are found by reason and source, limited, and harmless to view."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.dead_letters import (
    MAX_LETTERS,
    count_dead_letters,
    find_dead_letters,
    make_visible,
)
from storage.journal import DeadLetter, Journal
from storage.sqlite import connect


def letter(k, reason="malformed", decoder="native", topic="plumewatch/v1/a/reading"):
    return DeadLetter(1000.0 + k, topic, reason, "why", decoder, 3, b"{%d" % k)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        journal.commit([], [letter(k) for k in range(5)])
        journal.commit([], [letter(5, reason="unknown_topic", decoder="", topic="a%b/c")])
        journal.commit([], [letter(6, reason="bad_time", decoder="tasmota")])
        yield path


@pytest.fixture
def db(file):
    connection = connect(file, read_only=True)
    yield connection
    connection.close()


def numbers(found):
    return [f.id for f in found]


def test_newest_first_and_bounded(db):
    assert numbers(find_dead_letters(db)) == [7, 6, 5, 4, 3, 2, 1]
    assert numbers(find_dead_letters(db, limit=2)) == [7, 6]
    assert numbers(find_dead_letters(db, before=3)) == [2, 1]
    assert numbers(find_dead_letters(db, limit=0)) == [7]
    assert len(find_dead_letters(db, limit=10 * MAX_LETTERS)) == 7


def test_by_reason(db):
    assert numbers(find_dead_letters(db, reason="bad_time")) == [7]


def test_counts(db):
    assert count_dead_letters(db) == {
        ("malformed", "native"): 5,
        ("bad_time", "tasmota"): 1,
        ("unknown_topic", ""): 1,
    }


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"", ""),
        (b'{"pm25": 7}', '{"pm25": 7}'),
        ("µg/m³".encode(), "µg/m³"),
        (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        (b"\xff\x00", "\\xff\\x00"),
        ("a\u202eb".encode(), "a\\u202eb"),
        (b"\\x1b", "\\\\x1b"),
        (b"x" * 5000, "x" * 4096 + "…"),
    ],
)
def test_visible(payload, shown):
    assert make_visible(payload) == shown


@given(st.binary(max_size=60))
def test_visible_is_printable_and_one_line(payload):
    assert make_visible(payload).isprintable()


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_no_two_payloads_look_the_same(one, other):
    assert (one == other) == (make_visible(one) == make_visible(other))
