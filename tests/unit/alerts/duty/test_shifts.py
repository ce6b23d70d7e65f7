"""Test when shifts run and who has them; adapted from GoAlert's schedule tests (Apache-2.0)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from alerts.duty.reasons import write_reason
from alerts.duty.shifts import ClockHours, LessonHours, Override, Shift
from alerts.duty.timetable import WEEKDAYS, Bells, Period, Timetable, parse_minutes

ZONE = ZoneInfo("UTC")
CHICAGO = ZoneInfo("America/Chicago")
# 2026-09-07 is a Monday


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours(start, end, days, zone=ZONE, **more):
    weekdays = frozenset(WEEKDAYS.index(day) for day in days.split())
    return ClockHours(zone, parse_minutes(start), parse_minutes(end, latest=1440), weekdays, **more)


def shift(hours, people=("kim",), **more):
    return Shift("s", "hall", people, hours, ZONE, **more)


def runs(found, when):
    return bool(found.find_on_duty(at(when)))


WORKDAYS = "mon tue wed thu fri"


@pytest.mark.parametrize(
    ("start", "end", "days", "when", "active"),
    [
        ("08:00", "20:00", "mon", "2026-09-08 08:00", False),
        ("08:00", "20:00", "mon", "2026-09-07 08:00", True),
        ("08:00", "20:00", "mon", "2026-09-07 20:00", False),  # half-open
        ("08:00", "20:00", "mon", "2026-09-07 19:59:59", True),
        # an overnight shift belongs to the day on which it starts
        ("20:00", "08:00", "mon", "2026-09-07 20:00", True),
        ("20:00", "08:00", "mon", "2026-09-08 08:00", False),
        ("20:00", "08:00", "mon", "2026-09-08 07:00", True),
        *(
            ("08:00", "20:00", WORKDAYS, f"2026-09-{day:02} 08:00", active)
            for day, active in zip(range(6, 13), [False, *[True] * 5, False], strict=True)
        ),
        # start = end is a whole day, so Saturday morning belongs to Friday's shift
        ("08:00", "08:00", WORKDAYS, "2026-09-06 08:00", False),
        ("08:00", "08:00", WORKDAYS, "2026-09-07 07:00", False),
        *(("08:00", "08:00", WORKDAYS, f"2026-09-{day:02} 08:00", True) for day in range(7, 12)),
        ("08:00", "08:00", WORKDAYS, "2026-09-12 07:00", True),
        ("08:00", "08:00", WORKDAYS, "2026-09-12 08:00", False),
        *(
            ("20:00", "08:00", WORKDAYS, f"2026-09-{day + 1:02} 07:00", 7 <= day <= 11)
            for day in range(6, 13)
        ),
        ("00:00", "24:00", "mon", "2026-09-07 00:00", True),
        ("00:00", "24:00", "mon", "2026-09-07 23:59:59", True),
        ("00:00", "24:00", "mon", "2026-09-08 00:00", False),
    ],
)
def test_active_or_not(start, end, days, when, active):
    assert runs(shift(hours(start, end, days)), when) is active


@pytest.mark.parametrize(
    ("zone", "when", "active"),
    [
        ("Australia/Sydney", "2021-04-06T03:00+00:00", True),  # 13:00 there
        ("Australia/Sydney", "2021-04-06T13:00+00:00", False),
        ("Australia/Sydney", "2021-10-31T21:59+00:00", False),  # daylight time: 08:59 on Monday
        ("Australia/Sydney", "2021-10-31T22:00+00:00", True),
        ("America/New_York", "2026-11-02T14:00+00:00", True),  # standard time again: 09:00
        ("America/New_York", "2026-11-02T13:00+00:00", False),
        ("America/New_York", "2026-10-30T13:00+00:00", True),  # daylight time: 09:00
    ],
)
def test_hours_are_those_of_the_school(zone, when, active):
    zone = ZoneInfo(zone)
    found = Shift("s", "hall", ("kim",), hours("09:00", "17:00", WORKDAYS, zone), zone)
    assert bool(found.find_on_duty(datetime.fromisoformat(when))) is active


def test_holidays_and_dates_decide_when_a_shift_starts():
    off = frozenset({date(2026, 9, 8)})
    found = shift(hours("20:00", "08:00", WORKDAYS, off=off), last=date(2026, 9, 9))
    assert runs(found, "2026-09-08 07:00")  # started the evening before
    assert not runs(found, "2026-09-08 21:00")
    assert not runs(found, "2026-09-09 07:00")
    assert runs(found, "2026-09-10 07:00")  # began on the last day
    assert not runs(found, "2026-09-10 21:00")
    later = shift(hours("20:00", "08:00", WORKDAYS), first=date(2026, 9, 8))
    assert not runs(later, "2026-09-08 07:00")
    assert runs(later, "2026-09-08 20:00")


BELLS = (
    Bells(
        "regular",
        (Period("1", 480, 540), Period("2", 540, 600)),
        frozenset(range(5)),
        first=date(2026, 9, 1),
        last=date(2027, 6, 18),
    ),
    Bells("half day", (Period("1", 480, 510),), dates=frozenset({date(2026, 9, 9)})),
)
TIMETABLE = Timetable(ZONE, BELLS, frozenset({date(2026, 9, 7)}))


@pytest.mark.parametrize(
    ("periods", "when", "active"),
    [
        ("1", "2026-09-08 08:00", True),
        ("1", "2026-09-08 08:59:59", True),
        ("1", "2026-09-08 09:00", False),
        ("1", "2026-09-07 08:30", False),  # a holiday
        ("1", "2026-09-09 08:29", True),  # the bells of that date
        ("1", "2026-09-09 08:30", False),
        ("2", "2026-09-09 09:30", False),
        ("", "2026-09-08 09:30", True),
        ("1", "2026-09-12 08:30", False),  # Saturday
        ("1", "2026-08-31 08:30", False),  # before the term
        ("1", "2027-06-18 08:30", True),
        ("1", "2027-06-21 08:30", False),
    ],
)
def test_lessons_are_where_the_bells_put_them(periods, when, active):
    found = LessonHours(TIMETABLE, frozenset(range(7)), frozenset(periods.split()))
    assert runs(shift(found), when) is active


def override(start, end, add="", remove=""):
    return Override("s", at(f"2026-09-07 {start}"), at(f"2026-09-07 {end}"), add, remove)


@pytest.mark.parametrize(
    ("overrides", "when", "people"),
    [
        ([], "10:00", "kim lopez"),
        ([override("10:00", "11:00", add="day")], "09:59:59", "kim lopez"),
        ([override("10:00", "11:00", add="day")], "10:00", "kim lopez day"),
        ([override("10:00", "11:00", add="day")], "11:00", "kim lopez"),
        ([override("10:00", "11:00", add="kim")], "10:00", "kim lopez"),
        ([override("20:00", "21:00", add="day")], "20:30", "day"),  # outside of the hours
        ([override("10:00", "11:00", remove="kim")], "10:30", "lopez"),
        ([override("10:00", "11:00", remove="day")], "10:30", "kim lopez"),
        ([override("10:00", "11:00", "day", "kim")], "10:30", "day lopez"),
        ([override("10:00", "11:00", "lopez", "kim")], "10:30", "lopez"),
        ([override("20:00", "21:00", "day", "kim")], "20:30", ""),  # replaces nobody
        ([override("10:00", "11:00", "day", "nobody")], "10:30", "kim lopez"),
        # applied in order: an override of an override
        ([override("10:00", "12:00", "day", "kim"), override("11:00", "12:00", "ray", "day")],
         "10:30", "day lopez"),
        ([override("10:00", "12:00", "day", "kim"), override("11:00", "12:00", "ray", "day")],
         "11:30", "ray lopez"),
        ([override("10:00", "12:00", remove="kim"), override("11:00", "12:00", add="kim")],
         "11:30", "lopez kim"),
        ([override("10:00", "12:00", remove="kim"), override("10:00", "12:00", remove="lopez")],
         "11:30", ""),
    ],
)  # fmt: skip
def test_substitutions(overrides, when, people):
    found = shift(hours("08:00", "16:00", "mon"), ("kim", "lopez"), overrides=tuple(overrides))
    assert [one.person for one in found.find_on_duty(at(f"2026-09-07 {when}"))] == people.split()


def test_the_reason_for_being_on_duty_is_given():
    changes = (override("10:00", "11:00", "day", "kim"), override("10:00", "12:00", add="ray"))
    found = shift(hours("08:00", "16:00", "mon"), ("kim",), overrides=changes)
    assert [write_reason(one.why) for one in found.find_on_duty(at("2026-09-07 10:30"))] == [
        "for kim until 11:00 AM",
        "added to the shift until 12:00 PM",
    ]
    first = found.find_on_duty(at("2026-09-07 09:00"))[0]
    assert write_reason(first.why) == "on shift until 4:00 PM"


def test_edges_are_where_who_is_on_duty_may_change():
    found = shift(
        hours("08:00", "16:00", "mon"),
        ("kim", "lopez"),
        overrides=(override("09:00", "10:00", add="day"),),
    )
    edges = set(found.find_edges(at("2026-09-07 07:00"), at("2026-09-07 16:00")))
    assert edges == {at(f"2026-09-07 {h:02}:00") for h in (8, 9, 10)}
