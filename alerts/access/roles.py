"""What each role may do. Whoever is signed in may read; the rest is a right."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Right(StrEnum):
    """Something that not everybody may do."""

    ANSWER = "answer"
    """Take an incident, hand it over, say what was found."""
    SILENCE = "silence"
    """Keep notices back for a while."""
    SENSORS = "sensors"
    """See what strangers sent, move levels back."""
    REPORTS = "reports"
    """Have reports made."""
    ACCOUNTS = "accounts"
    """Sign others out."""


RIGHTS: Final[Mapping[str, frozenset[Right]]] = MappingProxyType(
    {
        "staff": frozenset({Right.ANSWER, Right.SILENCE}),
        "facilities": frozenset({Right.ANSWER, Right.SILENCE, Right.SENSORS}),
        "analyst": frozenset({Right.REPORTS}),
        "admin": frozenset(Right),
    }
)
"""Rights by role; a role that is not here has none."""


def may(role: str, right: Right) -> bool:
    """Whether a role has a right."""
    return right in RIGHTS.get(role, ())


def who_may(right: Right) -> str:
    """Roles that have a right, as people say it.

    Examples
    --------
    >>> who_may(Right.SENSORS)
    'facilities and admin'
    """
    roles = [role for role, rights in RIGHTS.items() if right in rights]
    return " and ".join(part for part in (", ".join(roles[:-1]), roles[-1]) if part)
