"""Parse time stamps in the forms that a mapping lists.

A form is ``iso8601``, ``unix_s``, ``unix_ms``, ``unix_us``, ``unix_ns``, ``unix`` (the magnitude
decides the unit), or a pattern of ``strptime`` directives: ``%Y %m %d %H %I %M %S %f %p %z %%``,
each at most once. Numbers in a pattern need no leading zeros (``2019-3-8 13:22:12``). ``%f``
accepts any number of digits, and ``%z`` accepts ``Z``, ``+hh:mm`` and ``+hhmm``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ingest.validation import parse_number, parse_time, to_unix_seconds

if TYPE_CHECKING:
    from datetime import tzinfo

UNIX: Final = {"unix_s": 1.0, "unix_ms": 1e3, "unix_us": 1e6, "unix_ns": 1e9}
_NAMES: Final = frozenset(
    {"time", "timestamp", "ts", "datetime", "unix", "date", "epoch", "lastseen", "utc"}
)
_SHORT: Final = frozenset(
    {"t", "tm", "tst", "at", "when", "stamp", "unixtime", "utctime", "devicetime", "localtime"}
    | {"measuredat", "sampledat", "recordedat", "createdat"}
    | {"zeit", "zeitstempel", "messzeit", "uhrzeit", "datum", "fecha", "fechahora", "hora"}
    | {"horodatage"}
)
"""Names that mean a time only if the value looks like one."""
_UNIT: Final = re.compile("(?:ms|us|ns|utc|s)$")
_WRITTEN: Final = (
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
)
"""Dates as people write them. If both orders fit, the month comes first."""
_DAY_AND_TIME: Final = re.compile(r"\d{1,2}([./])\d{1,2}\1\d{4} .{4,11}")
_PLAUSIBLE_S: Final = (1e9, 4_102_444_800.0)
"""From 2001 to 2100."""
_DIRECTIVE: Final = re.compile("%(.?)")
_DIRECTIVES: Final = frozenset("YmdHIMSfpz")
_EXTRA_DIGITS: Final = re.compile(r"(?<=[.,]\d{6})\d+")
_MAX_PATTERN: Final = 64
_MAX_TEXT: Final = 64


def check_form(form: str) -> str:
    """Return `form` if it is valid; raises a `ValueError` that describes what is allowed."""
    if form in UNIX or form in ("iso8601", "unix"):
        return form
    words = "iso8601, unix, unix_s, unix_ms, unix_us, unix_ns or a pattern of %Y %m %d %H %M %S"
    if "%" not in form or len(form) > _MAX_PATTERN:
        raise ValueError(words)
    found = [sign for sign in _DIRECTIVE.findall(form) if sign != "%"]
    if len(set(found)) < len(found) or not _DIRECTIVES.issuperset(found):
        raise ValueError(f"{words} (also %I %p %f %z), each once")
    if not (set("YmdM") <= set(found) and ("H" in found or {"I", "p"} <= set(found))):
        raise ValueError("a pattern with year, month, day, hour (%H, or %I with %p) and minute")
    return form


def find_form(value: object) -> str:
    """Return the form of a time stamp; empty if the value is not one.

    A number must be a time from 2001 to 2100.

    >>> [find_form(value) for value in (1764321000, 1764321000250, "2026-09-21 10:05", 68.4)]
    ['unix_s', 'unix_ms', 'iso8601', '']
    """
    plain = parse_number(value)
    if type(value) is str and plain is None:
        if parse_time(value, 0.0, UTC) is not None:
            return "iso8601"
        forms = _WRITTEN if _DAY_AND_TIME.fullmatch(value.strip()) else ()
        return next((f for f in forms if read_time(value, f, 0.0, UTC) is not None), "")
    if plain is None:
        return ""
    low, high = _PLAUSIBLE_S
    return next((form for form, unit in UNIX.items() if low <= plain / unit < high), "")


def is_time(name: str, value: object) -> bool:
    """Return whether the name of a value means a time stamp.

    >>> is_time("ts", 5000), is_time("t", 68.4), is_time("t", 1764321000)
    (True, False, True)
    """
    word = name.lower().replace("_", "")
    known = {word, _UNIT.sub("", word)}
    return word in _NAMES or (not known.isdisjoint(_NAMES | _SHORT) and find_form(value) != "")


def read_time(value: object, form: str, received: float, zone: tzinfo | None) -> float | None:
    """Return a time stamp in Unix seconds; None if it does not have this form.

    `zone`: time zone for text without an offset; if it is None, such text is unusable.
    `received`: receive time; if a local time occurs twice, the one closer to it is used.

    >>> read_time("2019-3-8 13:22:12", "%Y-%m-%d %H:%M:%S", 0.0, None) is None
    True
    >>> from datetime import UTC
    >>> read_time("3/8/2019 1:22:12 PM", "%m/%d/%Y %I:%M:%S %p", 0.0, UTC)
    1552051332.0
    """
    if form == "unix" or form in UNIX:
        plain = parse_number(value)
        if plain is None:
            return None
        return parse_time(plain, received) if form == "unix" else plain / UNIX[form]
    if type(value) is not str or len(value) > _MAX_TEXT or not value.isascii():
        return None
    text = value.strip()
    if form == "iso8601":
        return parse_time(text, received, zone) if "-" in text[1:] or "/" in text else None
    if "%f" in form:
        text = _EXTRA_DIGITS.sub("", text)
    try:
        moment = datetime.strptime(text, form)  # noqa: DTZ007 - the zone follows
    except ValueError:
        return None
    return to_unix_seconds(moment, received, zone)
