"""Test weeks, months, terms and school years: names, days, and previous periods."""

from datetime import date, timedelta

import pytest

from reports.school import KINDS, PeriodError, SchoolTimes, Term

FALL = Term("Fall 2026", date(2026, 8, 24), date(2026, 12, 18))
SPRING = Term("Spring 2027", date(2027, 1, 5), date(2027, 6, 11))
TIMES = SchoolTimes((SPRING, FALL))


@pytest.mark.parametrize(
    ("kind", "text", "first", "last", "title"),
    [
        ("week", "2026-W47", "2026-11-16", "2026-11-22", "week of November 16, 2026"),
        ("week", "2026W47", "2026-11-16", "2026-11-22", "week of November 16, 2026"),
        ("week", "2026-W53", "2026-12-28", "2027-01-03", "week of December 28, 2026"),
        ("week", "2021-W01", "2021-01-04", "2021-01-10", "week of January 4, 2021"),
        ("month", "2026-11", "2026-11-01", "2026-11-30", "November 2026"),
        ("month", "2028-02", "2028-02-01", "2028-02-29", "February 2028"),
        ("month", " 2026-12 ", "2026-12-01", "2026-12-31", "December 2026"),
        ("term", "Fall 2026", "2026-08-24", "2026-12-18", "Fall 2026"),
        ("term", " fall 2026", "2026-08-24", "2026-12-18", "Fall 2026"),
        ("school_year", "2026/27", "2026-07-01", "2027-06-30", "school year 2026/27"),
        ("school_year", "2026-2027", "2026-07-01", "2027-06-30", "school year 2026/27"),
    ],
)
def test_names(kind, text, first, last, title):
    found = TIMES.parse_period(kind, text)
    assert (str(found.first), str(found.last), found.title) == (first, last, title)
    assert TIMES.parse_period(kind, found.name) == found


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("week", "2026-W54", "like 2026-W47"),
        ("week", "2027-W53", "like 2026-W47"),
        ("week", "2026-W00", "like 2026-W47"),
        ("week", "47", "like 2026-W47"),
        ("week", "9999-W01", "like 2026-W47"),
        ("month", "2026-13", "like 2026-11"),
        ("month", "November", "like 2026-11"),
        ("month", "0000-01", "like 2026-11"),
        ("term", "Fall", "the terms are 'Spring 2027', 'Fall 2026'"),
        ("school_year", "2026/28", "like 2026/27"),
        ("school_year", "2026", "like 2026/27"),
        ("school_year", "", "like 2026/27"),
        ("school_year", "0001/02", "like 2026/27"),
    ],
)
def test_what_names_nothing(kind, text, message):
    with pytest.raises(PeriodError, match=message):
        TIMES.parse_period(kind, text)


def test_without_terms_the_message_names_the_section():
    with pytest.raises(PeriodError, match=r"has no \[\[term\]\]"):
        SchoolTimes().parse_period("term", "Fall 2026")


@pytest.mark.parametrize("month", [1, 7, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_each_is_followed_by_the_next_without_a_gap(kind, month):
    times = SchoolTimes(TIMES.terms, month)
    names = {"week": "2027-W01", "month": "2027-01", "term": "Spring 2027"}
    found = times.parse_period(kind, names.get(kind, times.find_school_year(date(2027, 1, 1))))
    before = times.find_previous(found)
    assert before.kind == kind
    assert before.last < found.first
    if kind == "term":
        assert (before.name, times.find_previous(before)) == ("Fall 2026", None)
    else:
        assert before.last + timedelta(days=1) == found.first


@pytest.mark.parametrize(
    ("day", "year", "term"),
    [
        ("2026-06-30", "2025/26", ""),
        ("2026-07-01", "2026/27", ""),
        ("2026-08-24", "2026/27", "Fall 2026"),
        ("2026-12-18", "2026/27", "Fall 2026"),
        ("2026-12-19", "2026/27", ""),
        ("2027-06-11", "2026/27", "Spring 2027"),
    ],
)
def test_days(day, year, term):
    found = date.fromisoformat(day)
    assert (TIMES.find_school_year(found), TIMES.find_term(found)) == (year, term)
    period = TIMES.parse_period("school_year", year)
    assert period.first <= found <= period.last
