"""The wait that a server asks for, and how far its clock is from ours."""

from __future__ import annotations

import email.utils


def retry_after_s(text: str | None, now: float) -> float | None:
    """Read a Retry-After header: seconds, or a date.

    >>> retry_after_s("30", 0.0), retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 10.0)
    (30.0, 50.0)
    >>> retry_after_s("soon", 0.0) is None
    True
    """
    text = (text or "").strip()
    if text.isdecimal():
        return float(text[:9])
    ahead_s = ahead_s_of(text, now)
    return None if ahead_s is None else max(0.0, ahead_s)


def ahead_s_of(date: str, now: float) -> float | None:
    """Return how far the date of a header is ahead of our clock; None if it is no date."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - now
    except (OverflowError, ValueError):
        return None
