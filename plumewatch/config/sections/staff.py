"""Members of staff, their channels and quiet hours."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from plumewatch.config.sections.common import Days, EndTime, FilePath, Id, Name, WallTime


class TargetConfig(BaseModel, extra="forbid", frozen=True):
    """Where notices go: an Apprise URL in a file or an environment variable."""

    url_file: FilePath | None = None
    """File with the Apprise URL."""
    url_env: str = ""
    """Environment variable to read it from instead."""


class QuietHoursConfig(BaseModel, extra="forbid", frozen=True):
    """Hours in which a person receives critical notices only.

    An end at or before the start is on the next day.
    """

    start: WallTime
    """Time of day at the school when they start."""
    end: EndTime
    """Time of day when they end."""
    days: Days | None = None
    """Days on which they start; every day if left out."""
    then: Literal["hold", "divert"] = "hold"
    """`hold`: other notices wait until the end. `divert`: other people are paged."""


class StaffConfig(BaseModel, extra="forbid", frozen=True):
    """One member of staff."""

    id: Id
    """Id in shifts, commands and the audit log, and for sign-in."""
    name: Name
    """Name that others see; prefer a duty to a person's name."""
    role: Literal["staff", "facilities", "analyst", "helpdesk", "admin"] = "staff"
    """Permissions on the staff page; also a receiver of that name."""
    sites: Annotated[list[Name], Field(max_length=1000)] = []
    """Ids of the `[[site]]` that they see and are notified of, or `["*"]` for all; must be given if
    there are several.
    """
    notify: Annotated[list[TargetConfig], Field(max_length=8)] = []
    """Channels in order of preference; if one fails, the next is tried."""
    quiet_hours: Annotated[list[QuietHoursConfig], Field(max_length=14)] = []
    """Hours with critical notices only."""
    language: Literal["", "en", "es"] = ""
    """Language of their notices and pages, unless they choose another on their page; the school's
    if left out.
    """
