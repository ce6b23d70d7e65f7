"""What a school writes about who hears: routes, receivers, zones, bells, shifts, substitutions."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path  # noqa: TC003 - the same
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from alerts.duty.wall_time import DAY_MIN, minutes

__all__ = [
    "BellsConfig",
    "DutySections",
    "HolidayConfig",
    "OverrideConfig",
    "ReceiverConfig",
    "RoutingConfig",
    "RoutingNodeConfig",
    "ShiftConfig",
    "ZoneConfig",
]


def _start(text: str) -> str:
    minutes(text)
    return text


def _end(text: str) -> str:
    minutes(text, latest=DAY_MIN)
    return text


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=80)]
Days = Annotated[
    list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]],
    Field(min_length=1, max_length=7),
]
Date = Annotated[date, Strict()]
WallTime = Annotated[str, AfterValidator(_start)]
EndTime = Annotated[str, AfterValidator(_end)]
People = Annotated[list[str], Field(max_length=1000)]
Matchers = Annotated[
    list[Annotated[str, Field(max_length=2000)]], Field(min_length=1, max_length=32)
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RoutingNodeConfig(_Section):
    """One route below the root; without a receiver of its own it has that of the route above."""

    matchers: Matchers
    receiver: str | None = None
    goes_on: Annotated[bool, Field(alias="continue")] = False
    routes: Annotated[list[RoutingNodeConfig], Field(max_length=1000)] = []


class RoutingConfig(_Section):
    """The root: who hears of what no route takes."""

    receiver: str | None = None
    routes: Annotated[list[RoutingNodeConfig], Field(max_length=1000)] = []


class ReceiverConfig(_Section):
    """A group that routes name: people who always hear, or those of its shifts."""

    id: Id
    people: People = []
    leads: dict[str, People] = {}
    catch_all: People = []


class ZoneConfig(_Section):
    """A floor, or a building; `next` are the zones one stair or passage away."""

    id: Id
    building: Name
    floor: Annotated[str, Field(max_length=80)] = ""
    site: Annotated[str, Field(max_length=80)] = ""
    next: Annotated[list[str], Field(max_length=100)] = []


class PeriodConfig(_Section):
    """A lesson, break or lunch."""

    name: Name
    start: WallTime
    end: EndTime


class BellsConfig(_Section):
    """The periods of the days of a week, or of special dates."""

    id: Id
    days: Days | None = None
    dates: Annotated[list[Date], Field(max_length=400)] = []
    first: Date | None = None
    last: Date | None = None
    periods: Annotated[list[PeriodConfig], Field(min_length=1, max_length=60)]


class HolidayConfig(_Section):
    """Days without lessons, both ends included."""

    name: Name
    first: Date
    last: Date | None = None


class TurnsConfig(_Section):
    """People take turns of so many days, handing over at a wall time."""

    since: Date
    at: WallTime = "00:00"
    days: Annotated[int, Field(ge=1, le=366)] = 7


class ShiftConfig(_Section):
    """Who is on duty where, for a receiver: in lesson periods, by the clock, or by a calendar."""

    id: Id
    receiver: str
    people: People = []
    zones: Annotated[list[str], Field(max_length=1000)] = []
    periods: Annotated[list[Name], Field(max_length=60)] = []
    start: WallTime | None = None
    end: EndTime | None = None
    calendar_file: Path | None = None
    days: Days | None = None
    on_holidays: bool = False
    first: Date | None = None
    last: Date | None = None
    turns: TurnsConfig | None = None


class OverrideConfig(_Section):
    """A change to a shift for a while: somebody more, somebody less, or one for another."""

    shift: str
    start: Annotated[datetime, Strict()]
    end: Annotated[datetime, Strict()]
    add: str = ""
    remove: str = ""


class DutySections(_Section):
    """All sections about who hears; part of the whole configuration."""

    routing: RoutingConfig | None = None
    receiver: Annotated[list[ReceiverConfig], Field(max_length=1000)] = []
    zones: Annotated[list[ZoneConfig], Field(max_length=10_000, alias="zone")] = []
    bells: Annotated[list[BellsConfig], Field(max_length=100)] = []
    holiday: Annotated[list[HolidayConfig], Field(max_length=400)] = []
    shift: Annotated[list[ShiftConfig], Field(max_length=10_000)] = []
    override: Annotated[list[OverrideConfig], Field(max_length=10_000)] = []
