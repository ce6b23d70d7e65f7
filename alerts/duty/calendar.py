"""Shifts from an iCalendar file (RFC 5545): when, and if the events name people, who.

Parsing and recurrence are the libraries' (`icalendar`, `recurring_ical_events`). Defined here:

- a time without a zone, and a whole day, are in the school's time zone;
- cancelled events and events without duration are ignored;
- the summary of an event names its people by id or name, separated by commas, unless the shift
  has its own people; nothing else of an event is read;
- rules that recur more often than daily or never, and calendars beyond `MAX_EVENTS`, are refused,
  which bounds the work.

Expanding takes up to a millisecond per event, so it is done by the week and cached.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from alerts.duty.timetable import Span, instant
from alerts.errors import CalendarError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from zoneinfo import ZoneInfo

    import icalendar

MAX_CALENDAR_BYTES: Final = 1_000_000
MAX_EVENTS: Final = 500
_TOO_OFTEN: Final = frozenset({"SECONDLY", "MINUTELY", "HOURLY"})
_SEVERAL_A_DAY: Final = ("BYHOUR", "BYMINUTE", "BYSECOND")
_EARLIEST: Final = 2000
_LEAP_YEAR: Final = 2000
_WEEK: Final = timedelta(days=7)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CalendarHours:
    """The events of a calendar as hours of a shift; raises CalendarError with all faults.

    `raw` is the file, at most `MAX_CALENDAR_BYTES`. `names` leads from the id or name of staff, in
    lower case, to the id; it is None if the shift has its own people.
    """

    def __init__(
        self, raw: bytes, zone: ZoneInfo, *, names: Mapping[str, str] | None = None
    ) -> None:
        import recurring_ical_events  # noqa: PLC0415 - slow to load, and few sites have calendars

        self._zone = zone
        self._names = names
        calendar = _parsed(raw)
        events = calendar.walk("VEVENT")
        if len(events) > MAX_EVENTS:
            raise CalendarError(f"has {len(events)} events; at most {MAX_EVENTS} are read")
        faults = [fault for event in events for fault in self._faults(event)]
        if faults:
            raise CalendarError("\n".join(dict.fromkeys(faults)))
        self._week: Callable[[int], tuple[Span, ...]] = lru_cache(maxsize=60)(self._expand)
        try:
            self._query = recurring_ical_events.of(calendar)
            self._expand(0)
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:
            raise CalendarError(f"a recurrence cannot be expanded: {error}") from error

    def between(self, start: datetime, end: datetime) -> Iterator[Span]:
        """Yield the spans that touch [start, end], each once."""
        first, last = ((moment - _EPOCH) // _WEEK for moment in (start, end))
        found = {span: None for week in range(first, last + 1) for span in self._week(week)}
        yield from sorted(
            (span for span in found if span.start <= end and span.end >= start),
            key=lambda span: (span.start, span.end, span.label),
        )

    def _expand(self, week: int) -> tuple[Span, ...]:
        """Return the spans that touch a week; a day more on both sides covers every zone."""
        start = _EPOCH + week * _WEEK
        day = timedelta(days=1)
        found = []
        for event in self._query.between(start - day, start + _WEEK + day):
            begins, ends = self._moment(event.start), self._moment(event.end)
            if begins < ends and str(event.get("STATUS", "")).upper() != "CANCELLED":
                summary = str(event.get("SUMMARY", ""))
                people = None if self._names is None else self._people(summary)[0]
                label = "calendar" if people is not None else summary[:60] or "calendar"
                found.append(Span(begins, ends, label, people))
        return tuple(found)

    def _moment(self, value: date | datetime) -> datetime:
        if not isinstance(value, datetime):
            return instant(self._zone, value, 0)
        if value.tzinfo is not None:
            return value.astimezone(UTC)
        minute = instant(self._zone, value.date(), value.hour * 60 + value.minute)
        return minute + timedelta(seconds=value.second)

    def _people(self, summary: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        names = self._names or {}
        listed = [part.strip() for part in summary.split(",")]
        known = tuple(names[name.lower()] for name in listed if name.lower() in names)
        return known, tuple(name for name in listed if name.lower() not in names)

    def _faults(self, event: Any) -> Iterator[str]:
        summary = str(event.get("SUMMARY", ""))
        where = f"event {summary[:60]!r}"
        yield from (f"{where}: {name} cannot be read: {why}" for name, why in event.errors)
        if event.errors:
            return
        try:
            begins, ends = event.start, event.end
        except ValueError as error:  # the library's for a start that is missing or does not fit
            yield f"{where}: {error}"
            return
        for name in ("DTSTART", "DTEND"):
            zone = event[name].params.get("TZID") if name in event else None
            if zone and getattr(event[name].dt, "tzinfo", None) is None:
                yield f"{where}: {name} is in the time zone {zone!r}, which is unknown"
        if begins.year < _EARLIEST:
            yield f"{where}: begins before {_EARLIEST}"
        elif self._moment(ends) < self._moment(begins):
            yield f"{where}: ends before it begins"
        rules = event.get("RRULE", [])
        for rule in rules if isinstance(rules, list) else [rules]:
            yield from (f"{where}: {fault}" for fault in _rule_faults(rule))
        cancelled = str(event.get("STATUS", "")).upper() == "CANCELLED"
        unknown = () if self._names is None or cancelled else self._people(summary)[1]
        if unknown:
            names = ", ".join(map(repr, unknown))
            yield f"{where}: {names} is not the id or unique name of a staff member"


def _parsed(raw: bytes) -> icalendar.Calendar:
    import icalendar  # noqa: PLC0415 - as above

    if len(raw) > MAX_CALENDAR_BYTES:
        raise CalendarError(f"is larger than {MAX_CALENDAR_BYTES // 1_000_000} MB")
    try:
        found = icalendar.Calendar.from_ical(raw)
    except (ValueError, LookupError, TypeError) as error:
        raise CalendarError(f"is not an iCalendar file: {str(error)[:200]}") from error
    if not isinstance(found, icalendar.Calendar):
        raise CalendarError("is not an iCalendar file: it does not begin with VCALENDAR")
    return found


def _rule_faults(rule: Any) -> Iterator[str]:
    often = [str(v) for v in rule.get("FREQ", []) if str(v).upper() in _TOO_OFTEN]
    several = [key for key in _SEVERAL_A_DAY if len(rule.get(key, [])) > 1]
    if "FREQ" not in rule:
        yield "a recurrence needs a FREQ"
    if often or several:
        yield f"recurs more often than daily ({', '.join(often + several)})"
    if any(int(v) < 1 for v in rule.get("INTERVAL", [1])):
        yield "INTERVAL must be 1 or more"
    months = [int(m) for m in rule.get("BYMONTH", [])] or list(range(1, 13))
    dates = [abs(int(d)) for d in rule.get("BYMONTHDAY", [])]
    if dates and min(dates) > max(monthrange(_LEAP_YEAR, (m - 1) % 12 + 1)[1] for m in months):
        yield "never happens: no month of BYMONTH has a day of BYMONTHDAY"
