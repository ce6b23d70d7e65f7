"""Shifts from iCalendar; rows after Alertmanager's tests of time intervals (Apache-2.0)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from alerts.duty.calendar import MAX_CALENDAR_BYTES, MAX_EVENTS, CalendarHours
from alerts.errors import CalendarError

ZONE = ZoneInfo("America/New_York")
NAMES = {"kim": "kim", "lopez": "lopez", "ms lopez": "lopez"}


def event(start, end="DURATION:PT1H", *more, summary="kim"):
    lines = ["BEGIN:VEVENT", f"UID:{start}{more}", f"SUMMARY:{summary}", start, end, *more]
    return "\r\n".join([*filter(None, lines), "END:VEVENT", ""])


def calendar(*events, head=""):
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//", *filter(None, [head])]
    return (
        "\r\n".join([*lines, *events]).replace("\r\n\r\n", "\r\n") + "END:VCALENDAR\r\n"
    ).encode()


def hours(*events, zone=ZONE, names=None, head=""):
    return CalendarHours(calendar(*events, head=head), zone, names=names)


def holds(found, when):
    at = datetime.fromisoformat(when)
    return any(span.contains(at) for span in found.between(at, at))


NINE_TO_FIVE = event(
    "DTSTART:20200504T090000", "DTEND:20200504T170000", "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"
)
LAST_THREE = event("DTSTART;VALUE=DATE:20200129", "", "RRULE:FREQ=MONTHLY;BYMONTHDAY=-3,-2,-1")
QUARTER = event(
    "DTSTART:20210127T090000",
    "DTEND:20210127T170000",
    "RRULE:FREQ=DAILY;BYMONTH=1,2,3;BYMONTHDAY=-7,-6,-5,-4,-3,-2,-1;BYDAY=MO,TU,WE,TH,FR,SU"
    ";UNTIL=20251231T235959",
)
END_OF_MONTH = event("DTSTART;VALUE=DATE:20200130", "", "RRULE:FREQ=MONTHLY;BYMONTHDAY=30,31")


@pytest.mark.parametrize(
    ("text", "zone", "when", "inside"),
    [
        *(
            (NINE_TO_FIVE, "UTC", when, inside)
            for when, inside in [
                ("2020-05-04T15:04+00:00", True),
                ("2020-05-05T10:04+00:00", True),
                ("2020-06-09T09:04+00:00", True),
                ("2020-07-08T09:00+00:00", True),
                ("2020-07-08T16:59+00:00", True),
                ("2020-07-08T17:00+00:00", False),
                ("2020-05-03T15:04+00:00", False),
                ("2020-05-04T08:59+00:00", False),
                ("2020-05-05T05:00+00:00", False),
                ("2020-05-09T10:00+00:00", False),
            ]
        ),
        *(
            (NINE_TO_FIVE, "Australia/Sydney", when, inside)
            for when, inside in [
                ("2021-04-06T13:00+10:00", True),
                ("2021-04-06T13:00+00:00", False),
                ("2021-11-01T09:00+11:00", True),
                ("2021-10-31T22:00+00:00", True),
                ("2021-10-31T21:00+00:00", False),
            ]
        ),
        *(
            (event("DTSTART;VALUE=DATE:20200404", "DTEND;VALUE=DATE:20200407"), "UTC", when, inside)
            for when, inside in [
                ("2020-04-04T15:04+00:00", True),
                ("2020-04-05T00:00+00:00", True),
                ("2020-04-06T23:05+00:00", True),
                ("2020-04-03T23:59+00:00", False),
                ("2020-04-07T00:00+00:00", False),
                ("2021-04-05T12:00+00:00", False),
            ]
        ),
        *(
            (LAST_THREE, "UTC", when, inside)
            for when, inside in [
                ("2020-01-31T15:04+00:00", True),
                ("2020-01-30T15:04+00:00", True),
                ("2020-01-29T15:04+00:00", True),
                ("2020-06-30T00:00+00:00", True),
                ("2020-02-29T23:05+00:00", True),
                ("2020-02-26T12:00+00:00", False),
                ("2020-01-28T15:04+00:00", False),
                ("2020-04-03T23:59+00:00", False),
                ("2020-03-01T00:00+00:00", False),
            ]
        ),
        *(
            (LAST_THREE, "America/New_York", when, inside)
            for when, inside in [
                ("2020-03-31T23:59-04:00", True),  # daylight time since the 8th
                ("2020-04-01T00:00-04:00", False),
                ("2020-11-30T23:59-05:00", True),
                ("2020-12-01T00:00-05:00", False),
                ("2020-11-30T23:59-04:00", True),
            ]
        ),
        *(
            (QUARTER, "UTC", when, inside)
            for when, inside in [
                ("2021-01-27T09:00+00:00", True),
                ("2021-01-28T16:59+00:00", True),
                ("2021-01-29T13:00+00:00", True),
                ("2025-03-31T13:00+00:00", True),
                ("2021-01-31T13:00+00:00", True),
                ("2021-01-30T13:00+00:00", False),  # Saturday
                ("2021-04-01T13:00+00:00", False),
                ("2026-01-28T13:00+00:00", False),
                ("2022-01-31T17:01+00:00", False),
            ]
        ),
        # the 30th and 31st of February are none, and not the 28th
        (END_OF_MONTH, "UTC", "2021-01-30T13:00+00:00", True),
        (END_OF_MONTH, "UTC", "2021-02-28T13:00+00:00", False),
        (END_OF_MONTH, "UTC", "2021-04-30T13:00+00:00", True),
        (END_OF_MONTH, "UTC", "2021-05-01T00:00+00:00", False),
    ],
)
def test_instants_in_and_out(text, zone, when, inside):
    assert holds(hours(text, zone=ZoneInfo(zone)), when) is inside


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ("DTSTART:20260907T100000", "2026-09-07T14:00+00:00"),  # the school's own
        ("DTSTART:20260907T100000Z", "2026-09-07T10:00+00:00"),
        ("DTSTART;TZID=America/Chicago:20260907T100000", "2026-09-07T15:00+00:00"),
        ("DTSTART;TZID=Eastern Standard Time:20260907T100000", "2026-09-07T14:00+00:00"),
        ("DTSTART;TZID=Pacific Standard Time:20260907T100000", "2026-09-07T17:00+00:00"),
    ],
)
def test_zones_of_events(start, first):
    found = list(hours(event(start)).between(datetime(2026, 9, 7, tzinfo=UTC), FOREVER))
    assert found[0].start == datetime.fromisoformat(first)


FOREVER = datetime(2026, 9, 9, tzinfo=UTC)


def test_wall_times_stay_over_the_change_of_clocks_also_where_they_are_skipped():
    rule = "RRULE:FREQ=DAILY;COUNT=5"
    early = hours(event("DTSTART:20260306T023000", "DURATION:PT1H", rule))
    starts = [s.start for s in early.between(*(datetime(2026, 3, d, tzinfo=UTC) for d in (6, 11)))]
    assert [s.astimezone(ZONE).strftime("%d %H:%M") for s in starts] == [
        "06 02:30",
        "07 02:30",
        "08 03:00",
        "09 02:30",
        "10 02:30",
    ]


def test_exceptions_moves_and_cancellations_of_a_series():
    series = (
        event(
            "DTSTART:20260907T100000",
            "DURATION:PT1H",
            "RRULE:FREQ=DAILY;COUNT=5",
            "EXDATE:20260908T100000",
        )
        .replace("UID:", "UID:series ;")
        .split("\r\n")
    )
    series[1] = "UID:one"
    moved = ["BEGIN:VEVENT", "UID:one", "RECURRENCE-ID:20260909T100000", "SUMMARY:lopez",
             "DTSTART:20260909T130000", "DURATION:PT1H", "END:VEVENT"]  # fmt: skip
    gone = ["BEGIN:VEVENT", "UID:one", "RECURRENCE-ID:20260910T100000", "STATUS:CANCELLED",
            "DTSTART:20260910T100000", "DURATION:PT1H", "END:VEVENT"]  # fmt: skip
    text = "\r\n".join([*series, *moved, *gone, ""]).replace("\r\n\r\n", "\r\n")
    found = hours(text, names=NAMES).between(*(datetime(2026, 9, d, tzinfo=UTC) for d in (6, 13)))
    listed = [(s.start.astimezone(ZONE).strftime("%d %H:%M"), s.people) for s in found]
    assert listed == [("07 10:00", ("kim",)), ("09 13:00", ("lopez",)), ("11 10:00", ("kim",))]


@pytest.mark.parametrize(
    ("summary", "people"),
    [
        ("kim", ("kim",)),
        ("Kim", ("kim",)),
        ("Ms Lopez", ("lopez",)),
        ("kim\\, Ms Lopez", ("kim", "lopez")),
    ],
)
def test_who_an_event_is_about(summary, people):
    found = hours(event("DTSTART:20260907T100000", summary=summary), names=NAMES)
    (span,) = found.between(datetime(2026, 9, 7, tzinfo=UTC), FOREVER)
    assert (span.people, span.label) == (people, "calendar")


def test_a_shift_with_people_of_its_own_only_shows_summaries():
    found = hours(event("DTSTART:20260907T100000", summary="Lunch duty"))
    (span,) = found.between(datetime(2026, 9, 7, tzinfo=UTC), FOREVER)
    assert (span.people, span.label) == (None, "Lunch duty")


@pytest.mark.parametrize(
    "end", ["DURATION:PT0S", "DTEND:20260907T100000", "STATUS:CANCELLED\r\nDURATION:PT1H"]
)
def test_what_is_nobodys(end):
    assert not holds(hours(event("DTSTART:20260907T100000", end)), "2026-09-07T14:00+00:00")


def test_long_events_are_found_from_any_week_and_once():
    found = hours(event("DTSTART;VALUE=DATE:20260801", "DTEND;VALUE=DATE:20261001"))
    assert holds(found, "2026-09-15T12:00+00:00")
    whole = found.between(*(datetime(2026, m, 1, tzinfo=UTC) for m in (7, 11)))
    assert len(list(whole)) == 1


def test_between_is_what_one_query_would_give():
    found = hours(NINE_TO_FIVE)
    start = datetime(2026, 9, 7, 13, tzinfo=UTC)
    for length in range(0, 400, 37):
        spans = list(found.between(start, start + timedelta(hours=length)))
        assert spans == sorted(set(spans), key=lambda s: s.start)
        assert all(s.start <= start + timedelta(hours=length) and s.end >= start for s in spans)
        days = {(start + timedelta(hours=h)).astimezone(ZONE) for h in range(length + 1)}
        assert len(spans) == len({d.date() for d in days if d.weekday() < 5 and 9 <= d.hour <= 17})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", "not an iCalendar file"),
        (b"garbage", "not an iCalendar file"),
        (b"\xff\xfe\x00", "not an iCalendar file"),
        (b"<html></html>", "not an iCalendar file"),
        (b"BEGIN:VEVENT\r\nEND:VEVENT\r\n", "does not begin with VCALENDAR"),
        (b"x" * (MAX_CALENDAR_BYTES + 1), "larger than 1 MB"),
        (calendar(event("X-NOTHING:1")), "'kim'.*DTSTART"),
        (calendar(event("DTSTART:2026090")), "'kim': DTSTART cannot be read"),
        (calendar(event("DTSTART;TZID=Mars/Olympus:20260907T100000")), "'Mars/Olympus', which is"),
        (calendar(event("DTSTART:19990907T100000")), "begins before 2000"),
        (calendar(event("DTSTART:20260907T100000", "DTEND:20260907T090000")), "ends before"),
        (calendar(event("DTSTART;VALUE=DATE:20260907", "DTEND:20260907T090000")), "same type"),
        (
            calendar(event("DTSTART:20260907T100000", summary="nobody")),
            "'nobody' is not the id or unique name",
        ),
        (calendar(*[event(f"DTSTART:20260907T1{n:05}") for n in range(MAX_EVENTS + 1)]), "at most"),
    ],
)
def test_what_is_refused(text, match):
    with pytest.raises(CalendarError, match=match):
        CalendarHours(text, ZONE, names=NAMES)


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        ("FREQ=SECONDLY", "more often than daily"),
        ("FREQ=MINUTELY", "more often than daily"),
        ("FREQ=HOURLY;COUNT=3", "more often than daily"),
        ("FREQ=DAILY;BYHOUR=1,2", "more often than daily"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL must be"),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30,31", "never happens"),
        ("FREQ=MONTHLY;BYMONTH=4,6;BYMONTHDAY=-31", "never happens"),
        ("BYDAY=MO", "needs a FREQ"),
        ("FREQ=SOMETIMES", "RRULE cannot be read"),
        ("FREQ=WEEKLY;BYDAY=XX", "RRULE cannot be read"),
    ],
)
def test_rules_that_are_refused(rule, match):
    with pytest.raises(CalendarError, match=match):
        hours(event("DTSTART:20260907T100000", "DURATION:PT1H", f"RRULE:{rule}"))


def test_all_faults_of_a_calendar_at_once():
    with pytest.raises(CalendarError) as caught:
        hours(
            event("DTSTART:19990907T100000", summary="a"),
            event("DTSTART:20260907T100000", "DURATION:PT1H", "RRULE:FREQ=HOURLY", summary="b"),
            names=NAMES,
        )
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "event 'a'",
        "event 'a'",
        "event 'b'",
        "event 'b'",
    ]
