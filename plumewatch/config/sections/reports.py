"""Reports."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from detection.events import EventKind
from plumewatch.config.sections.common import FilePath


class ReportsConfig(BaseModel, extra="forbid", frozen=True):
    """State codes and the school year in reports."""

    state_codes: Annotated[
        dict[EventKind, Annotated[str, Field(min_length=1, max_length=40)]], Field(max_length=32)
    ] = {}
    """State code of each kind of confirmed incident; none by default."""
    weekly_file: FilePath | None = None
    """File with the Apprise URL, such as `mailtos://`, that gets a summary each Monday at 6:00."""
    weekly_env: str = ""
    """Environment variable to read it from instead."""
    school_year_month: Annotated[int, Field(ge=1, le=12)] = 7
    """First month of the school year, 1 to 12."""
