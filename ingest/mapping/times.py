"""Time stamps in the forms a mapping names, read without regular expressions.

A form is ``iso8601``, ``unix_s``, ``unix_ms``, ``unix_us``, ``unix_ns``, ``unix`` (told apart by
magnitude), or a pattern of ``strptime`` directives: ``%Y %m %d %H %I %M %S %f %p %z %%``. Numbers
of a pattern may be unpadded (``2019-3-8 13:22:12``); ``%f`` takes any number of digits; ``%z`` is
``Z``, ``+hh:mm`` or ``+hhmm``. Nothing backtracks: each directive takes the longest it may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.validation import number, parse_time

if TYPE_CHECKING:
    from datetime import tzinfo

UNIX: Final = {"unix_s": 1.0, "unix_ms": 1e3, "unix_us": 1e6, "unix_ns": 1e9}
_DIGITS: Final = {"Y": 4, "m": 2, "d": 2, "H": 2, "I": 2, "M": 2, "S": 2, "f": 9}
_NEEDED: Final = frozenset("YmdM")
_MAX_PATTERN: Final = 64
_MAX_TEXT: Final = 64


def check_form(form: str) -> str:
    """Return a form that can be read.

    Raises `ValueError`: A noun phrase: what is allowed.
    """
    if form in UNIX or form in ("iso8601", "unix"):
        return form
    words = "iso8601, unix, unix_s, unix_ms, unix_us, unix_ns or a pattern of %Y %m %d %H %M %S"
    if "%" not in form or len(form) > _MAX_PATTERN:
        raise ValueError(words)
    seen = ""
    rest = iter(form)
    for sign in rest:
        if sign == "%":
            directive = next(rest, "")
            if directive == "%":
                continue
            if not directive or directive not in {*_DIGITS, "p", "z"} or directive in seen:
                raise ValueError(f"{words} (also %I %p %f %z), each once")
            seen += directive
    hours = {"H"} & set(seen) or {"I", "p"} <= set(seen)
    if not set(seen) >= _NEEDED or not hours:
        raise ValueError("a pattern with year, month, day, hour (%H, or %I with %p) and minute")
    return form


def read_time(value: object, form: str, received: float, zone: tzinfo | None) -> float | None:
    """Return Unix seconds of a time stamp, None if it is not of this form.

    Examples
    --------
    >>> read_time("2019-3-8 13:22:12", "%Y-%m-%d %H:%M:%S", 0.0, None) is None
    True
    >>> from datetime import UTC
    >>> read_time("3/8/2019 1:22:12 PM", "%m/%d/%Y %I:%M:%S %p", 0.0, UTC)
    1552051332.0
    """
    factor = UNIX.get(form)
    if factor is not None:
        plain = number(value)
        return None if plain is None else plain / factor
    if form == "unix":
        plain = number(value)
        return None if plain is None else parse_time(plain, received)
    if type(value) is not str or len(value) > _MAX_TEXT:
        return None
    if form == "iso8601":
        text = value.strip()
        return parse_time(text, received, zone) if "-" in text[1:] or "/" in text else None
    iso = _iso(value.strip(), form)
    return None if iso is None else parse_time(iso, received, zone)


def _iso(text: str, pattern: str) -> str | None:
    """ISO 8601 of a text that follows a pattern."""
    found: dict[str, str] = {}
    at = 0
    rest = iter(pattern)
    for sign in rest:
        directive = next(rest) if sign == "%" else ""
        if not directive or directive == "%":
            if text[at : at + 1] != sign:
                return None
            at += 1
            continue
        end = at
        if directive == "z":
            end = len(text) if len(text) - at <= len("+00:00") else at
        elif directive == "p":
            end = min(at + 2, len(text))
        else:
            while end < min(at + _DIGITS[directive], len(text)) and text[end] in "0123456789":
                end += 1
        if end == at:
            return None
        found[directive] = text[at:end]
        at = end
    if at != len(text) or len(found["Y"]) != 4:
        return None
    hour = _hour(found)
    if hour is None:
        return None
    zone = found.get("z", "").upper()
    return (
        f"{found['Y']}-{found['m']:0>2}-{found['d']:0>2}T{hour:0>2}:{found['M']:0>2}"
        f":{found.get('S', '00'):0>2}.{found.get('f', '0'):0<6.6}{zone}"
    )


def _hour(found: dict[str, str]) -> str | None:
    if "H" in found:
        return found["H"]
    half, hour = found["p"].upper(), int(found["I"])
    if half not in ("AM", "PM") or not 1 <= hour <= 12:
        return None
    return str(hour % 12 + (12 if half == "PM" else 0))
