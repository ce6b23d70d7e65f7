from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.duty.timetable import DAY_MIN, Span, find_instant, parse_minutes

CHICAGO = ZoneInfo("America/Chicago")
SPRING, FALL = date(2020, 3, 8), date(2020, 11, 1)


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "clock", "expected"),
    [
        (date(2020, 3, 7), "02:30", utc(2020, 3, 7, 8, 30)),
        (SPRING, "01:59", utc(2020, 3, 8, 7, 59)),
        (SPRING, "02:00", utc(2020, 3, 8, 8, 0)),  # skipped until 03:00
        (SPRING, "02:30", utc(2020, 3, 8, 8, 0)),
        (SPRING, "02:59", utc(2020, 3, 8, 8, 0)),
        (SPRING, "03:00", utc(2020, 3, 8, 8, 0)),
        (SPRING, "03:01", utc(2020, 3, 8, 8, 1)),
        (FALL, "00:59", utc(2020, 11, 1, 5, 59)),
        (FALL, "01:30", utc(2020, 11, 1, 6, 30)),  # the first of two
        (FALL, "01:59", utc(2020, 11, 1, 6, 59)),
        (FALL, "02:00", utc(2020, 11, 1, 8, 0)),
    ],
)
def test_wall_times_where_the_clocks_are_set(day, clock, expected):
    assert find_instant(CHICAGO, day, parse_minutes(clock)) == expected


@pytest.mark.parametrize(
    ("zone", "day", "clock", "expected"),
    [
        ("Australia/Lord_Howe", date(2026, 10, 4), "02:15", "02:30"),  # half an hour
        ("Asia/Beirut", date(2026, 3, 29), "00:00", "01:00"),  # midnight itself is skipped
        ("Pacific/Apia", date(2011, 12, 30), "12:00", "00:00"),  # a whole day is skipped
        ("Europe/Berlin", date(2026, 3, 29), "02:30", "03:00"),
    ],
)
def test_clocks_that_jump_otherwise(zone, day, clock, expected):
    zone = ZoneInfo(zone)
    assert (
        find_instant(zone, day, parse_minutes(clock)).astimezone(zone).strftime("%H:%M") == expected
    )


@given(
    st.sampled_from([SPRING, FALL, date(2026, 9, 7)]),
    st.integers(0, 2 * DAY_MIN - 1),
    st.sampled_from(["America/Chicago", "Australia/Lord_Howe", "UTC", "Pacific/Apia"]),
)
def test_the_clock_face_never_runs_backwards(day, minute, zone):
    zone = ZoneInfo(zone)
    assert find_instant(zone, day, minute) <= find_instant(zone, day, minute + 1)


def test_every_instant_of_a_day_of_touching_periods_is_in_exactly_one():
    for day in (SPRING, FALL):
        edges = [find_instant(CHICAGO, day, m) for m in range(0, DAY_MIN + 1, 30)]
        spans = [Span(a, b) for a, b in pairwise(edges)]
        at = edges[0]
        while at < edges[-1]:
            assert sum(span.contains(at) for span in spans) == 1
            at += timedelta(minutes=5)


@pytest.mark.parametrize(
    "text", ["24:00", "24:01", "12:60", "1:00", "01:0", "0100", "-1:00", "01:00:00", "٠١:٠٠", ""]
)
def test_what_is_no_wall_time(text):
    with pytest.raises(ValueError, match="00:00 to 23:59"):
        parse_minutes(text)
