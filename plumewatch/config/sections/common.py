"""Types that several sections share."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, Strict, ValidationInfo

from alerts.duty.timetable import DAY_MIN, minutes

_time_zones = cache(available_timezones)


def _start(text: str) -> str:
    minutes(text)
    return text


def _end(text: str) -> str:
    minutes(text, latest=DAY_MIN)
    return text


def _time_zone(name: str) -> str:
    if name not in _time_zones():
        raise ValueError("a time zone of the IANA list, such as America/New_York")
    return name


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    return info.context / path if isinstance(info.context, Path) else path


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=80)]
Port = Annotated[int, Field(ge=1, le=65535)]
Url = Annotated[str, Field(pattern=r"^(https?://[^\s/]+(/[^\s]*)?)?$")]
FalseAlarms = Annotated[float, Field(ge=0.05, le=50)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
FilePath = Annotated[Path, AfterValidator(_beside_the_file)]
"""A path; a relative one starts at the folder of the configuration (the validation context)."""
Date = Annotated[date, Strict()]
WallTime = Annotated[str, AfterValidator(_start)]
EndTime = Annotated[str, AfterValidator(_end)]
Days = Annotated[
    list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]],
    Field(min_length=1, max_length=7),
]
