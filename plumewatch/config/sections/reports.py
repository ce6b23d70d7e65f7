"""Reports."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from detection.events import EventKind


class ReportsConfig(BaseModel, extra="forbid", frozen=True):
    """What reports add: codes of the state for kinds of confirmed incidents, the school year."""

    state_codes: Annotated[
        dict[EventKind, Annotated[str, Field(min_length=1, max_length=40)]], Field(max_length=32)
    ] = {}
    """Code of the state by kind of incident; none by default."""
    school_year_month: Annotated[int, Field(ge=1, le=12)] = 7
    """Month with which a school year begins, 1 to 12."""
