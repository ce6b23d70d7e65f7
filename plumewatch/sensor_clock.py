"""Recognize a sensor whose clock is set to a different time zone than expected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from plumewatch.config.sections.common import US_ZONES

if TYPE_CHECKING:
    from datetime import tzinfo

    from storage.reading import Reading

_HALF_HOUR_S: Final = 1_800.0
_NEAR_S: Final = 120.0
_MAX_S: Final = 14 * 3_600 + _NEAR_S


def compute_offset(reading: Reading) -> float:
    """Return how many seconds the sensor's clock is ahead, even if its stamp was replaced."""
    stamp = reading.time if reading.stamp is None else reading.stamp
    offset_s = stamp - reading.received
    return offset_s if abs(offset_s) <= _MAX_S else reading.time - reading.received


def find_shift(offset_s: float) -> float:
    """Return the offset in hours if it matches a time zone, or 0.

    >>> find_shift(-18_003.0), find_shift(12_600.0), find_shift(300.0)
    (-5.0, 3.5, 0.0)
    """
    halves = round(offset_s / _HALF_HOUR_S)
    is_zone = abs(offset_s) <= _MAX_S and abs(offset_s - halves * _HALF_HOUR_S) <= _NEAR_S
    return halves / 2 if is_zone else 0.0


def explain_shift(shift_h: float, zone: tzinfo, now: float) -> tuple[str, str]:
    """Explain a shifted clock; also return the time zone to set, or an empty string if none fits.

    `zone`: time zone assumed for stamps that have none.
    """
    at, shift = datetime.fromtimestamp(now, UTC), timedelta(hours=shift_h)
    read_in = at.astimezone(zone).utcoffset() or timedelta()
    clock = f"the sensor's clock is {abs(shift_h):g} h {'ahead' if shift_h > 0 else 'behind'}"
    if shift == read_in:
        return f"{clock}: it sends local time as UTC", ""
    names = ("UTC", *US_ZONES.values())
    fits = (n for n in names if at.astimezone(ZoneInfo(n)).utcoffset() == read_in + shift)
    sent = "UTC without saying so" if shift == -read_in else "local time"
    return f"{clock}: it sends {sent}", next(fits, "")
