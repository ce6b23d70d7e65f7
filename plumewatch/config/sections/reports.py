"""Reports."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from detection.events import EventKind


class ReportsConfig(BaseModel, extra="forbid", frozen=True):
    """State codes and the school year in reports."""

    state_codes: Annotated[
        dict[EventKind, Annotated[str, Field(min_length=1, max_length=40)]], Field(max_length=32)
    ] = {}
    """State code of each kind of confirmed incident; none by default."""
    school_year_month: Annotated[int, Field(ge=1, le=12)] = 7
    """First month of the school year, 1 to 12."""
