"""What a school writes about who hears: routes, receivers, zones, bells, shifts, substitutions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

from plumewatch.config.sections.common import (
    Date,
    Days,
    EndTime,
    FilePath,
    Id,
    Name,
    WallTime,
)

People = Annotated[list[str], Field(max_length=1000)]
Matchers = Annotated[
    list[Annotated[str, Field(max_length=2000)]], Field(min_length=1, max_length=32)
]


class RoutingNodeConfig(BaseModel, extra="forbid", frozen=True):
    """One route below the root; without a receiver of its own it has that of the route above."""

    matchers: Matchers
    """Conditions that must all hold."""
    receiver: str | None = None
    """Who hears: a role, or the id of a `[[receiver]]`; that of the route above if left out."""
    goes_on: Annotated[bool, Field(alias="continue")] = False
    """Whether the routes after it are asked too."""
    routes: Annotated[list[RoutingNodeConfig], Field(max_length=1000)] = []
    """Routes below it, which narrow it."""


class RoutingConfig(BaseModel, extra="forbid", frozen=True):
    """The root: who hears of what no route takes."""

    receiver: str | None = None
    """Who hears of what no route takes; must be given."""
    routes: Annotated[list[RoutingNodeConfig], Field(max_length=1000)] = []
    """Asked in order; the first that fits wins."""


class ReceiverConfig(BaseModel, extra="forbid", frozen=True):
    """A group that routes name: people who always hear, or those of its shifts."""

    id: Id
    """What routes and shifts call it."""
    people: People = []
    """Ids of staff who always hear; if empty, those of its shifts."""
    leads: dict[str, People] = {}
    """Told when nobody on duty answers, by name of the building."""
    catch_all: People = []
    """Told last; `people` if left out."""


class ZoneConfig(BaseModel, extra="forbid", frozen=True):
    """A floor, or a building; `next` are the zones one stair or passage away."""

    id: Id
    """What shifts call it."""
    building: Name
    """Name of the building."""
    floor: Annotated[str, Field(max_length=80)] = ""
    """Name of the floor; all floors without a zone of their own if left out."""
    site: Annotated[str, Field(max_length=80)] = ""
    """The school, if there are several."""
    next: Annotated[list[str], Field(max_length=100)] = []
    """Zones one stair or passage away; holds both ways."""


class PeriodConfig(BaseModel, extra="forbid", frozen=True):
    """A lesson, break or lunch."""

    name: Name
    """What shifts and reports call it."""
    start: WallTime
    """First minute, time of day."""
    end: EndTime
    """Where it ends; that minute is not in it."""


class BellsConfig(BaseModel, extra="forbid", frozen=True):
    """The periods of the days of a week, or of special dates."""

    id: Id
    """Names the schedule."""
    days: Days | None = None
    """Days of the week on which it holds; every day if left out."""
    dates: Annotated[list[Date], Field(max_length=400)] = []
    """Dates on which it holds instead of all others."""
    first: Date | None = None
    """First day on which it holds."""
    last: Date | None = None
    """Last day on which it holds."""
    periods: Annotated[list[PeriodConfig], Field(min_length=1, max_length=60)]
    """Its periods."""


class HolidayConfig(BaseModel, extra="forbid", frozen=True):
    """Days without lessons, both ends included."""

    name: Name
    """For whoever reads the file."""
    first: Date
    """First day."""
    last: Date | None = None
    """Last day; the first if left out."""


class TermConfig(BaseModel, extra="forbid", frozen=True):
    """A term of a school year, by which reports are asked for; both days included."""

    name: Name
    """What reports call it, such as `Fall 2026`; each its own."""
    first: Date
    """First day."""
    last: Date
    """Last day."""


class TurnsConfig(BaseModel, extra="forbid", frozen=True):
    """People take turns of so many days, handing over at a wall time."""

    since: Date
    """Day of the first turn."""
    at: WallTime = "00:00"
    """Time of day of the hand-over."""
    days: Annotated[int, Field(ge=1, le=366)] = 7
    """Length of a turn."""


class ShiftConfig(BaseModel, extra="forbid", frozen=True):
    """Who is on duty where, for a receiver: in lesson periods, by the clock, or by a calendar."""

    id: Id
    """Names it in overrides and explanations."""
    receiver: str
    """Whose shift it is."""
    people: People = []
    """Ids of staff."""
    zones: Annotated[list[str], Field(max_length=1000)] = []
    """Where they are; everywhere if left out."""
    periods: Annotated[list[Name], Field(max_length=60)] = []
    """Lesson periods by name; `["*"]` for all."""
    start: WallTime | None = None
    """Time of day it begins, instead of periods."""
    end: EndTime | None = None
    """Time of day it ends; not after the start means the next day."""
    calendar_file: FilePath | None = None
    """iCalendar file, instead of periods and times."""
    days: Days | None = None
    """Days on which it begins; every day if left out."""
    on_holidays: bool = False
    """Whether a shift by times of day runs on holidays."""
    first: Date | None = None
    """First day."""
    last: Date | None = None
    """Last day."""
    turns: TurnsConfig | None = None
    """Its people one after the other instead of all at once."""


class OverrideConfig(BaseModel, extra="forbid", frozen=True):
    """A change to a shift for a while: somebody more, somebody less, or one for another."""

    shift: str
    """Which shift is changed."""
    start: Annotated[datetime, Strict()]
    """From when, at the school."""
    end: Annotated[datetime, Strict()]
    """Until when."""
    add: str = ""
    """Who comes."""
    remove: str = ""
    """Who goes."""


class DutySections(BaseModel):
    """All sections about who hears; part of the whole configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    routing: RoutingConfig | None = None
    """Who hears of what."""
    receiver: Annotated[list[ReceiverConfig], Field(max_length=1000)] = []
    """Groups that routes name."""
    zones: Annotated[list[ZoneConfig], Field(max_length=10_000, alias="zone")] = []
    """Where people and rooms are near each other."""
    bells: Annotated[list[BellsConfig], Field(max_length=100)] = []
    """Lesson periods."""
    holiday: Annotated[list[HolidayConfig], Field(max_length=400)] = []
    """Days without lessons."""
    term: Annotated[list[TermConfig], Field(max_length=400)] = []
    """Terms of the school years."""
    shift: Annotated[list[ShiftConfig], Field(max_length=10_000)] = []
    """Who is on duty."""
    override: Annotated[list[OverrideConfig], Field(max_length=10_000)] = []
    """Substitutions."""
