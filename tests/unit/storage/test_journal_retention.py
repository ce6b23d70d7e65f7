"""Test what the journal deletes and in which order, its gaps, and the schema upgrade to 2."""

import pytest

from storage import journal as module
from storage.journal import Journal
from tests.support import journals


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.db", clock=lambda: 77.0) as opened:
        yield opened


def gaps(journal):
    return [(gap.why, gap.first, gap.last) for gap in journals.gaps(journal)]


def prune(journal, max_bytes=float("inf"), **options):
    """Prune until nothing is deleted; return how many rows were deleted, and how many unread."""
    rows = unread = 0
    options = {"min_cursor": 0, "received_before": 0.0, **options}
    while (
        done := journal.prune(excess_bytes=journal.get_bytes_used() - max_bytes, **options)
    ).rows:
        rows, unread = rows + done.rows, unread + done.unread
    return rows, unread


def test_slices_add_up(journal, make_readings, monkeypatch):
    monkeypatch.setattr(module, "_SLICE", 7)
    journal.commit(make_readings(100))
    assert prune(journal, min_cursor=80, received_before=float("inf")) == (80, 0)
    assert gaps(journal) == [("retention", 1, 80)]
    assert journals.gaps(journal)[0].at == 77.0
    assert prune(journal, min_cursor=80, received_before=float("inf")) == (0, 0)


@pytest.mark.parametrize("size", [5_000, 50_000])
def test_what_a_slice_costs_does_not_depend_on_what_is_kept(journal, make_readings, size):
    """The cost is counted in thousands of SQLite VM steps, because time depends on the disk."""
    steps = 0

    def count():
        nonlocal steps
        steps += 1

    for first in range(0, size, 5_000):
        journal.commit(make_readings(5_000, first=first))
    journal.change(lambda tx: tx.set_progress_handler(count, 1_000))
    pruned = journal.prune(min_cursor=size, received_before=0.0, excess_bytes=1e9)
    assert 0 < pruned.rows <= 2_000
    assert steps < 60 * pruned.rows / 1_000
    assert pruned.unread == 0
    assert pruned.freed_bytes > 0


def filled(journal, make_readings, count=4000):
    for first in range(0, count, 1000):
        journal.commit(make_readings(1000, first=first))
    return journal.get_bytes_used()


def test_the_size_limit_deletes_the_oldest_that_all_have_read(journal, make_readings):
    size = filled(journal, make_readings)
    rows, unread = prune(journal, min_cursor=4000, max_bytes=size / 2)
    assert unread == 0
    assert 1900 < rows < 2500
    assert journal.get_bytes_used() <= size / 2
    assert gaps(journal) == [("retention", 1, rows)]


def test_size_passes_a_slow_reader_only_with_a_word(journal, make_readings, caplog):
    size = filled(journal, make_readings)
    rows, unread = prune(journal, min_cursor=1000, max_bytes=size / 2, last_deletable=4000)
    assert unread == rows - 1000
    found = gaps(journal)
    assert ("retention", 1, rows) in found
    unread_gaps = [(first, last) for why, first, last in found if why == "unread"]
    assert unread_gaps[0][0] == 1001
    assert unread_gaps[-1][1] == rows
    assert sum(last - first + 1 for first, last in unread_gaps) == unread
    assert "unread" in caplog.text


def test_what_was_deleted_unread_is_counted_over_restarts(tmp_path, make_readings):
    counted = 0
    for run in range(3):
        with Journal(tmp_path / "journal.db") as journal:
            assert journal.count_deleted_unread() == counted
            size = filled(journal, make_readings)
            _, unread = prune(
                journal, min_cursor=500 * run, max_bytes=size / 2, last_deletable=10**9
            )
            counted += unread
            assert unread
            assert journal.count_deleted_unread() == counted
    with Journal(tmp_path / "journal.db") as journal:
        journal.skip_to(10**6)
        assert journal.count_deleted_unread() == counted


def test_dead_letters_alone_make_no_reading_go(journal, make_readings):
    journal.commit(make_readings(1))
    assert prune(journal, min_cursor=1, max_bytes=1) == (1, 0)
    assert prune(journal, min_cursor=1, max_bytes=1) == (0, 0)


def test_room_is_used_again(journal, make_readings):
    size = filled(journal, make_readings)
    file = journal.path.stat().st_size
    for _ in range(5):
        prune(journal, min_cursor=10**9, max_bytes=size / 2)
        journal.commit(make_readings(1500))
    assert journal.path.stat().st_size <= 1.2 * max(file, size)
