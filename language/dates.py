"""Dates and times in the reader's language, in Spanish as the CLDR has it for the United States."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

from language.messages import ENGLISH, get_language

if TYPE_CHECKING:
    from datetime import date

FORMS: Final = {
    "date": ("%B %-d, %Y", "%-d de %B de %Y"),
    "date and time": ("%B %-d, %Y, %-I:%M %p", "%-d de %B de %Y, %-I:%M %p"),
    "short date": ("%b %-d, %Y", "%-d %b %Y"),
    "short date and time": ("%b %-d, %Y, %-I:%M %p", "%-d %b %Y, %-I:%M %p"),
    "weekday and date": ("%a, %b %-d, %Y", "%a %-d %b %Y"),
    "exact": ("%a, %b %-d, %Y, %-I:%M:%S %p %Z", "%a %-d %b %Y, %-I:%M:%S %p %Z"),
    "month and day": ("%b %-d", "%-d %b"),
    "month": ("%B %Y", "%B de %Y"),
    "weekday": ("%a", "%a"),
    "weekday and day": ("%a, %b %-d", "%a %-d %b"),
    "moment": ("%a, %b %-d, %-I:%M %p", "%a %-d de %b, %-I:%M %p"),
    "weekday and clock": ("%a %-I:%M %p", "%a %-I:%M %p"),
    "hour": ("%-I %p", "%-I %p"),
    "clock": ("%-I:%M %p", "%-I:%M %p"),
    "clock with seconds": ("%-I:%M:%S %p", "%-I:%M:%S %p"),
}
"""Each form for `strftime`, in English and in Spanish."""
_WALL_TIME: Final = re.compile(
    r"\b(?:(\d{4}-\d\d-\d\d)[ T])?([01]\d:[0-5]\d|2[0-3]:[0-5]\d)(?::[0-5]\d)?\b"
)
_MONTHS: Final = (
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
)
_DAYS: Final = ("lun", "mar", "mié", "jue", "vie", "sáb", "dom")


def write_clocks(text: object) -> str:
    """Write each stored wall time of a text, and a date before it, as people read them.

    >>> write_clocks("first shift, 08:00-16:30 until 16:30"), write_clocks("2026-09-07 10:05:00")
    ('first shift, 8:00 AM-4:30 PM until 4:30 PM', 'Sep 7, 2026, 10:05 AM')
    """
    return _WALL_TIME.sub(_write_clock, str(text))


def _write_clock(found: re.Match[str]) -> str:
    day, clock = found.groups()
    moment = datetime.fromisoformat(f"{day or '2000-01-01'} {clock}")
    return write_date(moment, "short date and time" if day else "clock")


def write_hour(hour: int) -> str:
    """Write an hour of the day, 0 to 23."""
    return write_date(datetime(2000, 1, 1, hour), "hour")  # noqa: DTZ001 - no moment


def write_date(moment: date | datetime, form: str) -> str:
    """Write a date or a moment in one of the `FORMS`, in the current language."""
    english, spanish = FORMS[form]
    if get_language() == ENGLISH:
        return moment.strftime(english)
    month = _MONTHS[moment.month - 1]
    short = "sept" if moment.month == 9 else month[:3]
    names = {"%B": month, "%b": short, "%a": _DAYS[moment.weekday()]}
    if isinstance(moment, datetime):
        names["%p"] = "a.m." if moment.hour < 12 else "p.m."
    for code, name in names.items():
        spanish = spanish.replace(code, name)
    return moment.strftime(spanish)
