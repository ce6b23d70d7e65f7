"""Rows that figures are computed from: incidents, notices, sensor days, spans of duty.

Times are Unix seconds, None if it did not happen. No row names anybody but staff.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

CONFIRMED, FALSE, NOTHING, TEST = "confirmed", "false_alarm", "nothing_found", "test"
"""Verdicts of staff; empty without feedback."""
AIR: Final = ("vape", "smoke")
"""Kinds of incident that need somebody on site."""


def place_of(room: str, building: str) -> str:
    """Name a room of a school that may have several buildings."""
    return ", ".join(part for part in (room, building) if part)


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One incident in its latest state.

    - `room`, `floor`, `building`, `site`: names as registered now; `room` is the id if the room is
      no longer registered.
    - `first_evidence_at`: onset in the air.
    - `notified_at`, `acknowledged_at`, `arrived_at`, `closed_at`: first notice delivered, first
      acknowledgement, first arrival, resolution.
    - `chain_end_at`: due time of the last escalation step.
    - `level`: highest escalation step carried out: 1 the first people notified, 0 nobody.
    - `suppressed_by`: reason why no notice was sent; empty if one was.
    - `confidence`: highest, 0 to 1.
    - `location`: kind of the room, such as ``"restroom"``.
    - `over_at`: end of the last of its detections; None while one continues.
    - `peaks`: highest value of each channel of the evidence, in the unit of the quantity.
    - `responder`: id of the person who acknowledged first.
    - `action`, `case_number`: class of follow-up, and case number in a system of the school; empty
      without.
    - `sensor_health`: at the opening: ``"ok"``, or the faults of the sensor, separated by spaces.
    """

    id: str
    kind: str
    sensor: str
    room: str
    first_evidence_at: float
    opened_at: float
    floor: str = ""
    building: str = ""
    site: str = ""
    notified_at: float | None = None
    acknowledged_at: float | None = None
    arrived_at: float | None = None
    closed_at: float | None = None
    chain_end_at: float | None = None
    level: int = 0
    verdict: str = ""
    cause: str = ""
    suppressed_by: str = ""
    withdrawn: bool = False
    confidence: float = 0.0
    room_id: str = ""
    location: str = ""
    severity: str = ""
    model_version: str = ""
    masked: bool = False
    thc_likely: bool = False
    over_at: float | None = None
    peaks: Mapping[str, float] = field(default_factory=dict)
    responder: str = ""
    action: str = ""
    case_number: str = ""
    sensor_health: str = "ok"


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """One notice to one target of a person; `role` is that of the configuration now."""

    incident: str
    person: str
    role: str
    channel: str
    reason: str
    created_at: float
    delivered_at: float | None


@dataclass(frozen=True, slots=True)
class SensorDay:
    """Availability of one sensor on one local day.

    `expected_s` are the seconds in which it was registered and watched; `missing` are the readings
    not received, by its sequence numbers or else by its interval.
    """

    sensor: str
    day: date
    online_s: float
    expected_s: float
    received: int
    missing: int


@dataclass(frozen=True, slots=True)
class StagedTest:
    """Aerosol released by staff as a test."""

    at: float
    room_id: str


@dataclass(frozen=True, slots=True)
class DutySpan:
    """A half-open span in which a person was on duty."""

    person: str
    start: float
    end: float
    shift: str = ""
