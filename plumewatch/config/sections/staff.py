"""Rooms and sensors; staff members, their channels and quiet hours, and how they sign in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from plumewatch.config.sections.common import (
    Days,
    EndTime,
    FalseAlarms,
    FilePath,
    Id,
    Name,
    Number,
    PastDate,
    SiteId,
    TimeZone,
    Url,
    WallTime,
    Whole,
)

Role = Literal["staff", "facilities", "analyst", "helpdesk", "admin"]


class TargetConfig(BaseModel, extra="forbid", frozen=True):
    """Where notices go."""

    url_file: FilePath
    """File with the Apprise URL."""


class QuietHoursConfig(BaseModel, extra="forbid", frozen=True):
    """Hours during which a person receives only critical notices.

    An end at or before the start is on the next day.
    """

    start: WallTime
    """Time of day at the school when they start."""
    end: EndTime
    """Time of day when they end."""
    days: Days | None = None
    """Days on which they start; every day if left out."""


class StaffConfig(BaseModel, extra="forbid", frozen=True):
    """One staff member."""

    id: Id
    """Id in shifts, commands and the audit log, and for sign-in."""
    name: Name
    """Name that others see; preferably a duty, not a person's name."""
    role: Role = "staff"
    """Permissions on the staff page; everyone with a role also forms a receiver of that name."""
    sites: Annotated[list[Name], Field(max_length=1000)] = []
    """Ids of the `[[site]]` that they see and are notified of, or `["*"]` for all; required if
    there are several."""
    notify: Annotated[list[TargetConfig], Field(max_length=8)] = []
    """Channels in order of preference; if one fails, the next is tried."""
    quiet_hours: Annotated[list[QuietHoursConfig], Field(max_length=14)] = []
    """Hours with critical notices only."""
    email: Annotated[str, Field(pattern=r"^([^\s@]+@[^\s@]+)?$", max_length=254)] = ""
    """Address at the provider of `[sign_in]`; people without one sign in with a password."""
    language: Literal["", "en", "es"] = ""
    """Language of their notices and pages, unless they choose another on their page; if left out,
    the school's."""


_Claim = Annotated[str, Field(pattern=r"^[^\s]{0,120}$")]


SITE = "{site}"


class GroupConfig(BaseModel, extra="forbid", frozen=True):
    """The role of people in a group at the provider."""

    group: Annotated[str, Field(min_length=1, max_length=200)]
    """Value in the claim `groups_claim`: a name, an object id (Entra ID), or the group's address
    (Google). `{site}` stands for each school's id: with `plumewatch-{site}-staff`, each school has
    its own group."""
    role: Role
    """Role on the staff page. If a person is in several groups, the first one in the file
    decides."""
    sites: Annotated[list[Name], Field(max_length=1000)] = []
    """Ids of the `[[site]]` that the group sees, or `["*"]` for all. Someone with a `[[staff]]`
    block sees only the sites in both lists; without this key, all sites of the block. If
    there are several schools, people without a block need a group with `sites`."""


class SignInConfig(BaseModel, extra="forbid", frozen=True):
    """How people sign in: only with passwords, unless a provider is configured."""

    issuer: Url = ""
    """Address of the provider, such as `https://accounts.google.com`; empty for passwords only."""
    name: Annotated[str, Field(max_length=40)] = ""
    """Name of the provider on the sign-in button; its host if left out."""
    client_id: Annotated[str, Field(max_length=200)] = ""
    """Client id that the provider issued to Plumewatch."""
    client_secret_file: FilePath | None = None
    """File with the client secret that the provider issued to Plumewatch."""
    hosted_domain: Annotated[str, Field(pattern=r"^[^\s@/]{0,120}$")] = ""
    """Domain of the Google Workspace (claim `hd`); accounts outside it are refused."""
    scope: Annotated[str, Field(min_length=1, max_length=200)] = "openid email profile"
    """Scopes requested from the provider; some providers need `groups` as well."""
    groups_claim: _Claim = ""
    """Claim with a person's groups, such as `groups` or `roles`; needed for `[[sign_in.group]]`.
    With Google, leave it out: groups come from Google's API."""
    group: Annotated[list[GroupConfig], Field(max_length=500)] = []
    """Roles by group; without any, roles and sites come from `[[staff]]`."""
    absent_days: Annotated[Whole, Field(ge=7, le=400)] = 90
    """Days without a sign-in after which people who joined through a group are removed, until they
    sign in again. After two thirds of that time, *People* and `plumewatch check` list them."""
    second_factor: Annotated[list[Role], Field(max_length=5)] = []
    """Roles that need a second factor in addition to the password."""


class SiteConfig(BaseModel, extra="forbid", frozen=True):
    """One of several schools. A file `sites/ID.toml` can define a school instead."""

    id: SiteId
    """Id in this file, in addresses and file names; for `sites/ID.toml`, the name of the file."""
    name: Name
    """Name of the school."""
    timezone: TimeZone | None = None
    """IANA time zone of the school; the top-level `timezone` if left out."""
    closed: PastDate | None = None
    """Day on which the school closed, if it did. Its sensors are no longer read, its open incidents
    are closed, and its tokens are refused; its names stay in history and reports."""


class RoomConfig(BaseModel, extra="forbid", frozen=True):
    """One room. Use the names that people use."""

    id: Id
    """Id in commands, topics and reports."""
    name: Name
    """Name of the room; every alert starts with it."""
    building: Annotated[str, Field(max_length=80)] = ""
    """Name of the building, if there are several; for building-wide air and combined notices."""
    floor: Annotated[str, Field(max_length=80)] = ""
    """Name of the floor; used to combine notices of several rooms."""
    site: Annotated[str, Field(max_length=80)] = ""
    """Id of its `[[site]]`, if there are several."""
    kind: Annotated[str, Field(min_length=1, max_length=40)] = "restroom"
    """Kind of room; the label `room_type` in routes."""


class SensorConfig(BaseModel, extra="forbid", frozen=True):
    """One sensor and its room."""

    id: Id
    """Name under which it publishes, such as its native or Tasmota topic, serial number or EUI."""
    room: Id
    """Id of its `[[room]]`."""
    model: Annotated[str, Field(max_length=40)] = ""
    """Free text; for LoRaWAN devices, it selects the codec for their frames."""
    decoder: str = ""
    """Format, or `mapping:NAME`, if the topic does not determine it."""
    aliases: Annotated[list[Name], Field(max_length=8)] = []
    """Other names under which it publishes."""
    interval_s: Annotated[Number, Field(ge=0.5, le=3600)] = 5.0
    """Seconds between readings; determines when the sensor counts as silent or offline."""
    timezone: TimeZone | None = None
    """Time zone of time stamps without one; by default the school's."""
    false_alarms_per_week: FalseAlarms | None = None
    """False alarm budget of this sensor; `detection.false_alarms_per_sensor_week` if left out."""
