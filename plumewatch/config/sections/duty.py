"""Routing and duty: routes, receivers, zones, bells, shifts and overrides."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from plumewatch.config.sections.common import Date, Days, EndTime, Flag, Id, Name, Time, WallTime

People = Annotated[list[str], Field(max_length=1000)]
Matchers = Annotated[
    list[Annotated[str, Field(max_length=2000)]], Field(min_length=1, max_length=32)
]


class RoutingNodeConfig(BaseModel, extra="forbid", frozen=True):
    """One route below the root route."""

    matchers: Matchers
    """Conditions that must all match."""
    receiver: str | None = None
    """Who is notified: a role, or the id of a `[[receiver]]`; if left out, the parent's
    receiver."""
    continues: Annotated[Flag, Field(alias="continue")] = False
    """Also try the routes after it."""
    routes: Annotated[list[RoutingNodeConfig], Field(max_length=1000)] = []
    """More specific routes below it."""


class RoutingConfig(BaseModel, extra="forbid", frozen=True):
    """The root route, for incidents that no other route matches."""

    receiver: str | None = None
    """Receiver of incidents that no other route matches; required."""
    routes: Annotated[list[RoutingNodeConfig], Field(max_length=1000)] = []
    """Routes in order; the first match wins."""


class ReceiverConfig(BaseModel, extra="forbid", frozen=True):
    """A group that routes refer to: fixed people, or the people of its shifts."""

    id: Id
    """Id in `[[routing.routes]]` and `[[shift]]`."""
    people: People = []
    """Ids of `[[staff]]` who are always notified; if empty, the people of its shifts."""
    leads: dict[str, People] = {}
    """People notified if nobody on duty acknowledges, by name of the building."""
    catch_all: People = []
    """People notified last; `people` if left out."""


class ZoneConfig(BaseModel, extra="forbid", frozen=True):
    """A floor or a building."""

    id: Id
    """Id in `[[shift]]`."""
    building: Annotated[str, Field(max_length=80)] = ""
    """Name of the building; if left out, all rooms without a building."""
    floor: Annotated[str, Field(max_length=80)] = ""
    """Name of the floor; if left out, all floors without their own zone."""
    site: Annotated[str, Field(max_length=80)] = ""
    """Id of its `[[site]]`, if there are several."""
    next: Annotated[list[str], Field(max_length=100)] = []
    """Ids of the `[[zone]]` one staircase or hallway away; applies in both directions."""


class PeriodConfig(BaseModel, extra="forbid", frozen=True):
    """A class, break or lunch."""

    name: Name
    """Name in shifts and reports."""
    start: WallTime
    """Time of day when it starts."""
    end: EndTime
    """Time of day when it ends."""


class BellsConfig(BaseModel, extra="forbid", frozen=True):
    """The class periods of some weekdays, or of special dates."""

    id: Id
    """Id of the schedule."""
    site: Annotated[str, Field(max_length=80)] = ""
    """Id of its `[[site]]`; if left out, all sites without their own schedule."""
    days: Days | None = None
    """Weekdays of the schedule; it has either these or `dates`."""
    dates: Annotated[list[Date], Field(max_length=400)] = []
    """Dates on which this schedule replaces all others."""
    first: Date | None = None
    """First day of the schedule."""
    last: Date | None = None
    """Last day of the schedule."""
    periods: Annotated[list[PeriodConfig], Field(min_length=1, max_length=60)]
    """Periods of the day."""


class HolidayConfig(BaseModel, extra="forbid", frozen=True):
    """Days without school."""

    name: Name
    """Name, for people who read the file."""
    site: Annotated[str, Field(max_length=80)] = ""
    """Id of its `[[site]]`; by default all sites."""
    first: Date
    """First day."""
    last: Date | None = None
    """Last day, inclusive; `first` if left out."""


class TermConfig(BaseModel, extra="forbid", frozen=True):
    """A term of the school year, for reports."""

    name: Name
    """Unique name in reports, such as `Fall 2026`."""
    site: Annotated[str, Field(max_length=80)] = ""
    """Id of its `[[site]]`; if left out, all sites without their own terms."""
    first: Date
    """First day."""
    last: Date
    """Last day, inclusive."""


class ShiftConfig(BaseModel, extra="forbid", frozen=True):
    """Who is on duty where, for a receiver, by class period or by time of day."""

    id: Id
    """Id in `[[override]]`; also shown when a notice explains who was on duty."""
    receiver: str
    """Id of its `[[receiver]]`."""
    people: People = []
    """Ids of `[[staff]]` on duty."""
    site: Annotated[str, Field(max_length=80)] = ""
    """Id of the `[[site]]` that provides its bells and time zone; by default all sites."""
    zones: Annotated[list[str], Field(max_length=1000)] = []
    """Ids of `[[zone]]` where they are on duty; by default everywhere."""
    periods: Annotated[list[Name], Field(max_length=60)] = []
    """Names of `[[bells.periods]]`; `["*"]` for all."""
    start: WallTime | None = None
    """Time of day when it starts, instead of periods."""
    end: EndTime | None = None
    """Time of day when it ends; at or before the start means the next day."""
    days: Days | None = None
    """Days on which it starts; by default every day."""
    on_holidays: Flag = False
    """Also run on holidays; only with times of day."""
    first: Date | None = None
    """First day."""
    last: Date | None = None
    """Last day."""


class OverrideConfig(BaseModel, extra="forbid", frozen=True):
    """A temporary change to a `[[shift]]`: add a person, remove one, or both."""

    shift: str
    """Id of the `[[shift]]`."""
    start: Time
    """Date and time when the change starts, in the school's time zone."""
    end: Time
    """Date and time when it ends automatically."""
    add: str = ""
    """Id of the `[[staff]]` member to add."""
    remove: str = ""
    """Id of the `[[staff]]` member to remove."""


class DutySections(BaseModel):
    """Routing and duty; part of the whole configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    routing: RoutingConfig | None = None
    """Who is notified of which incidents."""
    receiver: Annotated[list[ReceiverConfig], Field(max_length=1000)] = []
    """Groups that routes refer to."""
    zone: Annotated[list[ZoneConfig], Field(max_length=10_000)] = []
    """Zones and their neighbors."""
    bells: Annotated[list[BellsConfig], Field(max_length=100)] = []
    """Class periods."""
    holiday: Annotated[list[HolidayConfig], Field(max_length=400)] = []
    """Days without school."""
    term: Annotated[list[TermConfig], Field(max_length=400)] = []
    """Terms of the school years."""
    shift: Annotated[list[ShiftConfig], Field(max_length=10_000)] = []
    """Who is on duty."""
    override: Annotated[list[OverrideConfig], Field(max_length=10_000)] = []
    """Substitutions."""
