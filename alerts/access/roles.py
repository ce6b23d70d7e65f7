"""Define the rights of each role."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from language.messages import Words, join_words, mark

if TYPE_CHECKING:
    from collections.abc import Mapping


class Right(StrEnum):
    """Something that only some roles are allowed to do."""

    INCIDENTS = "incidents"
    """View incidents and rooms."""
    ANSWER = "answer"
    """Acknowledge an incident, hand it over, and report what was found."""
    SILENCE = "silence"
    """Silence notices for a while."""
    SENSORS = "sensors"
    """Test rooms, change rooms and sensors, and see messages in unknown formats."""
    SUMMARY = "summary"
    """Create the summary for one's own schools."""
    REPORTS = "reports"
    """Create all reports."""
    DUTY = "duty"
    """Arrange substitutes."""
    SETTINGS = "settings"
    """Change people, channels, shifts and schedules."""
    ACCOUNTS = "accounts"
    """Sign others out."""


RIGHTS: Final[Mapping[str, frozenset[Right]]] = MappingProxyType(
    {
        "staff": frozenset(
            {Right.INCIDENTS, Right.ANSWER, Right.SILENCE, Right.DUTY, Right.SUMMARY}
        ),
        "facilities": frozenset({*Right} - {Right.REPORTS, Right.SETTINGS, Right.ACCOUNTS}),
        "analyst": frozenset({Right.INCIDENTS, Right.SUMMARY, Right.REPORTS}),
        "helpdesk": frozenset({Right.SENSORS}),
        "admin": frozenset(Right),
    }
)
"""Rights by role; roles not listed have none."""
ROLE_WORDS: Final = Words(
    {
        "staff": mark("staff"),
        "facilities": mark("facilities"),
        "analyst": mark("analyst"),
        "helpdesk": mark("helpdesk"),
        "admin": mark("administrator"),
    }
)


def may(role: str, right: Right) -> bool:
    """Return whether a role has a right."""
    return right in RIGHTS.get(role, ())


def list_roles_with(right: Right) -> str:
    """List the roles that have a right.

    >>> list_roles_with(Right.SENSORS)
    'facilities, helpdesk and administrator'
    """
    return join_words(ROLE_WORDS[role] for role, rights in RIGHTS.items() if right in rights)
