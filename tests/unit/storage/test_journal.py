"""Test that the journal keeps readings once and in order, and survives corrupt records."""

import contextlib
import sqlite3
import tempfile
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import journal as module
from storage.errors import StorageError, StorageUnavailableError
from storage.journal import DeadLetter, Journal, JournalReader
from storage.reading import Reading
from tests.support.journals import tail
from tests.support.oracle import letters_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path):
    with Journal(path) as opened:
        yield opened


def letter(n=0, reason="malformed"):
    return DeadLetter(1000.0 + n, f"topic/{n}", reason, f"no {n}", "native", 5, b"\xff\x00 no")


def spoil(path, offset, **columns):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for name, value in columns.items():
            connection.execute(
                f"UPDATE journal SET {name} = ? WHERE offset = ?",  # noqa: S608 - a test's own
                (value, offset),
            )


def test_everything_in_a_reading_is_read_back(journal):
    full = Reading(
        "s", 1.5, 2.5, {"pm25": 0.1}, ("tamper",), ("rh",), ("late", "unknown_sensor"), 2**63 - 1
    )
    bare = Reading("s", -1e9, 0.0)
    journal.commit([full, bare])
    assert tail(journal, 2) == [full, bare]


def test_continue_behind(path, make_readings):
    with Journal(path) as journal:
        journal.skip_to(100)
        assert journal.get_last_offset() == 100
        with JournalReader(path) as reader:
            assert journal.read(0, 10) == reader.read(0, 10) == ([], 100)  # a gap up to there
        assert journal.commit(make_readings(2)) == 102
        journal.skip_to(50)
        assert journal.commit(make_readings(1)) == 103
        journal.skip_to(200)
    with Journal(path) as journal:
        assert journal.commit(make_readings(1)) == 201
        assert [e.offset for e in journal.read(0, 10)[0]] == [101, 102, 103, 201]


@pytest.mark.parametrize(
    "damage",
    [{"body": b""}, {"body": b"\x93abc"}, {"crc": 1}, {"body": b"\x80", "crc": 0x9D4C7E8B}],
    ids=["empty", "garbage", "crc", "form"],
)
def test_a_corrupt_record_is_quarantined_and_counted(path, make_readings, damage):
    if "crc" in damage and "body" in damage:
        damage = {**damage, "crc": zlib.crc32(damage["body"])}
    readings = make_readings(4)
    with Journal(path) as journal:
        journal.commit(readings)
        spoil(path, 2, **damage)
        entries, position = journal.read(0, 10)
        assert [e.offset for e in entries] == [1, 3, 4]
        assert position == 4
        assert journal.corrupt_records == 1
        (dead_letter,) = letters_of(journal)
        assert (dead_letter.reason, dead_letter.topic, dead_letter.detail) == (
            "corrupt_record",
            "journal",
            "offset 2",
        )
        assert journal.read(0, 10) == (entries, 4)
        assert journal.corrupt_records == 1
        assert journal.count_dead_letters() == {"corrupt_record": 1}
        assert journal.commit(make_readings(1)) == 5


def test_a_corrupt_record_is_passed_even_when_it_cannot_be_moved(path, make_readings, monkeypatch):
    with Journal(path) as journal:
        journal.commit(make_readings(2))
        spoil(path, 1, crc=0)

        def full(_):
            raise StorageUnavailableError("disk full")

        monkeypatch.setattr(journal, "change", full)
        entries, position = journal.read(0, 10)
        assert ([e.offset for e in entries], position) == ([2], 2)
        assert journal.corrupt_records == 1


def test_dead_letters_are_bounded(journal, monkeypatch):
    monkeypatch.setattr(module, "_MAX_DEAD_LETTERS", 10)
    for n in range(0, 30, 3):
        journal.commit([], [letter(n), letter(n + 1), letter(n + 2)])
    kept = letters_of(journal, 100)
    assert len(kept) == 10
    assert kept[0] == letter(29)


def test_nothing_of_a_refused_group_is_kept(path, make_readings):
    with Journal(path) as journal:
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "CREATE TRIGGER full BEFORE INSERT ON dead_letter"
                " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
        with pytest.raises(StorageUnavailableError, match="disk is full"):
            journal.commit(make_readings(3), [letter()])
        assert journal.read(0, 10) == ([], 0)
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TRIGGER full")
        journal.commit(make_readings(3), [letter()])
        assert len(journal.read(0, 10)[0]) == 3


def test_readers_in_threads_see_whole_groups(journal, make_readings):
    """A consumer in another thread reads complete groups in order while others are committed."""
    seen, failed = [], []
    done = threading.Event()

    def consume():
        position = 0
        try:
            while True:
                last_round = done.is_set()
                entries, position = journal.read(position, 7)
                seen.extend(e.reading.seq for e in entries)
                if not entries and last_round:
                    return
        except StorageError as error:
            failed.append(error)

    thread = threading.Thread(target=consume)
    thread.start()
    for first in range(0, 300, 10):
        journal.commit(make_readings(10, first=first))
    done.set()
    thread.join(60)
    assert not failed
    assert seen == list(range(300))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("commit"), st.integers(0, 6)),
            st.tuples(st.just("skip"), st.integers(1, 40)),
            st.tuples(st.just("prune"), st.integers(0, 300)),
            st.tuples(st.just("read"), st.integers(0, 40)),
        ),
        max_size=30,
    ),
    st.integers(1, 5),
)
def test_what_is_remembered_is_what_is_on_the_disk(operations, remembered):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        with Journal(path, remembered=remembered) as journal, Journal(path) as disk:
            for what, n in operations:
                if what == "commit":
                    last = journal.get_last_offset()
                    journal.commit(
                        [Reading("s", last + k, last + k, {"rh": 4.0}) for k in range(n)]
                    )
                elif what == "skip":
                    journal.skip_to(n)
                elif what == "prune":
                    journal.prune(
                        min_cursor=0, received_before=0.0, excess_bytes=n, last_deletable=n
                    )
                for limit in (1, 3, 50):
                    entries, position = disk.read(n, limit)
                    assert journal.read(n, limit) == (entries, position)
                    assert journal.read_recent(n, limit) in (None, entries)


def test_a_disk_that_refuses_leaves_nothing_to_remember(path, make_readings, monkeypatch):
    with Journal(path, remembered=10) as journal:
        journal.commit(make_readings(2))

        def full(_):
            raise StorageUnavailableError("disk full")

        monkeypatch.setattr(journal, "change", full)
        with pytest.raises(StorageUnavailableError):
            journal.commit(make_readings(1))
        assert journal.read(2, 10) == ([], 2)
