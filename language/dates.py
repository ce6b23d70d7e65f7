"""Dates and times in the reader's language: ours in English, those of the CLDR in others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from language.messages import ENGLISH, language

if TYPE_CHECKING:
    from datetime import date, datetime

_REGIONS: Final = {"es": "es_US"}
"""Spanish of the United States, which writes numbers as English does: 1,234.5."""
FORMS: Final = {
    "date": ("%B %-d, %Y", "d 'de' MMMM 'de' y"),
    "date and time": ("%B %-d, %Y, %H:%M", "d 'de' MMMM 'de' y, HH:mm"),
    "short date": ("%b %-d, %Y", "d MMM y"),
    "short date and time": ("%b %-d, %Y, %H:%M", "d MMM y, HH:mm"),
    "weekday and date": ("%a, %b %-d, %Y", "EEE d MMM y"),
    "exact": ("%a, %b %-d, %Y, %H:%M:%S %Z", "EEE d MMM y, HH:mm:ss z"),
    "month and day": ("%b %-d", "d MMM"),
    "month": ("%B %Y", "MMMM 'de' y"),
    "weekday": ("%a", "EEE"),
    "moment": ("%a, %b %-d, %H:%M", "EEE d 'de' MMM, HH:mm"),
}
"""Each form for `strftime` in English, and as a CLDR pattern for the others."""


def date_text(moment: date | datetime, form: str) -> str:
    """Write a date or a moment in one of the `FORMS`, in the current language."""
    english, pattern = FORMS[form]
    code = language()
    if code == ENGLISH:
        return moment.strftime(english)
    from babel import dates  # noqa: PLC0415 - not needed for English

    written: str = dates.format_datetime(moment, pattern, locale=_REGIONS[code])
    return written
