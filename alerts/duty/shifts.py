"""Shifts: who is on duty where, when; turns, and what is changed for a while.

When a shift runs is said in one of three ways, each a class with `between(start, end)`: by lesson
periods, by clock hours, or by a calendar. A shift that runs past midnight belongs to the day on
which it started.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from alerts.duty.bells import Timetable, days_around
from alerts.duty.wall_time import DAY_MIN, Span, clock, instant, wall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date, datetime
    from zoneinfo import ZoneInfo


class Hours(Protocol):
    """When a shift runs."""

    def between(self, start: datetime, end: datetime) -> Iterable[Span]:
        """Spans that touch [start, end]."""


@dataclass(frozen=True, slots=True)
class LessonHours:
    """During lesson periods, whenever the bells of the day put them.

    Attributes
    ----------
    weekdays : frozenset of int
        Monday is 0.
    periods : frozenset of str
        Names; empty for all.
    """

    timetable: Timetable
    weekdays: frozenset[int]
    periods: frozenset[str] = frozenset()

    def between(self, start: datetime, end: datetime) -> Iterator[Span]:
        """Spans that touch [start, end]; none on holidays."""
        for day in days_around(start, end, self.timetable.zone):
            if day.weekday() not in self.weekdays:
                continue
            for period in self.timetable.periods_on(day):
                if not self.periods or period.name in self.periods:
                    yield self.timetable.span(day, period)


@dataclass(frozen=True, slots=True)
class ClockHours:
    """From one wall time to another; an end not after the start is on the following day.

    Attributes
    ----------
    start, end : int
        Minutes after midnight; equal ones are a whole day.
    weekdays : frozenset of int
        Days on which it starts, Monday is 0.
    off : frozenset of date
        Dates on which it does not start.
    """

    zone: ZoneInfo
    start: int
    end: int
    weekdays: frozenset[int]
    off: frozenset[date] = frozenset()

    def between(self, start: datetime, end: datetime) -> Iterator[Span]:
        """Spans that touch [start, end]."""
        last = self.end if self.end > self.start else self.end + DAY_MIN
        label = f"{wall(self.start)}-{'24:00' if self.end == DAY_MIN else wall(self.end)}"
        for day in days_around(start, end, self.zone):
            if day.weekday() in self.weekdays and day not in self.off:
                yield Span(
                    instant(self.zone, day, self.start), instant(self.zone, day, last), label
                )


@dataclass(frozen=True, slots=True)
class Turns:
    """People of a shift take turns, handing over at a wall time every so many days.

    Attributes
    ----------
    since : date
        Day on which the first person begins.
    at : int
        Minutes after midnight of the hand-over.
    days : int
        Length of a turn.
    """

    zone: ZoneInfo
    since: date
    at: int = 0
    days: int = 7

    def hand_over(self, number: int) -> datetime:
        """When the turn of this number begins; the first is 0, those before are negative."""
        return instant(self.zone, self.since, self.at + number * self.days * DAY_MIN)

    def number(self, at: datetime) -> int:
        """Which turn it is at an instant; a hand-over belongs to the following turn."""
        found = (at.astimezone(self.zone).date() - self.since).days // self.days
        while at < self.hand_over(found):
            found -= 1
        while at >= self.hand_over(found + 1):
            found += 1
        return found


@dataclass(frozen=True, slots=True)
class Override:
    """A change to a shift over the half-open interval [start, end).

    With both people it replaces one by the other wherever that one would be on duty; with `add`
    alone somebody is on duty for the whole interval, whatever the hours; with `remove` alone
    somebody is not.
    """

    shift: str
    start: datetime
    end: datetime
    add: str = ""
    remove: str = ""


@dataclass(frozen=True, slots=True)
class OnDuty:
    """One person, on duty now, and by what.

    Attributes
    ----------
    zones : tuple of str
        Where, by the roster; empty is everywhere.
    why : str
        For people.
    """

    person: str
    zones: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Shift:
    """People who are on duty at some hours in some zones, for a receiver.

    Attributes
    ----------
    people : tuple of str
        All at once, or in turns.
    zones : tuple of str
        Empty is everywhere.
    first, last : date or None
        Outside of these dates it does not start.
    overrides : tuple of Override
        Applied one after the other, so a later one may change an earlier one.
    """

    id: str
    receiver: str
    people: tuple[str, ...]
    hours: Hours
    zone: ZoneInfo
    zones: tuple[str, ...] = ()
    turns: Turns | None = None
    first: date | None = None
    last: date | None = None
    overrides: tuple[Override, ...] = ()

    def spans(self, start: datetime, end: datetime) -> Iterator[Span]:
        """When it runs by its hours, touching [start, end], without what is changed."""
        for span in self.hours.between(start, end):
            day = span.start.astimezone(self.zone).date()
            early = self.first is not None and day < self.first
            late = self.last is not None and day > self.last
            if not early and not late:
                yield span

    def on_duty(self, at: datetime) -> tuple[OnDuty, ...]:
        """Who is on duty at an instant, each person once."""
        found: dict[str, str] = {}
        for span in self.spans(at, at):
            if span.holds(at):
                said = f"shift {self.id}, {span.label} until {clock(span.end, self.zone)}"
                for person in self._whose(span, at):
                    found.setdefault(person, said)
        for change in self.overrides:
            if change.start <= at < change.end:
                found = _changed(found, change, self)
        return tuple(OnDuty(person, self.zones, why) for person, why in found.items())

    def edges(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Instants within (start, end) at which who is on duty may change."""
        edges = [(span.start, span.end) for span in self.spans(start, end)]
        edges += [(change.start, change.end) for change in self.overrides]
        for moment in chain.from_iterable(edges):
            if start < moment < end:
                yield moment
        if self.turns is not None:
            moment = self.turns.hand_over(number := self.turns.number(start) + 1)
            while moment < end:
                yield moment
                number += 1
                moment = self.turns.hand_over(number)

    def _whose(self, span: Span, at: datetime) -> tuple[str, ...]:
        if span.people is not None:
            return span.people
        if self.turns is not None and self.people:
            return (self.people[self.turns.number(at) % len(self.people)],)
        return self.people


def _changed(found: dict[str, str], change: Override, shift: Shift) -> dict[str, str]:
    until = f"until {clock(change.end, shift.zone)}"
    if change.add and not change.remove:
        return {**found, change.add: f"shift {shift.id}, added {until}"}
    kept: dict[str, str] = {}
    for person, why in found.items():
        if person != change.remove:
            kept.setdefault(person, why)
        elif change.add:
            kept.setdefault(change.add, f"shift {shift.id}, for {change.remove} {until}")
    return kept
