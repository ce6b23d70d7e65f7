"""Define shifts (who is on duty where and when) and their overrides.

A shift's hours are class periods (`LessonHours`) or clock hours (`ClockHours`). A shift that runs
past midnight belongs to the day it started.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerts.duty.reasons import Reason
from alerts.duty.timetable import (
    DAY_MIN,
    Span,
    Timetable,
    find_instant,
    format_clock,
    is_within,
    list_days_around,
)
from language.messages import Fact, build_fact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime
    from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class LessonHours:
    """Class periods in each day's bell schedule; all of them if `periods` is empty."""

    timetable: Timetable
    weekdays: frozenset[int]
    periods: frozenset[str] = frozenset()

    def find_spans(self, start: datetime, end: datetime) -> Iterator[Span]:
        """Yield the spans on local dates from the day before `start` to `end`; none on holidays."""
        for day in list_days_around(start, end, self.timetable.zone):
            if day.weekday() not in self.weekdays:
                continue
            for name, span in self.timetable.list_periods(day):
                if not self.periods or name in self.periods:
                    yield span


@dataclass(frozen=True, slots=True)
class ClockHours:
    """Hours between two wall times; an end that is not after the start is on the next day.

    Times are minutes after midnight. The hours start on `weekdays` (Monday is 0), except on the
    dates in `off`.
    """

    zone: ZoneInfo
    start: int
    end: int
    weekdays: frozenset[int]
    off: frozenset[date] = frozenset()

    def find_spans(self, start: datetime, end: datetime) -> Iterator[Span]:
        """Yield the spans that begin on local dates from the day before `start` to `end`."""
        last = self.end if self.end > self.start else self.end + DAY_MIN
        for day in list_days_around(start, end, self.zone):
            if day.weekday() in self.weekdays and day not in self.off:
                begins = find_instant(self.zone, day, self.start)
                yield Span(begins, find_instant(self.zone, day, last))


@dataclass(frozen=True, slots=True)
class Override:
    """A change to a shift during [start, end).

    With both `add` and `remove`, one person replaces the other while the shift runs. With `add`
    alone, the person is on duty for the whole interval.
    """

    shift: str
    start: datetime
    end: datetime
    add: str = ""
    remove: str = ""


@dataclass(frozen=True, slots=True)
class OnDuty:
    """A person on duty: their zones (empty means everywhere), the reason, and the site."""

    person: str
    zones: tuple[str, ...]
    why: Fact
    site: str = ""
    """Name of the site; empty means all sites."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A group of people on duty for a receiver during certain hours, in certain zones.

    Without zones, they are on duty everywhere. The shift applies on dates from `first` to `last`.
    Overrides apply in order, so a later override can change an earlier one.
    """

    id: str
    receiver: str
    people: tuple[str, ...]
    hours: LessonHours | ClockHours
    zone: ZoneInfo
    zones: tuple[str, ...] = ()
    site: str = ""
    """Name of its site; empty means all sites."""
    first: date | None = None
    last: date | None = None
    overrides: tuple[Override, ...] = ()

    def find_spans(self, start: datetime, end: datetime) -> Iterator[Span]:
        """Yield the spans of `hours` on dates when the shift applies, without overrides."""
        for span in self.hours.find_spans(start, end):
            if is_within(span.start.astimezone(self.zone).date(), self.first, self.last):
                yield span

    def find_on_duty(self, at: datetime) -> tuple[OnDuty, ...]:
        """Return the people on duty at a time, each once."""
        found: dict[str, Fact] = {}
        for span in self.find_spans(at, at):
            if span.contains(at):
                end = format_clock(span.end, self.zone)
                why = build_fact(Reason.SHIFT, shift=self.id, end=end)
                for person in self.people:
                    found.setdefault(person, why)
        for change in self.overrides:
            if change.start <= at < change.end:
                found = _apply_override(found, change, self)
        return tuple(OnDuty(person, self.zones, why, self.site) for person, why in found.items())

    def find_edges(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Yield the times within (start, end) when the people on duty may change."""
        changes: list[Span | Override] = [*self.find_spans(start, end), *self.overrides]
        for change in changes:
            for moment in (change.start, change.end):
                if start < moment < end:
                    yield moment


def _apply_override(found: dict[str, Fact], change: Override, shift: Shift) -> dict[str, Fact]:
    end = format_clock(change.end, shift.zone)
    if change.add and not change.remove:
        return {**found, change.add: build_fact(Reason.ADDED, shift=shift.id, end=end)}
    kept: dict[str, Fact] = {}
    for person, why in found.items():
        if person != change.remove:
            kept.setdefault(person, why)
        elif change.add:
            instead = build_fact(
                Reason.SUBSTITUTE, shift=shift.id, instead_of=change.remove, end=end
            )
            kept.setdefault(change.add, instead)
    return kept
