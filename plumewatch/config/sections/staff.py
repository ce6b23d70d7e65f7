"""Members of staff, their channels and quiet hours."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from plumewatch.config.sections.common import Days, EndTime, FilePath, Id, Name, WallTime


class TargetConfig(BaseModel, extra="forbid", frozen=True):
    """Where notices go: an Apprise URL, kept in a file or an environment variable."""

    url_file: FilePath | None = None
    """File with the Apprise URL."""
    url_env: str = ""
    """Environment variable with it instead."""


class QuietHoursConfig(BaseModel, extra="forbid", frozen=True):
    """When a person is told of what is critical alone; an end not after the start is next day."""

    start: WallTime
    """First minute, time of day at the school."""
    end: EndTime
    """Where it ends."""
    days: Days | None = None
    """Days on which it starts; every day if left out."""
    then: Literal["hold", "divert"] = "hold"
    """`hold`: what is not critical waits for the end. `divert`: others are asked."""


class StaffConfig(BaseModel, extra="forbid", frozen=True):
    """One member of staff, by role and duty name rather than by person where you can."""

    id: Id
    """Names the person in shifts, commands and the audit log; signs in with it."""
    name: Name
    """What others read: better a duty than a person's name."""
    role: Literal["staff", "facilities", "analyst", "admin"] = "staff"
    """What the person may do on the staff page, and a receiver of that name."""
    notify: Annotated[list[TargetConfig], Field(max_length=8)] = []
    """Channels in order: the first is tried first, the next if it does not take a notice."""
    quiet_hours: Annotated[list[QuietHoursConfig], Field(max_length=14)] = []
    """When only what is critical is told."""
