"""No number of a summary gives away a count that it hides."""

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import tables
from reports.facts import Facts
from reports.rows import IncidentRow, NoticeRow
from reports.school import Calendar
from reports.summary import summary
from reports.suppress import LEAST, SMALL, TooFewError, published
from storage.registry import Registry

DAY = datetime(2026, 9, 16, tzinfo=UTC)
START = DAY.timestamp() + 8 * 3600.0


def facts_of(counts):
    """Facts of a morning with so many incidents by room and hour, the first hour at eight."""
    incidents = []
    for room, row in enumerate(counts):
        for hour, n in enumerate(row):
            for k in range(n):
                at = START + hour * 3600.0 + 60.0 * k
                incidents.append(
                    IncidentRow(
                        id=f"{room}-{hour}-{k}",
                        kind=("vape", "smoke")[k % 2],
                        sensor=f"s{room}",
                        room=f"Room {room}",
                        room_id=f"r{room}",
                        first_evidence_at=at - 5.0,
                        opened_at=at,
                        notified_at=at + 1.0,
                    )
                )
    end = START + len(counts[0]) * 3600.0
    return Facts(
        school="Lincoln High",
        start=START,
        end=end,
        now=end + 86_400.0,
        registry=Registry({}, {}),
        calendar=Calendar(ZoneInfo("UTC"), frozenset({DAY.date()})),
        incidents=tuple(incidents),
        notices=tuple(
            NoticeRow(i.id, "p", "staff", "push", "first", i.opened_at, i.opened_at + 1.0)
            for i in incidents
        ),
    )


def numbers(rows, section, measure=None):
    """Numbers or notes of a section, by item and measure or by item alone."""
    return {
        r["item"] if measure else (r["item"], r["measure"]): r["note"] or r["value"]
        for r in rows
        if r["section"] == section and measure in {None, r["measure"]}
    }


def fits(printed, n):
    """Whether a number is consistent with how it is printed."""
    if isinstance(printed, str):
        return n < LEAST if printed == SMALL else n >= LEAST
    return n == printed


def possible(facts, hours):
    """All tables of counts that fit everything the reports say."""
    rows = summary(facts).table().to_dicts()
    cells, totals = numbers(rows, "period_by_room"), numbers(rows, "rooms", "incidents")
    whole = int(numbers(rows, "figures", "value")["incidents_air"])
    columns = []  # sums by hour, from wherever they are printed
    clock = numbers(rows, "hour_by_weekday")
    if clock:
        columns.append([sum(n for (h, _), n in clock.items() if h == hour) for hour in hours])
    response = tables.response.frame(facts).to_dicts()
    for by in ("period", "hour"):
        found = {r["value"]: r["incidents"] for r in response if r["by"] == by}
        if found:
            columns.append([found.get(hour, 0) for hour in hours])
    ways = []
    for room, total in totals.items():
        printed = [cells[room, hour] for hour in hours]
        choices = [
            [int(n)] if not isinstance(n, str) else [k for k in range(whole + 1) if fits(n, k)]
            for n in printed
        ]
        ways.append([w for w in itertools.product(*choices) if sum(w) >= 1 and fits(total, sum(w))])
    found = [
        dict(zip(totals, way, strict=True))
        for way in itertools.product(*ways)
        if sum(map(sum, way)) == whole
        and all([sum(c) for c in zip(*way, strict=True)] == sums for sums in columns)
    ]
    return found, cells


COUNTS = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 7])
SIZES = st.sampled_from([(1, 1), (1, 3), (2, 1), (2, 2), (3, 1), (3, 2), (2, 3)])


def table_of(size):
    rooms, hours = size
    row = st.lists(COUNTS, min_size=hours, max_size=hours)
    return st.lists(row, min_size=rooms, max_size=rooms)


@settings(max_examples=120)
@given(SIZES.flatmap(table_of))
def test_no_hidden_count_has_one_value_that_fits(counts):
    facts, hours = facts_of(counts), [f"{8 + k:02d}:00" for k in range(len(counts[0]))]
    try:
        found, cells = possible(facts, hours)
    except TooFewError:
        assert any(0 < n < LEAST for row in counts for n in row)
        return
    assert found
    for k, row in enumerate(counts):
        for j, n in enumerate(row):
            if 0 < n < LEAST:
                assert cells[f"Room {k}", hours[j]] == SMALL
                assert len({way[f"Room {k}"][j] for way in found}) > 1, (k, j, found)


def test_one_lesson_gives_no_room_away():
    facts = facts_of([[4], [2], [1]])
    made = summary(facts)
    assert [values[0] for _, values in made.grids["rooms"].rows] == [None] * 3
    assert set(made.grids["rooms"].notes.values()) == {SMALL}
    printed = numbers(made.table().to_dicts(), "figures", "value")
    assert printed["incidents_air"] == 7.0


def test_a_school_with_one_room_still_has_its_total():
    shown = published(["1", "2", "3"], {"a": [0, 3, 0]})
    assert (shown.totals, shown.by_period, shown.whole) == ({"a": 3}, False, True)


def test_ordinary_weeks_keep_their_totals():
    counts = {"a": [6, 9, 7], "b": [1, 2, 1], "c": [2, 0, 3], "d": [12, 3, 7]}
    shown = published(["1", "2", "3"], counts)
    assert shown.totals == {"a": 22, "d": 22, "c": 5, "b": 4}
    assert shown.by_period
    assert shown.cells["d"] == (12, None, None)
    assert shown.notes["d", "3"] == "not shown"


@pytest.mark.parametrize("counts", [[[3]], [[4, 4]], [[1], [1]]])
def test_nothing_is_published_if_any_sum_reveals_it(counts):
    facts = facts_of(counts)
    for make in (summary, tables.response.frame, tables.sensors.frame):
        with pytest.raises(TooFewError, match="choose a longer time"):
            make(facts)


def test_sensors_are_as_silent_as_rooms():
    frame = tables.sensors.frame(facts_of([[4], [2], [1]]))
    assert frame["incidents"].to_list() == [None] * 3
