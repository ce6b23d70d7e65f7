"""How severe an incident is: from its kind, confidence, duration and repetitions."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from detection.events import EventKind
from language.messages import Words, mark

if TYPE_CHECKING:
    from collections.abc import Mapping

HEALTH: Final = frozenset({EventKind.OFFLINE, EventKind.SENSOR_FAULT})
"""Kinds about a device, not the room: for facilities, who are notified of the end too."""

PRESENCE: Final = frozenset({EventKind.VAPE, EventKind.SMOKE, EventKind.TAMPER})
"""Kinds for which somebody has to go and look, also when the air is clear again."""

LONG_S: Final = 120.0
"""Seconds from the onset after which what still runs is one level more severe."""
REPEATED: Final = 2
"""So many earlier incidents of the same kind and room make one that is a level more severe."""
REPEAT_WINDOW_S: Final = 3600.0
"""How far back earlier incidents of a room count."""
FLAP_WINDOW_S: Final = 6 * 3600.0
"""How far back earlier incidents of a device count."""
UNSURE: Final = 0.7
"""A detection below this confidence is one level less severe; it is never dropped for it."""


class Severity(StrEnum):
    """How severe an incident is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Position in ascending order, from 0."""
        return _ORDER.index(self)


SEVERITY_WORDS: Final = Words(
    {
        Severity.INFO: mark("info"),
        Severity.WARNING: mark("warning"),
        Severity.CRITICAL: mark("critical"),
    }
)
_ORDER: Final = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)
_BASE: Final[Mapping[EventKind, Severity]] = {
    EventKind.SMOKE: Severity.CRITICAL,
    EventKind.VAPE: Severity.WARNING,
    EventKind.TAMPER: Severity.WARNING,
    EventKind.INTEGRITY: Severity.WARNING,
    EventKind.SERVICE: Severity.WARNING,
}


def grade(kind: EventKind, confidence: float, lasted_s: float, repeats: int) -> Severity:
    """Return the severity of an incident, by the highest confidence of its detections, 0 to 1.

    `lasted_s` counts from the onset while a detection runs; `repeats` are earlier incidents of the
    kind and room within `repeat_window_s`.

    >>> grade(EventKind.VAPE, 0.9, 10.0, 0), grade(EventKind.VAPE, 0.55, 10.0, 0)
    (<Severity.WARNING: 'warning'>, <Severity.INFO: 'info'>)
    >>> grade(EventKind.VAPE, 0.9, 10.0, 2), grade(EventKind.OFFLINE, 1.0, 9000.0, 5)
    (<Severity.CRITICAL: 'critical'>, <Severity.INFO: 'info'>)
    """
    base = _BASE.get(kind, Severity.INFO)
    if kind in HEALTH:
        return base
    unsure = round(confidence, 2) < UNSURE  # as it is shown: 69.6 % is 70 %
    rank = base.rank + (lasted_s >= LONG_S or repeats >= REPEATED) - unsure
    return _ORDER[min(max(rank, 0), len(_ORDER) - 1)]


def repeat_window_s(kind: EventKind) -> float:
    """Return the seconds in which earlier incidents count as repetitions."""
    return FLAP_WINDOW_S if kind in HEALTH else REPEAT_WINDOW_S
