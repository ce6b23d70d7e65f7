"""Named periods: weeks, months, terms and school years.

A week is that of ISO 8601, from Monday. Terms come from the configuration. A school year begins
with a month, by default July, whether terms are known or not: ``2026/27``, or ``2026`` if it begins
with January.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from language.dates import date_text
from language.messages import _

KINDS: Final = ("week", "month", "term", "school_year")

_DAY: Final = timedelta(days=1)
_LAST_YEAR: Final = 2261


class PeriodError(ValueError):
    """A text names no period; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a school year; both days are included."""

    name: str
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Period:
    """A period with its name; `kind` is one of `KINDS`, both days are included."""

    kind: str
    name: str
    first: date
    last: date

    @property
    def title(self) -> str:
        """Name of the period for people.

        >>> Period("month", "2026-11", date(2026, 11, 1), date(2026, 11, 30)).title
        'November 2026'
        >>> Period("week", "2026-W47", date(2026, 11, 16), date(2026, 11, 22)).title
        'week of 16 November 2026'
        """
        if self.kind == "term":
            return self.name
        if self.kind == "month":
            return date_text(self.first, "month")
        if self.kind == "week":
            return _("week of %(date)s", date=date_text(self.first, "date"))
        return _("school year %(name)s", name=self.name)


@dataclass(frozen=True, slots=True)
class SchoolTimes:
    """Terms of a school, in any order, and the month with which its school year begins."""

    terms: tuple[Term, ...] = ()
    first_month: int = 7

    def term(self, day: date) -> str:
        """Return the term of a day; empty outside of all."""
        return next((t.name for t in self.terms if t.first <= day <= t.last), "")

    def school_year(self, day: date) -> str:
        """Return the school year of a day.

        >>> [SchoolTimes().school_year(date(2027, month, 1)) for month in (6, 7)]
        ['2026/27', '2027/28']
        """
        return self._year(day).name

    def period(self, kind: str, text: str) -> Period:
        """Return the period of a name; raises `PeriodError`.

        >>> found = SchoolTimes().period("week", "2026-W47")
        >>> str(found.first), str(found.last)
        ('2026-11-16', '2026-11-22')
        """
        match kind:
            case "week":
                return self._week(text.strip())
            case "month":
                return self._month(text.strip())
            case "term":
                return self._term(text.strip())
        return self._school_year(text.strip())

    def before(self, period: Period) -> Period | None:
        """Return the previous period of the same kind; None before the first term."""
        day = period.first - _DAY
        match period.kind:
            case "week":
                return _iso_week(day)
            case "month":
                return _month_of(day)
            case "term":
                earlier = [t for t in self.terms if t.last < period.first]
                last = max(earlier, key=lambda t: t.last, default=None)
                return None if last is None else Period("term", last.name, last.first, last.last)
        return self._year(day)

    def _week(self, text: str) -> Period:
        found = re.fullmatch(r"(\d{4})-?W(\d{2})", text, re.ASCII)
        try:
            if found and int(found[1]) <= _LAST_YEAR:
                return _iso_week(date.fromisocalendar(int(found[1]), int(found[2]), 1))
        except ValueError:
            pass
        raise PeriodError(f"{text[:40]!r} is no week; a week is like 2026-W47 (ISO 8601)")

    def _month(self, text: str) -> Period:
        found = re.fullmatch(r"(\d{4})-(\d{2})", text, re.ASCII)
        try:
            if found and int(found[1]) <= _LAST_YEAR:
                return _month_of(date(int(found[1]), int(found[2]), 1))
        except ValueError:
            pass
        raise PeriodError(f"{text[:40]!r} is no month; a month is like 2026-11")

    def _term(self, text: str) -> Period:
        for term in self.terms:
            if term.name.casefold() == text.casefold():
                return Period("term", term.name, term.first, term.last)
        there = ", ".join(repr(term.name) for term in self.terms)
        raise PeriodError(
            f"there is no term {text[:40]!r}; there is {there}"
            if there
            else f"there is no term {text[:40]!r}: the configuration has no [[term]]"
        )

    def _school_year(self, text: str) -> Period:
        found = re.fullmatch(r"(\d{4})(?:[/-]\d{2}(?:\d{2})?)?", text, re.ASCII)
        if found and 1 < int(found[1]) <= _LAST_YEAR:
            made = self._year(date(int(found[1]), self.first_month, 1))
            if text.replace("-", "/") in {made.name, f"{made.first.year}/{made.last.year}"}:
                return made
        like = self._year(date(2026, self.first_month, 1)).name
        raise PeriodError(f"{text[:40]!r} is no school year; a school year is like {like}")

    def _year(self, day: date) -> Period:
        begins = day.year - (day.month < self.first_month)
        first = date(begins, self.first_month, 1)
        last = date(begins + 1, self.first_month, 1) - _DAY
        name = f"{first.year}" if self.first_month == 1 else f"{first.year}/{last.year % 100:02d}"
        return Period("school_year", name, first, last)


def _iso_week(day: date) -> Period:
    year, week, weekday = day.isocalendar()
    first = day - timedelta(days=weekday - 1)
    return Period("week", f"{year}-W{week:02d}", first, first + timedelta(days=6))


def _month_of(day: date) -> Period:
    first = day.replace(day=1)
    last = (first + timedelta(days=31)).replace(day=1) - _DAY
    return Period("month", f"{first:%Y-%m}", first, last)
