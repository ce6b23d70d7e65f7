"""Dates and times in the reader's language, in Spanish as the CLDR has it for the United States."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from language.messages import ENGLISH, language

if TYPE_CHECKING:
    from datetime import date, datetime

FORMS: Final = {
    "date": ("%B %-d, %Y", "%-d de %B de %Y"),
    "date and time": ("%B %-d, %Y, %H:%M", "%-d de %B de %Y, %H:%M"),
    "short date": ("%b %-d, %Y", "%-d %b %Y"),
    "short date and time": ("%b %-d, %Y, %H:%M", "%-d %b %Y, %H:%M"),
    "weekday and date": ("%a, %b %-d, %Y", "%a %-d %b %Y"),
    "exact": ("%a, %b %-d, %Y, %H:%M:%S %Z", "%a %-d %b %Y, %H:%M:%S %Z"),
    "month and day": ("%b %-d", "%-d %b"),
    "month": ("%B %Y", "%B de %Y"),
    "weekday": ("%a", "%a"),
    "moment": ("%a, %b %-d, %H:%M", "%a %-d de %b, %H:%M"),
}
"""Each form for `strftime`, in English and in Spanish."""
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


def date_text(moment: date | datetime, form: str) -> str:
    """Write a date or a moment in one of the `FORMS`, in the current language."""
    english, spanish = FORMS[form]
    if language() == ENGLISH:
        return moment.strftime(english)
    month = _MONTHS[moment.month - 1]
    short = "sept" if moment.month == 9 else month[:3]
    names = {"%B": month, "%b": short, "%a": _DAYS[moment.weekday()]}
    for code, name in names.items():
        spanish = spanish.replace(code, name)
    return moment.strftime(spanish)
