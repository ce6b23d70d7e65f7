"""Readings older than the window of duplicates, searched for in the journal."""

import pytest

from ingest.duplicates.journal_history import KEEP_S, JournalHistory
from storage.journal import Journal
from storage.reading import Reading

SENSORS = ("a", "b", "c")


def reading(k, late=1.0):
    return Reading(SENSORS[k % 3], 1e9 + k, 1e9 + k + late, {"pm25": 4.0}, seq=k)


@pytest.fixture
def journal():
    with Journal(":memory:") as opened:
        yield opened


def test_every_reading_of_the_journal_is_known_and_no_other(journal):
    history = JournalHistory(journal, 300.0, lambda: 0.0)
    assert history.known([reading(5)]) == [False]
    journal.commit([reading(k) for k in range(5_000)])
    assert history.known([reading(4_999), reading(0), reading(5_000)]) == [True, True, False]
    assert all(history.known([reading(k) for k in range(5_000)]))
    other = [Reading("a", 1e9 + k, 1e9, {"pm25": 5.0}, seq=k + 1) for k in range(0, 300, 3)]
    assert not any(history.known(other))


def test_what_is_committed_between_two_searches_is_known(journal):
    now = 0.0
    history = JournalHistory(journal, 300.0, lambda: now)
    for k in range(50):
        assert history.known([reading(k)]) == [False]
        journal.commit([reading(k)])
        assert history.known([reading(k), reading(0)]) == [True, True]
        now += KEEP_S / 3 * (1 + k % 7)


def test_only_what_was_received_since_is_read(journal):
    """An old journal makes no search of a new reading slow."""
    journal.commit([reading(k) for k in range(1_000)])
    asked = []
    read = journal.read
    journal.read = lambda after, limit: asked.append(after) or read(after, limit)
    assert JournalHistory(journal, 10.0, lambda: 0.0).known([reading(995)]) == [True]
    assert min(asked) > 970


def test_an_offset_by_time_of_receipt(journal):
    assert journal.offset_received(1e9) == 0
    journal.commit([reading(k) for k in range(100)])
    journal.prune(min_cursor=20, received_before=float("inf"))
    assert [journal.offset_received(1e9 + 1 + k) for k in (0, 21, 50, 99, 200)] == [
        20, 21, 50, 99, 100,
    ]  # fmt: skip
