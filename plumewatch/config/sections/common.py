"""Types that several sections share."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, Strict, ValidationInfo

from alerts.duty.timetable import DAY_MIN, parse_minutes
from language.messages import defer
from language.plain_text import suggest_name

_time_zones = cache(available_timezones)

US_ZONES: Final = MappingProxyType(
    {
        "EST": "America/New_York",
        "CST": "America/Chicago",
        "MST": "America/Denver",
        "PST": "America/Los_Angeles",
        "AKST": "America/Anchorage",
        "HST": "Pacific/Honolulu",
        "EASTERN": "America/New_York",
        "CENTRAL": "America/Chicago",
        "MOUNTAIN": "America/Denver",
        "PACIFIC": "America/Los_Angeles",
    }
)
"""Common names of US time zones, and their IANA names."""
_EASTERNMOST: Final = timedelta(hours=14)  # a date begins first in UTC+14


def _check_past(day: date) -> date:
    if day > (datetime.now(UTC) + _EASTERNMOST).date():
        raise ValueError("is in the future: enter it on that day, since it takes effect at once")
    return day


def _check_year(time: datetime) -> datetime:
    if not 1970 <= time.year <= 9000:
        raise ValueError(defer("must be between the years 1970 and 9000"))
    return time


def _check_start(text: str) -> str:
    parse_minutes(text)
    return text


def _check_end(text: str) -> str:
    parse_minutes(text, latest=DAY_MIN)
    return text


def check_time_zone(name: str) -> str:
    """Return an IANA time zone; raises `ValueError`."""
    if name not in _time_zones():
        raise ValueError(
            defer(
                "must be a time zone of the IANA list, such as America/New_York%(near)s",
                near=_suggest_zone(name),
            )
        )
    return name


def _suggest_zone(name: str) -> str:
    """Suggest a region and city for an unknown time zone.

    >>> _suggest_zone("EST5"), _suggest_zone("Mars")
    ("; did you mean 'America/New_York'?", '')
    """
    letters = re.sub(r"\d+$", "", name.upper())
    meant = US_ZONES.get(re.sub("DT$", "ST", letters), name)
    return suggest_name(meant, sorted(zone for zone in _time_zones() if "/" in zone))


def _resolve_path(path: Path, info: ValidationInfo) -> Path:
    return info.context / path if isinstance(info.context, Path) else path


def _check_proxy(text: str) -> str:
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError("an address or a network, such as 192.0.2.7 or 192.0.2.0/24") from None
    if network.prefixlen == 0:
        raise ValueError("every client could choose its address: enter the address of the proxy")
    return text


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
SITE_ID: Final = r"^[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,63}$"
"""A site's id must be usable as the name of a file and a folder, and must not begin with a dot."""
SiteId = Annotated[str, Field(pattern=SITE_ID)]
Name = Annotated[str, Field(min_length=1, max_length=80)]
Flag = Annotated[bool, Strict()]
Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
Port = Annotated[Whole, Field(ge=1, le=65535)]
Url = Annotated[str, Field(pattern=r"^(https?://[^\s/]+(/[^\s]*)?)?$")]
FalseAlarms = Annotated[Number, Field(ge=0.05, le=50)]
TimeZone = Annotated[str, AfterValidator(check_time_zone)]
FilePath = Annotated[Path, AfterValidator(_resolve_path)]
"""A path; a relative path starts at the configuration's folder (the validation context)."""
Date = Annotated[date, Strict()]
Time = Annotated[datetime, Strict(), AfterValidator(_check_year)]
PastDate = Annotated[date, Strict(), AfterValidator(_check_past)]
WallTime = Annotated[str, AfterValidator(_check_start)]
EndTime = Annotated[str, AfterValidator(_check_end)]
Proxies = Annotated[list[Annotated[str, AfterValidator(_check_proxy)]], Field(max_length=32)]
Days = Annotated[
    list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]],
    Field(min_length=1, max_length=7),
]
