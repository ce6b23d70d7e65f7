"""Test the journal search for copies of readings that are no longer in memory."""

import pytest

from ingest.copies import Doubtful, JournalSearch
from storage.journal import Journal
from storage.reading import Reading

SENSORS = ("a", "b", "c")


def reading(k, late=1.0, kind=Reading, **more):
    return kind(SENSORS[k % 3], 1e9 + k, 1e9 + k + late, {"pm25": 4.0}, seq=k, **more)


def doubtful(*numbers):
    return [reading(k, kind=Doubtful) for k in numbers]


@pytest.fixture
def journal():
    with Journal(":memory:") as opened:
        yield opened


def test_every_reading_of_the_journal_is_known_and_no_other(journal):
    search = JournalSearch(journal)
    assert search.split_known(doubtful(5)) == ([reading(5)], [])
    journal.commit([reading(k) for k in range(12_000)])
    fresh, copies = search.split_known([*doubtful(11_999, 0), reading(7), *doubtful(12_000)])
    assert fresh == [reading(7), reading(12_000)]
    assert copies == doubtful(11_999, 0)
    assert search.split_known(doubtful(*range(12_000)))[0] == []


def test_what_is_committed_between_two_searches_is_known(journal):
    search = JournalSearch(journal)
    for k in range(50):
        fresh, _ = search.split_known(doubtful(k))
        journal.commit(fresh)
        assert search.split_known(doubtful(k, 0))[0] == []


@pytest.mark.attack
@pytest.mark.parametrize(
    "sought",
    [
        doubtful(29_995),
        [Doubtful("a", 1e9 - 4 * 365 * 86_400.0, 2e9, {"pm25": 4.0})],
        [Doubtful("s", 1e9, 2e9, {"pm25": 1.0}, stamp=1e9)],
        [Doubtful("n", 2e9, 2e9, {"pm25": 1.0}, flags=("no_time",), seq=7)],
    ],
    ids=["known", "years old", "many with its stamp", "many with its number"],
)
def test_the_work_does_not_grow_with_the_journal(journal, sought):
    journal.commit([reading(k) for k in range(30_000)])
    journal.commit(
        [Reading("s", 1e9 + k / 1e3, 2e9, {"pm25": 4.0}, stamp=1e9) for k in range(1, 2_000)]
        + [Reading("n", 1e9 + k, 1e9, {}, flags=("no_time",), seq=7) for k in range(2_000)]
        + [Reading("s", 1e9, 2e9, {"pm25": 4.0})]
    )
    steps = iter(range(1_000_000))
    journal.query(lambda db: db.set_progress_handler(lambda: next(steps) and None, 10))
    JournalSearch(journal).split_known(sought)
    assert 10 * next(steps) < 20_000


def test_a_reading_stored_while_our_clock_was_behind_is_found_by_its_stamp(journal):
    """Our clock was an hour behind when the reading was received, and correct for later ones."""
    wrong = [
        Reading(
            "a", 1e9 + k, 1e9 + k, {"pm25": 4.0}, flags=("time_replaced",), stamp=1e9 + 3600 + k
        )
        for k in range(8_000)
    ]
    journal.commit(wrong)
    again = [Doubtful("a", r.stamp, 1e9 + 20_000, {"pm25": 4.0}) for r in wrong]
    search = JournalSearch(journal)
    assert search.split_known(again) == ([], again)


def test_a_reading_without_stamp_is_found_by_its_number(journal):
    def unstamped(k, kind):
        return kind("a", 1e9 + k, 1e9 + k, {"pm25": 4.0}, flags=("no_time",), seq=k % 1_000)

    journal.commit([unstamped(k, Reading) for k in range(1_000)])
    again = [unstamped(k + 5_000, Doubtful) for k in range(1_000)]
    assert JournalSearch(journal).split_known(again) == ([], again)


def test_a_time_that_the_journal_has_is_not_given_again(journal):
    journal.commit([reading(k) for k in range(10)])
    other = [Doubtful("a", 1e9, 2e9, {"pm25": float(k)}) for k in range(3)]
    fresh, copies = JournalSearch(journal).split_known(other)
    assert copies == []
    assert [r.time for r in fresh] == pytest.approx([1e9 + 0.001, 1e9 + 0.002, 1e9 + 0.003])
    assert {type(r) for r in fresh} == {Reading}
    assert {r.sensor_stamp for r in fresh} == {1e9}


def test_a_step_of_the_clock_is_carried_over_copies_to_the_next_new_reading(journal):
    search = JournalSearch(journal)
    journal.commit([reading(1)])
    first = reading(1, kind=Doubtful, clock_step=60.0)
    assert search.split_known([first, reading(2)])[0] == [reading(2, clock_step=60.0)]
    assert search.split_known([first])[0] == []
    assert search.split_known([reading(3), reading(4)])[0] == [
        reading(3, clock_step=60.0),
        reading(4),
    ]
